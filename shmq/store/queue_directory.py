"""The files of one consume queue at rest: how far they reach, and what to cut off.

Recovery uses it (retention has `queue_trim.py`, as it looks while the dispatcher writes); the dispatcher writes through `queue_files`, and forgets its mapping of a queue
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
from shmq.memory.pages import bring_in_singly
from shmq.store.data_ranges import data_ranges
from shmq.store.position import NONE
from shmq.store.queue_entry import POSITION, RECORD_SIZE, SIZE, is_message
from shmq.store.segment import Segment, Sequence, file_name, list_sequence, remove_empty_last

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
    """The files of one queue.

    Attributes:
        path: where they lie.
        touched: what was changed and not synced: files that were written, directories that lost a name.
    """

    def __init__(self, path: Path, file_bytes: int) -> None:
        self.path = path
        self.touched: set[Path] = set()
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

    def recover(
        self, log_end: int = _ANYWHERE, below: int = _ANYWHERE, sequence: Sequence | None = None
    ) -> Extent:
        """Find how far the queue reaches, and remove what lies behind its first entry that cannot be one.

        Nothing is synced: who needs that syncs what is in `touched`.

        Args:
            log_end: where the files of the log end: no record lies behind.
            below: a position of the log: entries of records at and behind it are to go.
            sequence: what lies there, where that is known.

        Raises:
            StoreError: a file is foreign, of another size, or missing in the middle.
        """
        sequence = self.sequence() if sequence is None else sequence
        remove_empty_last(sequence)
        kept = list(sequence.starts)
        extent = Extent(kept[0] // SIZE if kept else 0, 0)
        while kept:
            with closing(self._open(kept[-1], writable=True)) as segment:
                count = self._count(segment, log_end, below)
                spoiled = self._first_spoiled(kept[-_FILES_SCANNED:-1], log_end, below)
                if count > 0 and spoiled == NONE:
                    if _clear(segment, count):
                        self.touched.add(segment.path)
                    extent = self._extent(segment, kept, count)
                    break
            if spoiled == NONE:
                kept.pop()
            else:
                del kept[kept.index(spoiled) + 1 :]
        for start in reversed(sequence.starts[len(kept) :]):
            self._unlink(start)
            self.touched.add(self.path)
        return extent

    def truncate(self, position: int) -> Extent:
        """Remove the entries of records at and behind a position of the log; sync nothing."""
        return self.recover(below=position)

    def find_min(self, max_offset: int, position: int) -> int:
        """The queue offset of the first message at or behind a position of the log; max_offset without one."""
        for start in self.starts():
            first = start // SIZE
            count = min(self._entries, max_offset - first)
            with closing(self._open(start, writable=False)) as segment:
                found = find_message(segment.address, count, position)
            if found != NONE:
                return first + found
        return max_offset

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

    def _first_spoiled(self, starts: list[int], log_end: int, below: int) -> int:
        """The first of these files that is not full of entries, as all but the last must be; else NONE."""
        for start in starts:
            with closing(self._open(start, writable=False)) as segment:
                if self._count(segment, log_end, below) < self._entries:
                    return start
        return NONE

    def _count(self, segment: Segment, log_end: int, below: int) -> int:
        """How many entries a file holds that can be some."""
        # What was ever written is asked for at once; what was only reserved is not read at all.
        written_bytes = os.lseek(segment.descriptor, 0, os.SEEK_HOLE)
        os.posix_fadvise(segment.descriptor, 0, written_bytes, os.POSIX_FADV_WILLNEED)
        return count_entries(segment.address, self._entries, log_end, below)

    def _extent(self, last: Segment, starts: list[int], count: int) -> Extent:
        """How far a queue reaches whose last file holds so many entries."""
        max_offset = last.start // SIZE + count
        found = last_message(last.address, count)
        if found != NONE:
            return Extent(max_offset, _end_of(last, found))
        for start in reversed(starts[:-1]):
            with closing(self._open(start, writable=False)) as segment:
                found = last_message(segment.address, self._entries)
                if found != NONE:
                    return Extent(max_offset, _end_of(segment, found))
        return Extent(max_offset, 0)

    def _open(self, start: int, writable: bool) -> Segment:
        segment = Segment.open(self._file(start), start, self._file_bytes, writable)
        # Or the first fault brings in all that the disk's read-ahead allows: 6 MB of zeros for each queue.
        bring_in_singly(segment.address, segment.size_bytes, is_single=True)
        return segment

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
    return Path(f"{root}/{os.fsdecode(topic)}/{queue_id}")


def list_queues(root: Path, *, is_strict: bool = True) -> Iterator[tuple[bytes, int]]:
    """Topic and queue id of each directory of a queue; what could be none of ours is passed over.

    Args:
        root: the directory of all queues.
        is_strict: whether something else that lies where a directory belongs is an error, or passed over too.

    Raises:
        StoreError: a directory cannot be read, or where one belongs lies something else.
    """
    for topic in _directories(root, _TOPIC_NAME.fullmatch if is_strict else _is_never_ours):
        names = _directories(root / topic, is_queue_id if is_strict else _is_never_ours)
        queues = [int(queue) for queue in names if is_queue_id(queue)]
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


def is_queue_id(name: str) -> bool:
    """Whether a name is a queue id as it is written: RocketMQ passes over others too."""
    return name.isascii() and name.isdecimal() and str(int(name)) == name and int(name) <= _QUEUE_ID_MAX


def _is_never_ours(_name: str) -> bool:
    return False


def _clear(segment: Segment, count: int) -> bool:
    """Zero what lies behind so many entries; whether there was anything."""
    stale = list(data_ranges(segment, count * SIZE))
    for at, size_bytes in stale:
        zero(segment.address + at, size_bytes)
    return bool(stale)


def _end_of(segment: Segment, index: int) -> int:
    """Where the record of an entry ends."""
    at = segment.address + index * SIZE
    return load_i64(at + POSITION) + load_i32(at + RECORD_SIZE)


@entry
def count_entries(entries: int, count: int, log_end: int, below: int) -> int:
    """How many entries there are before the first that cannot be one, or is of a record that is not below a position.

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
            if position < behind or position >= below or position > log_end - size:
                return index
            behind = position + size
    return count


@entry
def last_message(entries: int, count: int) -> int:
    """The index of the last entry that stands for a message, or NONE."""
    for index in range(count - 1, -1, -1):
        if is_message(load_i32(entries + index * SIZE + RECORD_SIZE)):
            return index
    return NONE


@entry
def find_message(entries: int, count: int, position: int) -> int:
    """As `first_message`, by bisection, where the positions of messages rise.

    What stands for no message may lie between them: of that the next message decides.
    """
    low = 0
    high = count
    while low < high:
        middle = (low + high) // 2
        index = middle
        while index < high and not is_message(load_i32(entries + index * SIZE + RECORD_SIZE)):
            index += 1
        if index == high or load_i64(entries + index * SIZE + POSITION) >= position:
            high = middle
        else:
            low = index + 1
    while low < count and not is_message(load_i32(entries + low * SIZE + RECORD_SIZE)):
        low += 1
    return low if low < count else NONE


@entry
def first_message(entries: int, count: int, position: int) -> int:
    """The index of the first entry that stands for a message at or behind a position, or NONE."""
    for index in range(count):
        entry = entries + index * SIZE
        if is_message(load_i32(entry + RECORD_SIZE)) and load_i64(entry + POSITION) >= position:
            return index
    return NONE
