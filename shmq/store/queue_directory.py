"""The files of one consume queue at rest: how far they reach, what to cut off, what is no longer needed.

Recovery and retention use it; the dispatcher writes through `queue_files`, and forgets its mapping of a queue
before anybody changes the files here. A queue's offsets are places in its files: entry n lies at byte 20 n.
The files hold entries without a hole, then zeros. Cutting zeroes what it cuts off, because RocketMQ counts
entries until the first that is none, and stale ones behind it would come back to life.

Each operation may be killed and run again.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from shmq.errors import StoreError
from shmq.jit import entry
from shmq.memory.block import zero
from shmq.memory.endian import load_i32, load_i64
from shmq.store.data_ranges import data_ranges
from shmq.store.position import NONE
from shmq.store.queue_entry import POSITION, RECORD_SIZE, SIZE, is_message
from shmq.store.segment import Segment, Sequence, file_name, list_sequence, remove_empty_last
from shmq.store.store_files import sync_directory

_FILES_SCANNED: Final = 3
"""Only the newest files can hold what was not yet on disk; RocketMQ scans as many."""
_TOPIC_NAME: Final = re.compile(r"[%|a-zA-Z0-9_-]+")
"""What clients may call a topic. Brokers and clusters have topics of their name, whatever it is."""
_ANYWHERE: Final = (1 << 63) - 1
_QUEUE_ID_MAX: Final = (1 << 31) - 1


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
        return self.sequence().starts

    def sequence(self) -> Sequence:
        """What lies there.

        Raises:
            StoreError: as `starts`.
        """
        return list_sequence(self.path, self._file_bytes)

    def recover(self, log_end: int = _ANYWHERE) -> Extent:
        """Find how far the queue reaches, and remove what lies behind its first entry that cannot be one.

        Args:
            log_end: where the files of the log end: no record lies behind.

        Raises:
            StoreError: a file is foreign, of another size, or missing in the middle.
        """
        sequence = self.sequence()
        remove_empty_last(sequence)
        starts = sequence.starts
        for start in starts[-_FILES_SCANNED:]:
            with closing(self._open(start, writable=False)) as segment:
                count = count_entries(segment.address, self._entries, log_end)
            if count < self._entries:
                return self._cut(starts, start, count)
        if not starts:
            return Extent(0, 0)
        return self._extent(starts, starts[-1] // SIZE + self._entries)

    def truncate(self, position: int) -> Extent:
        """Remove the entries of records at and behind a position of the log."""
        starts = self.starts()
        for start in reversed(starts):
            with closing(self._open(start, writable=False)) as segment:
                count = count_below(segment.address, self._entries, position)
            if count > 0:
                return self._cut(starts, start, count)
            self._unlink(start)
        if not starts:
            return Extent(0, 0)
        sync_directory(self.path)
        return Extent(starts[0] // SIZE, 0)

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
        try:
            self.path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # what is none of ours stays, and so its directory
                raise

    def _cut(self, starts: list[int], start: int, count: int) -> Extent:
        """Keep so many entries of the file that begins there, and no file behind it."""
        kept = [other for other in starts if other < start or (other == start and count > 0)]
        for other in reversed(starts[len(kept) :]):
            self._file(other).unlink(missing_ok=True)
        if len(kept) < len(starts):
            sync_directory(self.path)
        if count > 0:
            with closing(self._open(start, writable=True)) as segment:
                stale = list(data_ranges(segment, count * SIZE))
                for at, size_bytes in stale:
                    zero(segment.address + at, size_bytes)
                if stale:
                    os.fdatasync(segment.descriptor)
        return self._extent(kept, start // SIZE + count)

    def _extent(self, starts: list[int], max_offset: int) -> Extent:
        for start in reversed(starts):
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
    """Topic and queue id of each directory of a queue; what could be none of ours is passed over.

    Raises:
        StoreError: a directory cannot be read, or where one belongs lies something else.
    """
    for topic in _directories(root, _TOPIC_NAME.fullmatch):
        queues = [int(queue) for queue in _directories(root / topic, _is_queue_id) if _is_queue_id(queue)]
        for queue_id in sorted(queues):
            yield os.fsencode(topic), queue_id


def _directories(path: Path, is_ours: Callable[[str], object]) -> list[str]:
    """The names of the directories in a directory, in order; nothing else there may have a name of ours."""
    found: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir():
                    found.append(entry.name)
                elif is_ours(entry.name):
                    raise StoreError(f"{entry.path} is where a directory of queues belongs: move it away")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot list {path}: {error.strerror}") from error
    return sorted(found)


def _is_queue_id(name: str) -> bool:
    """Whether a name is a queue id as it is written: RocketMQ passes over others too."""
    return name.isascii() and name.isdecimal() and str(int(name)) == name and int(name) <= _QUEUE_ID_MAX


@entry
def count_entries(entries: int, count: int, log_end: int) -> int:
    """How many entries there are before the first that cannot be one.

    The records of a queue follow each other in the log. Whatever else lies here, as garbage may that a disk gave for
    what it lost, is none of them.
    """
    behind = 0  # the record before
    for index in range(count):
        entry = entries + index * SIZE
        position = load_i64(entry + POSITION)
        size = load_i32(entry + RECORD_SIZE)
        if position < 0 or size <= 0:
            return index
        if is_message(size):
            if position < behind or position > log_end - size:
                return index
            behind = position + size
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
