"""A batch of messages as a consumer gets them: numbers in an array, bodies where they lie in the mapped log."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shmq.broker.message_properties import KEYS, TAGS
from shmq.errors import LocalError
from shmq.store import properties, record

_COMPRESSED: Final = 0x1
_COMPRESSION_TYPE: Final = 0x700
_ZLIB_TYPES: Final = frozenset({0, 0x300})


@dataclass(frozen=True, slots=True)
class LocalMessage:
    """One message, read when it is looked at.

    Attributes:
        topic: its topic.
        queue_id: its queue.
        queue_offset: its number there.
        position: where its record begins in the log.
        store_ms: the broker's clock.
        born_ms: the producer's.
        record: the record, in the mapped log.
    """

    topic: str
    queue_id: int
    queue_offset: int
    position: int
    store_ms: int
    born_ms: int
    record: memoryview

    @property
    def stored_body(self) -> memoryview:
        """The body as it is stored, not copied."""
        return record.decode(self.record).body

    @property
    def body(self) -> bytes:
        """The body as its producer gave it.

        Raises:
            LocalError: it is compressed in a way that is not known here.
        """
        decoded = record.decode(self.record)
        if not decoded.sys_flag & _COMPRESSED:
            return bytes(decoded.body)
        if decoded.sys_flag & _COMPRESSION_TYPE not in _ZLIB_TYPES:
            raise LocalError("the body is compressed by LZ4 or ZSTD: take stored_body and unpack it")
        return zlib.decompress(decoded.body)

    @property
    def properties(self) -> Mapping[str, str]:
        """Its properties, tags and keys included."""
        return properties.parse(record.decode(self.record).properties)

    @property
    def tags(self) -> str | None:
        """Its tags."""
        return self.properties.get(TAGS)

    @property
    def keys(self) -> str | None:
        """Its keys."""
        return self.properties.get(KEYS)


class Batch:
    """Messages of one topic, perhaps of several queues, in order within each.

    It holds the files of the log that its messages lie in: they stay readable for as long as the batch lives.
    """

    def __init__(
        self, topic: str, rows: NDArray[Any], files: Mapping[int, memoryview], file_bytes: int
    ) -> None:
        self._topic = topic
        self._rows = rows
        self._files = files
        self._file_bytes = file_bytes

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[LocalMessage]:
        for position, _, offset, store_ms, born_ms, _, _, size, _, queue_id in self._rows.tolist():
            yield LocalMessage(
                self._topic, queue_id, offset, position, store_ms, born_ms, self._slice(position, size)
            )

    def records(self) -> NDArray[Any]:
        """All numbers, a row a message: see `shmq.local.gather.ROW`."""
        return self._rows

    @property
    def positions(self) -> NDArray[np.int64]:
        """Where each record begins in the log."""
        return self._column("position")

    @property
    def queue_offsets(self) -> NDArray[np.int64]:
        """Their numbers in their queues."""
        return self._column("queue_offset")

    @property
    def queue_ids(self) -> NDArray[np.int32]:
        """Their queues."""
        return self._column("queue_id")

    @property
    def body_sizes(self) -> NDArray[np.int32]:
        """How long the bodies are, in bytes."""
        return self._column("body_bytes")

    @property
    def store_ms(self) -> NDArray[np.int64]:
        """When the broker stored them."""
        return self._column("store_ms")

    @property
    def born_ms(self) -> NDArray[np.int64]:
        """When their producers made them."""
        return self._column("born_ms")

    @property
    def tag_hashes(self) -> NDArray[np.int64]:
        """Java's hashes of their tags; 0 without."""
        return self._column("tag_hash")

    def bodies(self) -> list[memoryview]:
        """The bodies as they are stored, not copied."""
        pairs = zip(self._rows["body_at"].tolist(), self._rows["body_bytes"].tolist(), strict=True)
        return [self._slice(position, size) for position, size in pairs]

    def matrix(self) -> NDArray[np.uint8] | None:
        """The bodies as rows of one array, not copied; None where they are not of one size and equally spaced."""
        begins = self._rows["body_at"]
        if len(begins) == 0 or int(begins[0]) // self._file_bytes != int(begins[-1]) // self._file_bytes:
            return None
        size = int(self._rows["body_bytes"][0])
        steps = np.diff(begins)
        stride = int(steps[0]) if len(steps) else size
        if stride < size or bool((self._rows["body_bytes"] != size).any()) or bool((steps != stride).any()):
            return None
        content = np.frombuffer(
            self._slice(int(begins[0]), stride * (len(begins) - 1) + size), dtype=np.uint8
        )
        return np.lib.stride_tricks.as_strided(content, (len(begins), size), (stride, 1), writeable=False)

    def _column(self, name: str) -> NDArray[Any]:
        column: NDArray[Any] = self._rows[name]
        return column

    def _slice(self, position: int, size_bytes: int) -> memoryview:
        at = position % self._file_bytes
        return self._files[position - at][at : at + size_bytes]
