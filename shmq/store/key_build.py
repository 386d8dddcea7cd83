"""The work of indexing keys without its waiting: from a stretch of the log to entries in the newest index file.

Any stretch may be indexed again that begins at or before the last record which has entries: what is in is passed over,
to the key. So a killed process's successor begins wherever the watermark stands, and no key is twice in the index.
"""

from typing import Final, NamedTuple

import numpy as np

from shmq.jit import Words
from shmq.memory.block import address_of
from shmq.store.key_files import KeyFiles
from shmq.store.key_walk import (
    END_OF_FILE,
    INVALID,
    KEYS,
    NEEDS_ROOM,
    NOTE_WORDS,
    PART_COUNT,
    PART_POSITION,
    REACHED,
    ROW_LAYOUT,
    ROWS,
    KeyPlaces,
    walk_keys,
)
from shmq.store.log import LogReader
from shmq.store.position import NONE

_WORD_BYTES: Final = 8


class KeyStep(NamedTuple):
    """What one step did.

    Attributes:
        reached: where the next one begins.
        keys: how many entries were made.
        skipped: the position of something in the log that is no record; NONE where all were. What follows it in its
            file is not indexed.
    """

    reached: int
    keys: int
    skipped: int


class KeyBuild:
    """Indexes the log, a step at a time."""

    def __init__(self, log: LogReader, files: KeyFiles) -> None:
        """Take up the index as its files have it.

        Args:
            log: where records are read.
            files: where entries are written.
        """
        self._log = log
        self._files = files
        self._rows: Words = np.zeros(ROWS * ROW_LAYOUT.itemsize // _WORD_BYTES, dtype=np.int64)
        self._note: Words = np.zeros(NOTE_WORDS, dtype=np.int64)
        self._reached, part_count = files.last_part()
        self._note[PART_POSITION // _WORD_BYTES] = self._reached
        self._note[PART_COUNT // _WORD_BYTES] = part_count

    def step(self, begin: int, end: int, bytes_max: int, now_ms: int) -> KeyStep:
        """Index records from a position on, and begin none after so many bytes.

        Args:
            begin: where a record begins; what was trimmed since is passed over.
            end: where the last one ends.
            bytes_max: how much of the log to walk.
            now_ms: the clock.

        Raises:
            StoreError: the disk has no room; the entries made until then stay, and the same step may be tried again.
        """
        self._note[KEYS // _WORD_BYTES] = 0
        position = max(begin, self._reached)
        stop = min(begin + bytes_max, end)
        skipped = NONE
        while position < stop:
            address, file_left_bytes = self._log.address_of(position)
            if address == NONE:
                position += self._log.file_bytes - position % self._log.file_bytes
                continue
            readable_bytes = min(file_left_bytes, end - position)
            status = walk_keys(self._places(), address, position, readable_bytes, stop - position)
            self._reached = int(self._note[REACHED // _WORD_BYTES])
            if status == NEEDS_ROOM:
                self._files.make_room(now_ms)
            elif status in {END_OF_FILE, INVALID}:
                skipped = self._reached if status == INVALID else skipped
                self._reached = position + file_left_bytes
            position = self._reached
        return KeyStep(max(min(position, end), begin), int(self._note[KEYS // _WORD_BYTES]), skipped)

    def _places(self) -> KeyPlaces:
        files = self._files
        return KeyPlaces(
            file=files.address,
            slots=files.shape.slots,
            number_end=files.number_end,
            rows=address_of(self._rows),
            note=address_of(self._note),
        )
