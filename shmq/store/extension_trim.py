"""What trimming a queue leaves of its extension: the files before the first unit that an entry still leads to.

The newest file stays always: the dispatcher may be writing to it. Where the first entries have no units, as those that
were made while queues had no extensions, the entries of one queue file are looked at, and where none of them leads to
a unit and more files follow, everything stays until they are gone as well.
"""

import itertools
from pathlib import Path

from shmq.store.extension_files import first_address
from shmq.store.position import NONE
from shmq.store.queue_entry import SIZE
from shmq.store.queue_extension import BASE
from shmq.store.segment import file_name, named_starts


def trim_extension(
    folder: Path, queue_folder: Path, queue_file_bytes: int, min_offset: int, max_offset: int
) -> tuple[Path, ...]:
    """Find the files of a queue's extension that nothing leads to any more, the oldest first.

    Args:
        folder: the extension's; it need not exist.
        queue_folder: the queue's.
        queue_file_bytes: the size of the queue's files.
        min_offset: the queue's, as it is shown from now on.
        max_offset: the queue's, read before.

    Raises:
        OSError: the queue's file cannot be read.
    """
    starts = named_starts(folder)
    if len(starts) < 2:  # the newest one stays
        return ()
    entries = queue_file_bytes // SIZE
    first = min_offset // entries * entries
    end = min(max_offset, first + entries)
    found = NONE
    if min_offset < end:
        path = queue_folder / file_name(first * SIZE)
        found = first_address(path, min_offset - first, end - first)
    if found == NONE and end < max_offset:
        return ()
    pairs = itertools.pairwise(starts)
    return tuple(
        folder / file_name(start) for start, behind in pairs if found == NONE or behind <= found - BASE
    )
