"""What trimming the log leaves of a queue: the offset of its first message, and the files before that.

A queue is looked at while the dispatcher writes at its end. Whoever asks reads the queue's `max` first: every entry
below it is in a file by then. The newest file stays always, and so the queue's offset, when its last message is gone;
so does a file whose entries have not all been published. Nothing is written here. Readers are to be told of the new
`min` before the files go, or they would look for entries that are not there.
"""

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from shmq.memory.pages import bring_in_singly
from shmq.store.position import NONE
from shmq.store.queue_directory import find_message
from shmq.store.queue_entry import SIZE
from shmq.store.segment import Segment, file_name, named_starts


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
    starts = named_starts(folder)
    removable: list[Path] = []
    for start in starts:
        first = start // SIZE
        count = min(file_bytes // SIZE, max_offset - first)
        path = folder / file_name(start)
        with closing(Segment.open(path, start, file_bytes, writable=False)) as segment:
            # A look touches a few pages: the disk's read-ahead would bring in the whole file of each queue.
            bring_in_singly(segment.address, segment.size_bytes, is_single=True)
            found = find_message(segment.address, count, position)
        if found != NONE:
            return QueueTrim(first + found, tuple(removable))
        if start == starts[-1] or count < file_bytes // SIZE:
            break
        removable.append(path)
    return QueueTrim(max_offset, tuple(removable))
