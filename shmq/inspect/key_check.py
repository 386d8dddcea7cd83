"""Check the key index against the log, while that is walked: each key of each record has one entry, in order.

The index may begin later than the log, and may end before it: what is yet to be put in, by what the next start
believes, is pending. It may also not be there at all.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from shmq.inspect import key_merge
from shmq.inspect.damage import Damage
from shmq.inspect.finding import Finding, FindingKind
from shmq.inspect.key_files_check import Corrections, IndexFile, KeyMending, store_ms_at
from shmq.inspect.key_merge import (
    BEGIN,
    BEGIN_MS,
    COUNT,
    IS_LAST,
    NEEDS_FILE,
    NUMBER,
    REACHED,
    RESUME,
    ROWS,
    MergePlaces,
    count_rest,
    flush_rows,
    merge_keys,
)
from shmq.inspect.log_walk import ROW_LAYOUT, ROWS_MAX, Row
from shmq.jit import Words
from shmq.memory.block import address_of
from shmq.memory.endian import load_i64
from shmq.store import key_walk
from shmq.store.key_index import (
    BEGIN_POSITION,
    BEGIN_TIMESTAMP,
    FIRST_NUMBER,
    POSITION,
    entry_at,
    first_number_from,
)
from shmq.store.key_shape import KeyIndexShape
from shmq.store.log import LogReader
from shmq.store.position import NONE
from shmq.store.segment import Segment

_WORD: Final = 8
_NEVER: Final = 1 << 62


class KeyCheck:
    """The index beside the log.

    Attributes:
        corrections: by file, what is known to be wrong in its entries.
    """

    def __init__(
        self,
        shape: KeyIndexShape,
        files: list[IndexFile],
        log: LogReader,
        mending: KeyMending,
        damage: Damage,
    ) -> None:
        self._log = log
        self._shape = shape
        self._files = files
        self._mending = mending
        self._damage = damage
        self._index = NONE
        self._segment: Segment | None = None
        self._note: Words = np.zeros(key_merge.NOTE_WORDS, dtype=np.int64)
        self._key_note: Words = np.zeros(key_walk.NOTE_WORDS, dtype=np.int64)
        self._keys = np.zeros(key_walk.ROWS, dtype=key_walk.ROW_LAYOUT)
        self._rows = np.zeros(ROWS_MAX, dtype=ROW_LAYOUT)
        self._set(BEGIN, _NEVER)
        self.corrections: dict[Path, Corrections] = {}

    def begin(self, log_begin: int, resume: int) -> None:
        """Find the first entry whose record the log has.

        Args:
            log_begin: the position of the log's first byte.
            resume: from where on records are yet to be indexed, as the next start believes.
        """
        self._set(RESUME, resume)
        self._note[key_merge.KEY_POSITION // _WORD] = NONE
        is_first = True
        while self._open_next():
            assert self._segment is not None
            address, slots = self._segment.address, self._shape.slots
            number = first_number_from(address, slots, self._get(COUNT), log_begin)
            if number < self._get(COUNT):
                self._set(NUMBER, number)
                is_late = is_first and number == FIRST_NUMBER
                self._set(BEGIN, self._first_position() if is_late else log_begin)
                return
            is_first = is_first and self._get(COUNT) == FIRST_NUMBER

    def follow(self, address: int, position: int, size_bytes: int) -> Iterator[Finding]:
        """Hold whole records against the index; in the order of the log."""
        end = position + size_bytes
        while position < end:
            status = merge_keys(self._places(), address, position, end - position)
            reached = self._get(REACHED)
            address += reached - position
            position = reached
            if status == NEEDS_FILE:
                flush_rows(self._places())
            yield from self._take_rows()
            if status == NEEDS_FILE and not self._open_next():
                self._set(IS_LAST, 1)

    def finish(self, log_end: int) -> Iterator[Finding]:
        """Tell of the entries that are left."""
        flush_rows(self._places())
        yield from self._take_rows()
        while self._segment is not None:
            if self._get(BEGIN) != _NEVER:
                number, count = count_rest(self._places())
                if count > 0:
                    position = load_i64(self._segment.address + self._at(number) + POSITION)
                    where = f"behind the log's end, {log_end}" if position >= log_end else "which is no key's"
                    yield self._describe_stray(number, count, position, where)
            if not self._open_next():
                break
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _open_next(self) -> bool:
        """Take up the next file; False where there is none."""
        if self._index + 1 >= len(self._files):
            return False
        self.close()
        self._index += 1
        file = self._files[self._index]
        self._segment = Segment.open(file.path, 0, self._shape.file_bytes, writable=False)
        self._set(NUMBER, FIRST_NUMBER)
        self._set(COUNT, file.next_number)
        self._set(BEGIN_MS, self._begin_ms(self._segment))
        return True

    def _begin_ms(self, segment: Segment) -> int:
        """From when on the entries of a file count: the store time of its first record, if that is there."""
        first_ms = store_ms_at(self._log, load_i64(segment.address + self._at(FIRST_NUMBER) + POSITION))
        return first_ms if first_ms != NONE else load_i64(segment.address + BEGIN_TIMESTAMP)

    def _first_position(self) -> int:
        """From where on the log has entries, by the first of them; by the header where that cannot be."""
        assert self._segment is not None
        position = load_i64(self._segment.address + self._at(FIRST_NUMBER) + POSITION)
        if self._get(COUNT) > FIRST_NUMBER + 1:
            following = load_i64(self._segment.address + self._at(FIRST_NUMBER + 1) + POSITION)
            if following < position:
                return load_i64(self._segment.address + BEGIN_POSITION)
        return position

    def _places(self) -> MergePlaces:
        return MergePlaces(
            file=self._segment.address if self._segment is not None else 0,
            slots=self._shape.slots,
            keys=address_of(self._keys),
            key_note=address_of(self._key_note),
            rows=address_of(self._rows),
            ranges=self._damage.address,
            range_count=self._damage.count,
            note=address_of(self._note),
        )

    def _take_rows(self) -> Iterator[Finding]:
        for values in self._rows[: self._get(ROWS)].tolist():
            yield self._describe(Row(*values))
        self._set(ROWS, 0)

    def _describe(self, row: Row) -> Finding:
        if row.kind == key_merge.MISSING:
            return self._describe_missing(row)
        if row.kind == key_merge.STRAY:
            return self._describe_stray(row.slot, row.offset, row.position, "which is no key's")
        path = self._files[self._index].path
        kind = FindingKind.INDEX_TIME
        text = (
            f"entry {row.slot} has the time {row.found} s, its record {row.wanted} s, from the file's begin"
        )
        if row.kind == key_merge.OTHER_HASH:
            kind = FindingKind.INDEX_HASH
            text = f"entry {row.slot} has the hash {row.found}, the key of its record {row.wanted}"
            self.corrections.setdefault(path, Corrections({}, {})).hashes[row.slot] = row.wanted
        elif row.kind == key_merge.OTHER_POSITION:
            kind = FindingKind.INDEX_POSITION
            text = f"entry {row.slot} says that its record is at {row.found}, and it is at {row.wanted}"
            self.corrections.setdefault(path, Corrections({}, {})).positions[row.slot] = row.wanted
        is_pending = self._mending.mends_entry(path, row.slot)
        return Finding(kind, str(path), self._at(row.slot), row.position, text, is_pending)

    def _describe_missing(self, row: Row) -> Finding:
        is_pending = row.position >= self._get(RESUME)
        path = self._files[self._index].path
        text = "a key of this record has no entry"
        if row.offset > 1:
            text = f"{row.offset} keys of records from this one on have no entries"
        if is_pending:
            text = f"{row.offset} keys of records from this one on are yet to be put in"
        return Finding(FindingKind.INDEX_MISSING, str(path), 0, row.position, text, is_pending)

    def _describe_stray(self, number: int, count: int, position: int, where: str) -> Finding:
        path = self._files[self._index].path
        more = f", and {count - 1} like it" if count > 1 else ""
        text = f"entry {number} is for a record at {position}, {where}{more}"
        is_pending = self._mending.mends_entry(path, number)
        return Finding(FindingKind.INDEX_STRAY, str(path), self._at(number), position, text, is_pending)

    def _at(self, number: int) -> int:
        return entry_at(self._shape.slots, number)

    def _get(self, word: int) -> int:
        return int(self._note[word // _WORD])

    def _set(self, word: int, value: int) -> None:
        self._note[word // _WORD] = value
