"""Which entries of a queue a filter of properties wants: a byte for each, for `entry_scan.scan`.

The values that a filter names are copied out of the records by a kernel (`record_texts.py`), many records at a time;
the filter is a Python function of them. Nothing but memory of our own is written.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

import numpy as np

from shmq.jit import Bytes, Words
from shmq.memory.block import address_of
from shmq.store.log import LogReader
from shmq.store.position import NONE
from shmq.store.properties import VALUE_END
from shmq.store.queue_entry import SIZE, decode
from shmq.store.record import PROPERTIES_BYTES_MAX
from shmq.store.record_texts import NAME_BYTES, Texts, copy_texts

ENTRIES_MAX: Final = 4096
"""No read looks at more entries with a filter of properties, however many messages a client asks for."""

_ROOM_BYTES: Final = (
    8 * PROPERTIES_BYTES_MAX
)  # one record's properties fit, and an end for each of many names
_END: Final = chr(VALUE_END)


class PropertyFilter(Protocol):
    """What messages are wanted, by their properties; two that are equal want the same."""

    @property
    def names(self) -> tuple[str, ...]:
        """The properties that it looks at, each once."""

    @property
    def matches(self) -> Callable[..., bool]:
        """Takes their values in this order, an empty text for a missing one."""


class _Names(NamedTuple):
    """Names as the kernel takes them; the texts must live as long as the words."""

    words: Words
    texts: tuple[Bytes, ...]


class Picker:
    """The memory in which entries are picked, for one thread; made when it is first used."""

    def __init__(self) -> None:
        self._picked: Bytes = np.zeros(0, dtype=np.uint8)
        self._room: Bytes = np.zeros(0, dtype=np.uint8)

    @property
    def address(self) -> int:
        """Where the bytes lie, once something was picked."""
        return address_of(self._picked)

    def pick(self, wanted: PropertyFilter, entries: int, part: range, log: LogReader) -> set[int]:
        """Write the byte of each entry of a part.

        Args:
            wanted: the filter.
            entries: where entry 0 is mapped.
            part: the entries to be looked at, at most ENTRIES_MAX with those before it.
            log: where their records are.

        Returns:
            The starts of log files that are gone; their records match nothing.
        """
        if not len(self._picked):
            self._picked = np.zeros(ENTRIES_MAX, dtype=np.uint8)
            self._room = np.zeros(_ROOM_BYTES, dtype=np.uint8)
        if not wanted.names:
            self._picked[part.start : part.stop] = wanted.matches()
            return set()
        gone: set[int] = set()
        names = _encode(wanted.names)
        begin = part.start
        while begin < part.stop:
            position = max(decode(entries + SIZE * begin).position, 0)
            start = position // log.file_bytes * log.file_bytes
            address, _ = log.address_of(start)
            if address == NONE:
                gone.add(start)
                self._picked[begin] = 0
                begin += 1
                continue
            asked = Texts(
                entries,
                part.stop,
                start,
                start + log.file_bytes,
                address,
                address_of(names.words),
                len(names.texts),
                address_of(self._room),
                len(self._room),
            )
            end, size_bytes = copy_texts(asked, begin)
            self._picked[begin:end] = _judge(wanted, bytes(self._room[:size_bytes]))
            begin = end
        return gone


def _judge(wanted: PropertyFilter, texts: bytes) -> Bytes:
    values = texts.decode("utf-8", "replace").split(_END)
    values.pop()  # what is behind the last end
    step = len(wanted.names)
    columns = [values[number::step] for number in range(step)]
    return np.frombuffer(bytes(map(wanted.matches, *columns)), dtype=np.uint8)


@lru_cache(maxsize=256)
def _encode(names: tuple[str, ...]) -> _Names:
    texts = tuple(np.frombuffer(name.encode(), dtype=np.uint8) for name in names)
    words = np.zeros(NAME_BYTES // 8 * len(names), dtype=np.int64)
    words[0 :: NAME_BYTES // 8] = [address_of(text) for text in texts]
    words[1 :: NAME_BYTES // 8] = [len(text) for text in texts]
    return _Names(words, texts)
