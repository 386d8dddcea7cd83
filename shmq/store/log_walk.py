"""Recovery's walk over the files of a log: where it ends, how young it is, and whether the queues reach where it begins.

It changes nothing on disk. Queues that the log knows and the tables do not are added to these.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

import numpy as np

from shmq.jit import Words
from shmq.memory.block import address_of
from shmq.store.log import LogDirectory
from shmq.store.log_scan import (
    INVALID,
    LAST_RECORD,
    MISSES_ENTRIES,
    NEEDS_QUEUE,
    NEWEST_MS,
    NOTE_WORDS,
    PAUSED,
    REACHED,
    RECORDS,
    ScanTables,
    needed_queue,
    verify_at,
    walk_file,
)
from shmq.store.name_table import NameTable
from shmq.store.pace import Telling
from shmq.store.position import NONE
from shmq.store.queue_table import QueueTable
from shmq.store.record import store_timestamp
from shmq.store.segment import Segment

STEP_BYTES: Final = 64 << 20
"""So much of the log is walked or dispatched between two looks at how far it is."""


class LogWalk:
    """Walks a log, again where it must.

    Attributes:
        starts: where its files begin.
        checked_from: records below this position were on disk before, and their checksums are left alone.
    """

    def __init__(self, log: LogDirectory, topics: NameTable, queues: QueueTable, telling: Telling) -> None:
        self.starts: list[int] = []
        self.checked_from = 0
        self._log = log
        self._topics = topics
        self._queues = queues
        self._telling = telling
        self._note: Words = np.zeros(NOTE_WORDS, dtype=np.int64)
        self._expected: Words = np.zeros(queues.capacity, dtype=np.int64)

    @property
    def end(self) -> int:
        """The position behind the last record that was found."""
        return int(self._note[REACHED])

    @property
    def last_record(self) -> int:
        """Its position, or NONE."""
        return int(self._note[LAST_RECORD])

    @property
    def newest_ms(self) -> int:
        """The newest store time that was found; 0 without a record."""
        return int(self._note[NEWEST_MS])

    @property
    def records(self) -> int:
        """How many records were found."""
        return int(self._note[RECORDS])

    def file_of(self, position: int) -> int:
        """Where the file begins that holds a position."""
        return position // self._log.file_bytes * self._log.file_bytes

    def go(self, begin: int) -> bool:
        """Walk to the end of the log, from a file's or a record's first byte on.

        Returns:
            False where a queue lacks entries of records before.
        """
        say, pace = self._telling
        say(f"checking the log from position {begin} on")
        self._note[:] = 0
        self._note[LAST_RECORD] = NONE
        self._expected[:] = self._queues.max
        total_bytes = self._probable_end() - begin
        for start in self.starts[self.starts.index(self.file_of(begin)) :]:
            self._note[REACHED] = max(start, begin)
            with closing(self._log.open(start, writable=False)) as segment:
                status = PAUSED
                while status == PAUSED:
                    pace("checking the log", self.end - begin, total_bytes, "bytes")
                    status = self._walk_file(segment, may_miss=begin == self.starts[0])
            if status == MISSES_ENTRIES:
                return False
            if status == INVALID:
                break
        return True

    def _walk_file(self, segment: Segment, may_miss: bool) -> int:
        tables = ScanTables(
            topics=self._topics.address,
            queues=self._queues.address,
            expected=address_of(self._expected),
            note=address_of(self._note),
            may_miss=int(may_miss),
            checked_from=self.checked_from,
        )
        pause_at = self.end + STEP_BYTES
        while True:
            status = walk_file(tables, segment.address, segment.start, segment.size_bytes, pause_at)
            if status != NEEDS_QUEUE:
                return status
            topic, queue_id = needed_queue(segment.address + self.end - segment.start)
            self._queues.add(self._topics.add(topic), queue_id)

    def _probable_end(self) -> int:
        """Where the log ends, if what follows was never written."""
        with closing(self._log.open(self.starts[-1], writable=False)) as segment:
            return segment.start + os.lseek(segment.descriptor, 0, os.SEEK_HOLE)


def last_start(log: LogDirectory, starts: Sequence[int], is_on_disk: Callable[[int, int], bool]) -> int:
    """The last file that begins with a record, and of which position and store time say so; the first if none."""
    for start in reversed(starts[1:]):
        first_ms = first_timestamp_ms(log, start)
        if first_ms > 0 and is_on_disk(start, first_ms):
            return start
    return starts[0]


def first_timestamp_ms(log: LogDirectory, start: int) -> int:
    """The store time of a file's first record; 0 without one."""
    with closing(log.open(start, writable=False)) as segment:
        if verify_at(segment.address, segment.size_bytes, start, check_crc=True) <= 0:
            return 0
        return store_timestamp(segment.address)
