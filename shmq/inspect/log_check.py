"""Check the log, record by record, and the queue entry of each record.

One walk over the log, file by file. What is no record ends it there, or is passed over where a whole record follows
that is not older than the last: bytes from before a truncation may be whole records too, but those are older.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np

from shmq.inspect import log_walk
from shmq.inspect.damage import Damage
from shmq.inspect.finding import Finding, FindingKind, Mending
from shmq.inspect.log_walk import (
    DONE,
    END_OF_FILE,
    LAST_MS,
    LAST_RECORD,
    NEEDS_QUEUE,
    NEEDS_WINDOW,
    NOTE_WORDS,
    OFFSET,
    REACHED,
    RECORDS,
    ROW_LAYOUT,
    ROWS,
    ROWS_MAX,
    SLOT,
    TAKEN_OFFSET,
    TAKEN_POSITION,
    WalkPlaces,
    walk_log,
)
from shmq.inspect.queues import Queues, open_segment
from shmq.inspect.row_text import MissingEntries, describe
from shmq.inspect.sequences import SequenceFile, list_sequence
from shmq.jit import Words
from shmq.memory.block import address_of
from shmq.memory.endian import load_i32, load_i64
from shmq.store import record
from shmq.store.data_ranges import data_ranges
from shmq.store.dispatch import SCHEDULE_TOPIC
from shmq.store.log_scan import find_record, needed_queue, verify_at
from shmq.store.position import NONE
from shmq.store.queue_files import GAP_ENTRIES_MAX
from shmq.store.segment import Segment, file_name
from shmq.store.store_files import StorePaths, StoreSizes

_CHUNK_BYTES: Final = 16 << 20
_WORD: Final = 8

Follower = Callable[[int, int, int], Iterator[Finding]]
"""Told of each stretch of whole records: where it is mapped, its position, its size."""


class LogCheck:
    """The walk.

    Attributes:
        begin: the position of the log's first byte; 0 without a file.
        end: the position behind its last record.
        damage: where no record can be read.
        is_over: whether the end was found.
    """

    def __init__(
        self,
        paths: StorePaths,
        sizes: StoreSizes,
        queues: Queues,
        mending: Mending,
        delay_levels_ms: tuple[int, ...],
    ) -> None:
        self._file_bytes = sizes.commit_log_file_bytes
        self._queues = queues
        self._mending = mending
        self._files = list_sequence(paths.commitlog, self._file_bytes)
        self._note: Words = np.zeros(NOTE_WORDS, dtype=np.int64)
        self._note[TAKEN_POSITION // _WORD] = NONE
        self._rows = np.zeros(ROWS_MAX, dtype=ROW_LAYOUT)
        self._delays: Words = np.array(delay_levels_ms, dtype=np.int64)
        self._missing = MissingEntries(queues, mending)
        self.begin = self._files[0].start if self._files else 0
        self.end = self.begin
        self.damage = Damage()
        self.is_over = False

    @property
    def last_ms(self) -> int:
        """The store time of the last record."""
        return int(self._note[LAST_MS // _WORD])

    @property
    def records(self) -> int:
        """How many whole records there were."""
        return int(self._note[RECORDS // _WORD])

    def check_clock(self, now_ms: int) -> Iterator[Finding]:
        """Tell if the last record is from the future: no later one may be older."""
        if self.last_ms > now_ms:
            position = self._noted(LAST_RECORD)
            path = self._files[0].path.with_name(file_name(position - position % self._file_bytes))
            text = f"it was stored at {self.last_ms}, and now is {now_ms}"
            yield self._finding(FindingKind.RECORD_TIME, path, position, text)

    @property
    def size_bytes(self) -> int:
        """How long its files are together."""
        return sum(file.size_bytes for file in self._files)

    def run(self, follow: Follower, progress: Callable[[int], None]) -> Iterator[Finding]:
        """Walk all files.

        Args:
            follow: told of whole records.
            progress: told how many bytes were looked at.

        Raises:
            StoreError: a file cannot be read.
        """
        reached = self.begin
        for index, file in enumerate(self._files):
            if self.is_over:
                yield from self._check_behind(file)
                continue
            if file.start > reached:
                self.damage.add(reached, file.start)
            with closing(open_segment(file.path, file.start)) as segment:
                yield from self._walk_file(segment, self._files[index + 1 :], follow, progress)
            reached = file.start + self._file_bytes
        yield from self._missing.take_all()

    def _walk_file(
        self,
        segment: Segment,
        later: list[SequenceFile],
        follow: Follower,
        progress: Callable[[int], None],
    ) -> Iterator[Finding]:
        position = segment.start
        places = self._places()
        while True:
            address = segment.address + position - segment.start
            status = walk_log(places, address, position, segment.end - position, _CHUNK_BYTES)
            reached = int(self._note[REACHED // _WORD])
            yield from self._take_rows(segment.path)
            if reached > position:
                yield from follow(address, position, reached - position)
                progress(reached - position)
            position = self.end = reached
            address = segment.address + position - segment.start
            if status == END_OF_FILE:
                yield from self._check_blank(segment, position)
                self.end = segment.start + self._file_bytes
                return
            if status == NEEDS_QUEUE:
                yield from self._add_queue(segment, position)
                places = self._places()
            elif status == NEEDS_WINDOW:
                self._queues.open_window(self._noted(SLOT), self._noted(OFFSET))
            elif status == log_walk.ODD_OFFSET:
                yield from self._judge_offset(segment, position)
            elif status == log_walk.INVALID:
                next_position = yield from self._judge_damage(segment, position, later)
                if next_position == NONE:
                    return
                position = next_position
            else:
                assert status == DONE

    def _places(self) -> WalkPlaces:
        return WalkPlaces(
            topics=self._queues.topics.address,
            queues=self._queues.table.address,
            lines=address_of(self._queues.lines),
            delays=address_of(self._delays),
            delay_count=len(self._delays),
            schedule_topic=self._queues.topics.find(SCHEDULE_TOPIC),
            rows=address_of(self._rows),
            note=address_of(self._note),
        )

    def _noted(self, word: int) -> int:
        return int(self._note[word // _WORD])

    def _take_rows(self, path: Path) -> Iterator[Finding]:
        count = self._noted(ROWS)
        for row in self._rows[:count].tolist():
            found = log_walk.Row(*row)
            if found.kind == log_walk.NO_ENTRY:
                yield from self._missing.add(found)
            else:
                yield describe(found, path, self._file_bytes, self._queues, self._mending)
        self._note[ROWS // _WORD] = 0

    def _finding(self, kind: FindingKind, path: Path, position: int, text: str) -> Finding:
        return Finding(kind, str(path), position % self._file_bytes, position, text)

    def _check_blank(self, segment: Segment, position: int) -> Iterator[Finding]:
        left_bytes = segment.end - position
        stated_bytes = load_i32(segment.address + position - segment.start)
        if stated_bytes != left_bytes:
            text = f"the file's unused end says that it has {stated_bytes} bytes, and has {left_bytes}"
            yield self._finding(FindingKind.LOG_BLANK, segment.path, position, text)

    def _add_queue(self, segment: Segment, position: int) -> Iterator[Finding]:
        topic, queue_id = needed_queue(segment.address + position - segment.start)
        if self._queues.can_be(topic, queue_id):
            self._queues.add(topic, queue_id)
            return
        self._take(position, NONE)
        text = f"there can be no queue {queue_id} of the topic {topic.decode(errors='replace')!r}"
        yield self._finding(FindingKind.RECORD_QUEUE, segment.path, position, text)

    def _take(self, position: int, offset: int) -> None:
        """Have a record taken as if it had this queue offset; NONE: not held against a queue at all."""
        self._note[TAKEN_POSITION // _WORD] = position
        self._note[TAKEN_OFFSET // _WORD] = offset

    def _judge_offset(self, segment: Segment, position: int) -> Iterator[Finding]:
        """A record whose queue offset is not the next one: which of the two is wrong?"""
        slot, offset = self._noted(SLOT), self._noted(OFFSET)
        line = self._queues.lines[slot]
        expected = int(line["next"])
        queue = self._queues.names[slot]
        if expected == NONE:
            yield from self._judge_first(segment, position)
            return
        entry = self._queues.entry(slot, expected)
        if offset < 0 or (entry is not None and entry.position == position):
            self._take(position, expected)
            text = f"it says queue offset {offset} of {queue}, where {expected} is the next"
            yield self._finding(FindingKind.RECORD_QUEUE_OFFSET, segment.path, position, text)
        elif offset > expected:
            line["next"] = offset
            if not self._are_unreadable(slot, expected, offset):
                last = f" to {offset - 1}" if offset - 1 > expected else ""
                text = f"no record has the queue offsets {expected}{last} of {queue}, before this one"
                yield self._finding(FindingKind.QUEUE_GAP, segment.path, position, text)
        else:
            self._take(position, NONE)
            text = f"queue offset {offset} of {queue} was there before; {expected} is the next"
            yield self._finding(FindingKind.QUEUE_DUPLICATE, segment.path, position, text)

    def _judge_first(self, segment: Segment, position: int) -> Iterator[Finding]:
        """The first record of a queue in the log, where its entry is not at its queue offset: is it at another?"""
        slot, offset = self._noted(SLOT), self._noted(OFFSET)
        found = self._queues.find(slot, position)
        if found != NONE or offset < 0:
            text = f"it says queue offset {offset} of {self._queues.names[slot]}"
            if found != NONE:
                text += f", and the queue has it at {found}"
            yield self._finding(FindingKind.RECORD_QUEUE_OFFSET, segment.path, position, text)
            offset = found
        elif offset - self._queues.end(slot) > GAP_ENTRIES_MAX:
            text = (
                f"it says queue offset {offset} of {self._queues.names[slot]}, which nobody fills up to there"
            )
            yield self._finding(FindingKind.RECORD_QUEUE_OFFSET, segment.path, position, text)
            offset = NONE
        self._take(position, offset)

    def _are_unreadable(self, slot: int, begin: int, end: int) -> bool:
        """Whether the records of these queue offsets lie where the log cannot be read, as their entries say."""
        for offset in range(begin, end):
            entry = self._queues.entry(slot, offset)
            if entry is None or not self.damage.holds(entry.position):
                return False
        return True

    def _judge_damage(
        self, segment: Segment, position: int, later: list[SequenceFile]
    ) -> Generator[Finding, None, int]:
        """What is no record, or the end of the log; returns where to go on in this file, or NONE."""
        kind, text = self._cause(segment, position)
        follower = self._find_follower(segment, position + 1)
        if follower == NONE and not any(self._has_follower(file) for file in later):
            self.is_over = True
            yield from self._check_tail(segment, position, kind, text)
            return NONE
        end = segment.start + self._file_bytes if follower == NONE else follower
        self.damage.add(position, end)
        if segment.size_bytes == self._file_bytes or follower != NONE:
            more = f"; the next whole record is at {end}" if follower != NONE else "; its file ends with it"
            yield self._finding(kind or FindingKind.LOG_HOLE, segment.path, position, text + more)
        return follower

    def _cause(self, segment: Segment, position: int) -> tuple[FindingKind | None, str]:
        """Why there is no record; no kind where nothing was ever written."""
        address = segment.address + position - segment.start
        readable_bytes = segment.end - position
        if readable_bytes < record.BLANK_BYTES_MIN:
            return FindingKind.LOG_BLANK, "the file ends without a blank"
        size, magic = load_i32(address + record.TOTAL_SIZE), load_i32(address + record.MAGIC)
        if magic == record.BLANK_MAGIC or (size == readable_bytes and readable_bytes < record.HEAD_BYTES):
            return FindingKind.LOG_BLANK, f"a blank of {size} bytes, where {readable_bytes} are left"
        if size == 0 and magic == 0:
            return None, "nothing was written here"
        return self._record_cause(address, readable_bytes, position)

    @staticmethod
    def _record_cause(address: int, readable_bytes: int, position: int) -> tuple[FindingKind, str]:
        """Why something is not a record of this position."""
        size, magic = load_i32(address + record.TOTAL_SIZE), load_i32(address + record.MAGIC)
        if magic not in {record.MAGIC_V1, record.MAGIC_V2}:
            return FindingKind.RECORD_MAGIC, f"no record has the magic {magic & 0xFFFF_FFFF:08x}"
        if record.verify(address, readable_bytes, False) <= 0:
            return FindingKind.RECORD_SIZE, f"its parts do not add up to its size, {size} bytes"
        stated = load_i64(address + record.PHYSICAL_OFFSET)
        if stated != position:
            return FindingKind.RECORD_POSITION, f"it says that it lies at {stated}"
        return FindingKind.RECORD_CHECKSUM, "its body has another checksum than it says"

    def _find_follower(self, segment: Segment, position: int) -> int:
        """The position of the first whole record from there on, in this file; NONE without one."""
        for at, size_bytes in data_ranges(segment, position - segment.start):
            found = find_record(segment.address + at, size_bytes, segment.size_bytes - at, segment.start + at)
            if found != NONE:
                is_old = record.store_timestamp(segment.address + at + found) < self.last_ms
                return NONE if is_old else segment.start + at + found
        return NONE

    def _has_follower(self, file: SequenceFile) -> bool:
        with closing(open_segment(file.path, file.start)) as segment:
            if verify_at(segment.address, segment.size_bytes, file.start, check_crc=True) > 0:
                return record.store_timestamp(segment.address) >= self.last_ms
            return self._find_follower(segment, file.start) != NONE

    def _check_tail(
        self, segment: Segment, position: int, kind: FindingKind | None, text: str
    ) -> Iterator[Finding]:
        """What lies behind the last record, in its file."""
        if kind is not None and segment.size_bytes == self._file_bytes:
            found = self._finding(kind, segment.path, position, text + "; nothing follows")
            yield found._replace(is_pending=self._mending.mends(position))
        elif kind is None:
            yield from self._check_zeros(segment, position)

    def _check_behind(self, file: SequenceFile) -> Iterator[Finding]:
        with closing(open_segment(file.path, file.start)) as segment:
            yield from self._check_zeros(segment, file.start)

    def _check_zeros(self, segment: Segment, position: int) -> Iterator[Finding]:
        for at, size_bytes in data_ranges(segment, position - segment.start):
            used = log_walk.first_used(segment.address + at, size_bytes)
            if used == size_bytes:
                continue
            found = segment.start + at + used
            text = f"there is something behind the log's end, {self.end}"
            finding = self._finding(FindingKind.NOT_ZERO, segment.path, found, text)
            yield finding._replace(is_pending=self._mending.mends(self.end))
            return
