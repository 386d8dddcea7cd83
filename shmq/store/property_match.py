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
from shmq.store.extension_scan import ASK
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
        """Where the byte of entry 0 lies."""
        self._make()
        return address_of(self._picked)

    def picked(self, part: range) -> Bytes:
        """The bytes of a part; once it was picked, 1 for each entry that is wanted and 0 for others."""
        self._make()
        return self._picked[part.start : part.stop]

    def pick(
        self,
        wanted: PropertyFilter,
        entries: int,
        part: range,
        log: LogReader,
        *,
        is_marked: bool = False,
    ) -> set[int]:
        """Write the byte of each entry of a part.

        Args:
            wanted: the filter.
            entries: where entry 0 is mapped.
            part: the entries to be looked at, at most ENTRIES_MAX with those before it.
            log: where their records are.
            is_marked: whether the bytes say which of them are to be looked at, see `extension_scan.py`.

        Returns:
            The starts of log files that are gone; their records match nothing.
        """
        self._make()
        if not wanted.names:
            self._picked[part.start : part.stop] = wanted.matches()
            return set()
        gone: set[int] = set()
        names = _encode(wanted.names)  # held until the end
        asked = self._asked(names, entries, part.stop, is_marked=is_marked)
        begin = part.start
        while begin < part.stop:
            if is_marked:
                begin += _unwanted_before(self._picked[begin : part.stop])
                if begin == part.stop:
                    break
            position = max(decode(entries + SIZE * begin).position, 0)
            start = position // log.file_bytes * log.file_bytes
            address, _ = log.address_of(start)
            if address == NONE:
                gone.add(start)
                self._picked[begin] = 0
                begin += 1
                continue
            there = asked._replace(file_start=start, file_end=start + log.file_bytes, file=address)
            begin = self._pick_some(wanted, there, begin)
        return gone

    def _asked(self, names: _Names, entries: int, end: int, *, is_marked: bool) -> Texts:
        return Texts(
            entries=entries,
            end=end,
            file_start=0,
            file_end=0,
            file=NONE,
            names=address_of(names.words),
            name_count=len(names.texts),
            room=address_of(self._room),
            room_bytes=len(self._room),
            marks=self.address if is_marked else 0,
        )

    def _pick_some(self, wanted: PropertyFilter, asked: Texts, begin: int) -> int:
        """Write the bytes of entries whose records are in one file of the log; return the first of another."""
        end, size_bytes = copy_texts(asked, begin)
        judged = _judge(wanted, bytes(self._room[:size_bytes]))
        looked_at = self._picked[begin:end]
        looked_at[looked_at == ASK if asked.marks else slice(None)] = judged
        return end

    def _make(self) -> None:
        if not len(self._picked):
            self._picked = np.zeros(ENTRIES_MAX, dtype=np.uint8)
            self._room = np.zeros(_ROOM_BYTES, dtype=np.uint8)


def _unwanted_before(marks: Bytes) -> int:
    """How many entries there are before the first that is to be looked at."""
    looked_at = np.flatnonzero(marks)
    return int(looked_at[0]) if len(looked_at) else len(marks)


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
