"""The files of one consume queue at rest: how far they reach, what to cut off, what is no longer needed.

Recovery and retention use it; the dispatcher writes through `queue_files`, and forgets its mapping of a queue
before anybody changes the files here. A queue's offsets are places in its files: entry n lies at byte 20 n.
The files hold entries without a hole, then zeros. Cutting zeroes what it cuts off, because RocketMQ counts
entries until the first that is none, and stale ones behind it would come back to life.

Each operation may be killed and run again.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from shmq.errors import StoreError
from shmq.jit import entry
from shmq.memory.block import zero
from shmq.memory.endian import load_i32, load_i64
from shmq.store.position import NONE
from shmq.store.queue_entry import POSITION, RECORD_SIZE, SIZE, is_message
from shmq.store.segment import Segment, file_name, list_starts, remove_empty_last
from shmq.store.store_files import sync_directory

_FILES_SCANNED: Final = 3
"""Only the newest files can hold what was not yet on disk; RocketMQ scans as many."""


class Extent(NamedTuple):
    """How far a queue reaches.

    Attributes:
        max_offset: the queue offset behind its last entry.
        end_position: where the record of its last message ends in the log; 0 without one.
    """

    max_offset: int
    end_position: int


class QueueDirectory:
    """The files of one queue."""

    def __init__(self, path: Path, file_bytes: int) -> None:
        self.path = path
        self._file_bytes = file_bytes
        self._entries = file_bytes // SIZE

    def starts(self) -> list[int]:
        """The first byte of each file, in order.

        Raises:
            StoreError: a file is foreign, of another size, or missing in the middle.
        """
        return list_starts(self.path, self._file_bytes)

    def recover(self) -> Extent:
        """Find how far the queue reaches, and remove what lies behind its first entry that is none.

        Raises:
            StoreError: a file is foreign, of another size, or missing in the middle.
        """
        remove_empty_last(self.path)
        starts = self.starts()
        newest = starts[-_FILES_SCANNED:]
        for start in newest:
            count = self._count(start)
            if count < self._entries:
                if (
                    start == newest[0] and count == 0
                ):  # nothing of these came to the disk: then of older ones?
                    return self._cut_behind(starts[:-_FILES_SCANNED])
                return self._cut(start, count)
        if not starts:
            return Extent(0, 0)
        return self._extent(starts[-1] // SIZE + self._entries)

    def truncate(self, position: int) -> Extent:
        """Remove the entries of records at and behind a position of the log."""
        starts = self.starts()
        for start in reversed(starts):
            with closing(self._open(start, writable=False)) as segment:
                count = count_below(segment.address, self._entries, position)
            if count > 0:
                return self._cut(start, count)
            self._unlink(start)
        return Extent(starts[0] // SIZE if starts else 0, 0)

    def find_min(self, max_offset: int, position: int) -> int:
        """The queue offset of the first message at or behind a position of the log; max_offset without one."""
        for start in self.starts():
            first = start // SIZE
            count = min(self._entries, max_offset - first)
            with closing(self._open(start, writable=False)) as segment:
                last = last_message(segment.address, count)
                if last == NONE or load_i64(segment.address + last * SIZE + POSITION) < position:
                    continue
                return first + first_message(segment.address, count, position)
        return max_offset

    def remove_below(self, position: int) -> list[Path]:
        """Remove leading files, never the last, whose messages all lie below a position of the log."""
        removed: list[Path] = []
        for start in self.starts()[:-1]:
            with closing(self._open(start, writable=False)) as segment:
                last = last_message(segment.address, self._entries)
                if last != NONE and load_i64(segment.address + last * SIZE + POSITION) >= position:
                    break
            removed.append(self._file(start))
            self._unlink(start)
        return removed

    def remove(self) -> None:
        """Remove the whole queue, newest file first."""
        for start in reversed(self.starts()):
            self._unlink(start)
        if self.path.exists():
            self.path.rmdir()

    def _cut_behind(self, starts: list[int]) -> Extent:
        """Of these files, and none behind them, keep what ends with a whole one, or at the end of a part."""
        for start in reversed(starts):
            count = self._count(start)
            if count > 0:
                return self._cut(start, count)
        return self._cut(self.starts()[0], 0)

    def _count(self, start: int) -> int:
        with closing(self._open(start, writable=False)) as segment:
            return count_entries(segment.address, self._entries)

    def _cut(self, start: int, count: int) -> Extent:
        """Keep so many entries of the file that begins there, and no file behind it."""
        for other in reversed(self.starts()):
            if other > start or (other == start and count == 0):
                self._unlink(other)
        if count > 0:
            with closing(self._open(start, writable=True)) as segment:
                dirty = count_until_zeros(segment.address, self._entries) - count
                if dirty > 0:
                    zero(segment.address + count * SIZE, dirty * SIZE)
                    os.fdatasync(segment.descriptor)
        if self.path.exists():
            sync_directory(self.path)
        return self._extent(start // SIZE + count)

    def _extent(self, max_offset: int) -> Extent:
        for start in reversed(self.starts()):
            count = min(self._entries, max_offset - start // SIZE)
            with closing(self._open(start, writable=False)) as segment:
                last = last_message(segment.address, count)
                if last != NONE:
                    entry = segment.address + last * SIZE
                    return Extent(max_offset, load_i64(entry + POSITION) + load_i32(entry + RECORD_SIZE))
        return Extent(max_offset, 0)

    def _open(self, start: int, writable: bool) -> Segment:
        return Segment.open(self._file(start), start, self._file_bytes, writable)

    def _file(self, start: int) -> Path:
        return self.path / file_name(start)

    def _unlink(self, start: int) -> None:
        self._file(start).unlink()


def queue_path(root: Path, topic: bytes, queue_id: int) -> Path:
    """Where a queue's files lie below the directory of all queues.

    Raises:
        StoreError: the topic can be no directory's name.
    """
    if topic in {b"", b".", b".."} or b"/" in topic or b"\0" in topic:
        raise StoreError(f"no directory can have the name of the topic {topic!r}")
    return root / os.fsdecode(topic) / str(queue_id)


def list_queues(root: Path) -> Iterator[tuple[bytes, int]]:
    """Topic and queue id of each directory of a queue; what is named otherwise is none of ours."""
    if not root.exists():
        return
    for topic in sorted(root.iterdir()):
        if topic.is_dir():
            for queue in sorted(topic.iterdir()):
                if queue.is_dir() and queue.name.isdecimal():
                    yield os.fsencode(topic.name), int(queue.name)


@entry
def count_entries(entries: int, count: int) -> int:
    """How many entries there are before the first that is none."""
    for index in range(count):
        entry = entries + index * SIZE
        if load_i64(entry + POSITION) < 0 or load_i32(entry + RECORD_SIZE) <= 0:
            return index
    return count


@entry
def count_below(entries: int, count: int, position: int) -> int:
    """How many entries there are before the first that is none or lies at or behind a position."""
    for index in range(count):
        entry = entries + index * SIZE
        if load_i32(entry + RECORD_SIZE) <= 0 or not 0 <= load_i64(entry + POSITION) < position:
            return index
    return count


@entry
def count_until_zeros(entries: int, count: int) -> int:
    """How many entries there are before nothing but zeros follows."""
    while count > 0:
        entry = entries + (count - 1) * SIZE
        if load_i64(entry) != 0 or load_i64(entry + 8) != 0 or load_i32(entry + 16) != 0:
            return count
        count -= 1
    return 0


@entry
def last_message(entries: int, count: int) -> int:
    """The index of the last entry that stands for a message, or NONE."""
    for index in range(count - 1, -1, -1):
        if is_message(load_i32(entries + index * SIZE + RECORD_SIZE)):
            return index
    return NONE


@entry
def first_message(entries: int, count: int, position: int) -> int:
    """The index of the first entry that stands for a message at or behind a position, or NONE."""
    for index in range(count):
        entry = entries + index * SIZE
        if is_message(load_i32(entry + RECORD_SIZE)) and load_i64(entry + POSITION) >= position:
            return index
    return NONE
