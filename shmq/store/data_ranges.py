"""What of a file holds anything but zeros, without reading what the filesystem knows to be a hole.

Files are made at their full size and filled by and by, so most of one is a hole, or blocks that were reserved and never
written. To look for stale bytes in it must not cost as much as it is long.
"""

import errno
import os
from collections.abc import Iterator

from shmq.jit import entry
from shmq.memory.endian import load_native_i64, load_u8
from shmq.memory.pages import bring_in_singly
from shmq.store.segment import Segment


def data_ranges(segment: Segment, offset_bytes: int) -> Iterator[tuple[int, int]]:
    """Offset and size of the ranges from an offset on that hold anything but zeros."""
    # What is read ahead of a fault would count as data, and so be looked at, and bring in more.
    bring_in_singly(segment.address, segment.size_bytes, is_single=True)
    while offset_bytes < segment.size_bytes:
        try:
            begin = os.lseek(segment.descriptor, offset_bytes, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return
        end = min(os.lseek(segment.descriptor, begin, os.SEEK_HOLE), segment.size_bytes)
        used_bytes = count_used(segment.address + begin, end - begin)
        if used_bytes > 0:
            yield begin, used_bytes
        offset_bytes = end


@entry
def count_used(address: int, size_bytes: int) -> int:
    """How many bytes there are up to the last word that is not zero."""
    while size_bytes >= 8 and load_native_i64(address + size_bytes - 8) == 0:
        size_bytes -= 8
    while 0 < size_bytes < 8 and load_u8(address + size_bytes - 1) == 0:
        size_bytes -= 1
    return size_bytes
