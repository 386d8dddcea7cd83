"""What trimming the log leaves of a queue: the offset of its first message, and the files before that.

A queue is looked at while the dispatcher writes at its end. Whoever asks reads the queue's `max` first: every entry
below it is in a file by then. The newest file stays always, and so the queue's offset, when its last message is gone;
so does a file whose entries have not all been published. Nothing is written here. Readers are to be told of the new
`min` before the files go, or they would look for entries that are not there.
"""

import os
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from shmq.jit import entry
from shmq.memory.endian import load_i32, load_i64
from shmq.store.position import NONE
from shmq.store.queue_entry import POSITION, RECORD_SIZE, SIZE, is_message
from shmq.store.segment import NAME_DIGITS, Segment, file_name


class QueueTrim(NamedTuple):
    """What is left of a queue.

    Attributes:
        min_offset: the offset of its first message that is still in the log; its max offset without one.
        removable: the files before that one's, the oldest first.
    """

    min_offset: int
    removable: tuple[Path, ...]


def trim_queue(folder: Path, file_bytes: int, max_offset: int, position: int) -> QueueTrim:
    """Find what is left of a queue whose log begins at a position.

    Args:
        folder: the queue's; it need not exist.
        file_bytes: the size of its files.
        max_offset: the queue's, read before.
        position: where the log begins.

    Raises:
        StoreError: a file cannot be opened, or has another size.
    """
    starts = _starts(folder)
    removable: list[Path] = []
    for start in starts:
        first = start // SIZE
        count = min(file_bytes // SIZE, max_offset - first)
        path = folder / file_name(start)
        with closing(Segment.open(path, start, file_bytes, writable=False)) as segment:
            found = first_from(segment.address, count, position)
        if found != NONE:
            return QueueTrim(first + found, tuple(removable))
        if start == starts[-1] or count < file_bytes // SIZE:
            break
        removable.append(path)
    return QueueTrim(max_offset, tuple(removable))


@entry
def first_from(entries: int, count: int, position: int) -> int:
    """The index of the first entry that stands for a message at or behind a position of the log, or NONE.

    Positions rise, with blanks between them: of a blank the next message decides.
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


def _starts(folder: Path) -> list[int]:
    """Where the files begin, in order; what has no such name is none of ours."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - there are many queues: a name costs less than a path
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if len(name) == NAME_DIGITS and name.isdecimal())
