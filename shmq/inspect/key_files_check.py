"""What there is of a key index, and whether recovery would keep it; headers, slots and chains of each file."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from shmq.errors import StoreError
from shmq.inspect import key_chains
from shmq.inspect.finding import Finding, FindingKind, Mending
from shmq.inspect.key_chains import ChainPlaces, check_chains, check_slots
from shmq.inspect.log_walk import ROW_LAYOUT, ROWS_MAX, Row
from shmq.jit import Words
from shmq.memory.block import address_of
from shmq.memory.endian import load_i32, load_i64
from shmq.store.key_files import list_key_files
from shmq.store.key_index import (
    BEGIN_POSITION,
    BEGIN_TIMESTAMP,
    COUNT,
    END_POSITION,
    END_TIMESTAMP,
    FIRST_NUMBER,
    LAYOUT,
    POSITION,
    USED_SLOTS,
    entry_at,
)
from shmq.store.key_recover import KeyBelief
from shmq.store.key_shape import ENTRY_BYTES, HEADER_BYTES, SLOT_BYTES, KeyIndexShape
from shmq.store.log import LogReader
from shmq.store.log_scan import verify_at
from shmq.store.position import NONE
from shmq.store.record import store_timestamp
from shmq.store.segment import Segment, list_files
from shmq.store.store_files import StorePaths

_WORD: Final = 8
_ENTRIES_AT_ONCE: Final = 1 << 20


class IndexFile(NamedTuple):
    """A file that can be read: its path, and the number behind its last entry."""

    path: Path
    next_number: int


class Corrections(NamedTuple):
    """What entries of a file should have, by their numbers, where it is known that they have something else."""

    hashes: dict[int, int]
    positions: dict[int, int]


class KeyMending:
    """What the next start mends of the index: it believes what `key_recover` says."""

    def __init__(self, belief: KeyBelief, mending: Mending) -> None:
        self._is_clean = mending.is_clean
        self._believed = {file.path: file.next_number for file in belief.files}
        self._newest = belief.files[-1].path if belief.files else None

    @property
    def mends_behind_log(self) -> bool:
        """Whether entries for records behind the end of the log are dropped."""
        return not self._is_clean

    def mends_entry(self, path: Path, number: int) -> bool:
        """Whether an entry is dropped, and made again if it is a key's."""
        return not self._is_clean and number >= self._believed.get(path, 0)

    def mends_slots(self, path: Path) -> bool:
        """Whether the slots and chains of a file are made anew, or it goes."""
        return not self._is_clean and (path == self._newest or path not in self._believed)


class KeyFilesCheck:
    """The files of the index.

    Attributes:
        readable: those that can be held against the log, oldest first.
    """

    def __init__(self, paths: StorePaths, shape: KeyIndexShape, mending: KeyMending) -> None:
        self._directory = paths.index
        self._shape = shape
        self._mending = mending
        self._listed = list_key_files(paths.index)
        self.readable = [file for path in self._listed if (file := _readable(path, shape)) is not None]
        self._newest: np.ndarray = np.zeros(0, dtype=np.int32)
        self._rows = np.zeros(ROWS_MAX, dtype=ROW_LAYOUT)
        self._note: Words = np.zeros(key_chains.NOTE_WORDS, dtype=np.int64)

    @property
    def size_bytes(self) -> int:
        """How many bytes `run` looks at."""
        slots_bytes = SLOT_BYTES * self._shape.slots
        return sum(slots_bytes + ENTRY_BYTES * (file.next_number - 1) for file in self.readable)

    def run(
        self, corrections: dict[Path, Corrections], log: LogReader, progress: Callable[[int], None]
    ) -> Iterator[Finding]:
        """Look at all files.

        Args:
            corrections: by file, what is known to be wrong in its entries, and was told.
            log: where the records are.
            progress: told how many bytes were looked at.
        """
        yield from self._check_listing()
        before: int = 0
        for file in self.readable:
            with closing(Segment.open(file.path, 0, self._shape.file_bytes, writable=False)) as segment:
                known = corrections.get(file.path, Corrections({}, {}))
                yield from self._check_header(segment, file, known.positions, log, before)
                before = load_i64(segment.address + END_POSITION)
                yield from self._check_chains(segment, file, known.hashes, progress)

    def _check_listing(self) -> Iterator[Finding]:
        listed = set(self._listed)
        readable = {file.path for file in self.readable}
        for path in list_files(self._directory):
            is_pending = self._mending.mends_slots(path)
            size_bytes = path.stat().st_size
            if path not in listed:
                text = "no file of the key index has such a name"
                yield Finding(FindingKind.FILE_FOREIGN, str(path), 0, NONE, text)
            elif size_bytes != self._shape.file_bytes:
                text = f"it has {size_bytes} bytes where {self._shape.file_bytes} are usual"
                at = min(size_bytes, self._shape.file_bytes)
                yield Finding(FindingKind.FILE_SIZE, str(path), at, NONE, text, is_pending)
            elif path not in readable:
                text = (
                    f"its header counts more entries than the {self._shape.entries - 1} that it has room for"
                )
                yield Finding(FindingKind.INDEX_HEADER, str(path), COUNT, NONE, text, is_pending)

    def _check_header(
        self, segment: Segment, file: IndexFile, known: dict[int, int], log: LogReader, before: int
    ) -> Iterator[Finding]:
        """Does the header say what the first and last entry and their records say?"""
        if file.next_number == FIRST_NUMBER:
            return
        address = segment.address
        ends = (
            ("first", FIRST_NUMBER, BEGIN_POSITION, BEGIN_TIMESTAMP),
            ("last", file.next_number - 1, END_POSITION, END_TIMESTAMP),
        )
        for name, number, position_at, time_at in ends:
            in_entry = load_i64(address + entry_at(self._shape.slots, number) + POSITION)
            position = known.get(number, in_entry)
            stated = load_i64(address + position_at)
            if stated != position:
                text = f"the {name} record is said to be at {stated}, by its entry at {position}"
                yield self._header_finding(file.path, position_at, position, text)
                continue
            store_ms = store_ms_at(log, position)
            stated_ms = load_i64(address + time_at)
            if store_ms not in {NONE, stated_ms}:
                text = f"the {name} record is said to be stored at {stated_ms}, and was at {store_ms}"
                yield self._header_finding(file.path, time_at, position, text)
            if number == FIRST_NUMBER and position < before:
                text = (
                    f"its first record, at {position}, is before the last one of the file before it, {before}"
                )
                yield self._header_finding(file.path, position_at, position, text)

    def _header_finding(self, path: Path, at: int, position: int, text: str) -> Finding:
        is_pending = self._mending.mends_slots(path)
        return Finding(FindingKind.INDEX_HEADER, str(path), at, position, text, is_pending)

    def _check_chains(
        self, segment: Segment, file: IndexFile, hashes: dict[int, int], progress: Callable[[int], None]
    ) -> Iterator[Finding]:
        slots = self._shape.slots
        self._newest = np.zeros(slots, dtype=np.int32)
        self._note[:] = 0
        corrections: Words = np.array([*sorted(hashes.items()), (0, 0)], dtype=np.int64).ravel()
        places = ChainPlaces(
            file=segment.address,
            slots=slots,
            newest=address_of(self._newest),
            corrections=address_of(corrections),
            correction_count=len(hashes),
            rows=address_of(self._rows),
            note=address_of(self._note),
        )
        number = FIRST_NUMBER
        while number < file.next_number:
            reached = check_chains(places, number, min(number + _ENTRIES_AT_ONCE, file.next_number))
            yield from self._take_rows(file.path)
            progress(ENTRY_BYTES * (reached - number))
            number = reached
        slot = 0
        while slot < slots:
            reached = check_slots(places, slot, min(slot + _ENTRIES_AT_ONCE, slots))
            yield from self._take_rows(file.path)
            progress(SLOT_BYTES * (reached - slot))
            slot = reached
        used = int(self._note[key_chains.USED_SLOTS // _WORD])
        stated = load_i32(segment.address + USED_SLOTS)
        if stated != used:
            text = f"the header counts {stated} slots that are used, and there are {used}"
            yield self._header_finding(file.path, USED_SLOTS, NONE, text)

    def _take_rows(self, path: Path) -> Iterator[Finding]:
        count = int(self._note[key_chains.ROWS // _WORD])
        is_pending = self._mending.mends_slots(path)
        for values in self._rows[:count].tolist():
            row = Row(*values)
            if row.kind == key_chains.OTHER_SLOT:
                text = f"slot {row.offset} names the entry {row.found}, and its newest one is {row.wanted}"
                at = HEADER_BYTES + SLOT_BYTES * row.offset
                yield Finding(FindingKind.INDEX_SLOT, str(path), at, NONE, text, is_pending)
            else:
                text = f"entry {row.slot} names {row.found} as the one before it, and that is {row.wanted}"
                at = entry_at(self._shape.slots, row.slot)
                yield Finding(FindingKind.INDEX_CHAIN, str(path), at, row.position, text, is_pending)
        self._note[key_chains.ROWS // _WORD] = 0


def _readable(path: Path, shape: KeyIndexShape) -> IndexFile | None:
    """A file, if it has its size and a count that can be."""
    if path.stat().st_size != shape.file_bytes:
        return None
    head = np.fromfile(path, dtype=LAYOUT, count=1)[0]
    count = max(int(head["count"]), FIRST_NUMBER)
    return IndexFile(path, count) if count <= shape.entries else None


def store_ms_at(log: LogReader, position: int) -> int:
    """The store time of the record at a position; NONE where none can be read."""
    try:
        address, readable_bytes = log.address_of(position)
    except StoreError:
        return NONE
    if address == NONE or verify_at(address, readable_bytes, position, check_crc=True) <= 0:
        return NONE
    return store_timestamp(address)
