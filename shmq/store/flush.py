"""Make a range of the log durable: sync it in each file that it touches, oldest first.

Only the flush thread moves `flushed`, to the end of a range once this has returned. A failed sync is final: the
system may have dropped the very pages it could not write, and a second sync would then succeed over a hole. So the
error stops the writer, and what lies above `flushed` was never promised.
"""

from collections.abc import Iterable

from shmq.errors import StoreError
from shmq.store.segment import Segment


def flush_range(segments: Iterable[Segment], begin: int, end: int) -> None:
    """Sync what of the range [begin, end) lies in these segments, which are in order.

    Raises:
        StoreError: the disk refused; nothing from `begin` on may be taken for durable.
    """
    for segment in segments:
        if segment.start < end and begin < segment.end:
            first, last = max(begin, segment.start), min(end, segment.end)
            try:
                segment.sync(first - segment.start, last - first)
            except OSError as error:
                raise StoreError(f"cannot sync {segment.path}: {error.strerror}") from error
