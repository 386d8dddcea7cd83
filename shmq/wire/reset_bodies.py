"""Offsets by queue: what a reset has made of them, what consumers say theirs are, what monitors compare."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shmq.wire import fastjson
from shmq.wire.bodies import MessageQueue
from shmq.wire.members import as_integer, object_of, read_object


@dataclass(frozen=True, slots=True)
class ResetOffsets:
    """Answer to 222, and body of 220: where a group begins anew in each queue."""

    offsets: Mapping[MessageQueue, int] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "ResetOffsets":
        """Return the table that a body is."""
        return cls(_offsets_of(body, "offsetTable"))

    def to_bytes(self) -> bytes:
        """Return the table as a body."""
        return fastjson.dumps({"offsetTable": _keyed(self.offsets)})

    def to_bytes_for_cpp(self) -> bytes:
        """Return the table as C++ clients read it: a list."""
        rows = [queue.to_json() | {"offset": offset} for queue, offset in self.offsets.items()]
        return fastjson.dumps({"offsetTable": rows})


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """Answer of a consumer to 221: how far it is in its queues."""

    offsets: Mapping[MessageQueue, int] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "ConsumerStatus":
        """Return the table that a body is."""
        return cls(_offsets_of(body, "messageQueueTable"))

    def to_bytes(self) -> bytes:
        """Return the table as a body."""
        return fastjson.dumps({"consumerTable": {}, "messageQueueTable": _keyed(self.offsets)})

    @staticmethod
    def join(status: Mapping[str, "ConsumerStatus"]) -> bytes:
        """Return the body of an answer to 223: what each consumer has said, by its id."""
        table = {client_id: _keyed(said.offsets) for client_id, said in status.items()}
        return fastjson.dumps({"consumerTable": table, "messageQueueTable": {}})


@dataclass(frozen=True, slots=True)
class CorrectionOffsets:
    """Answer to 308: an offset by queue id."""

    offsets: Mapping[int, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the table as a body."""
        return fastjson.dumps({"correctionOffsets": fastjson.number_keyed(self.offsets)})


def _keyed(offsets: Mapping[MessageQueue, int]) -> object:
    rows: Iterable[tuple[Mapping[str, object], int]] = ((q.to_json(), at) for q, at in offsets.items())
    return fastjson.object_keyed(rows)


def _offsets_of(body: bytes | memoryview, name: str) -> dict[MessageQueue, int]:
    """Read a table whose keys are queues; the tolerant reader gives object keys as their JSON."""
    rows = object_of(read_object(body), name).items()
    return {
        MessageQueue.from_json(read_object(key.encode())): as_integer(offset, name) for key, offset in rows
    }
