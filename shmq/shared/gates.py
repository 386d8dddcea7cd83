"""Layout: why messages are not taken at the moment, and how often what others have taken over has changed.

    offset  field        meaning                                                            written by
    ------  -----------  -----------------------------------------------------------------  ------------
         0  disk_full    1 while a disk is too full for messages to be taken                conductor
         8  sync_failed  1 once the log could not be synced: until the store was recovered  flush thread
        16  pool_stuck   1 while what lies in the transient pool cannot be written          pool thread
       128  cleanups     counts what went: who has files mapped then looks which are gone   conductor
       136  filters      counts changes of the table of expressions; 0: no bit maps yet     conductor
       144  published    the count for which the dispatcher finds that table in its file    conductor
       256

The commit writer looks at all words that close the log in every round, so they lie together, on a line that is hardly
ever written to; each has one writer. Another reason to refuse messages is another word here and in `closed`. After a
crash of their writer they stand as they were, and its successor goes on from there.
"""

from enum import IntFlag
from typing import Final

from shmq.jit import entry
from shmq.memory.atomics import full_fence, load_acquire, load_relaxed, store_release
from shmq.memory.layout import LINE_BYTES, layout, offset_of

LAYOUT: Final = layout(
    2 * LINE_BYTES,
    disk_full=(0, "<i8"),
    sync_failed=(8, "<i8"),
    pool_stuck=(16, "<i8"),
    cleanups=(128, "<i8"),
    filters=(136, "<i8"),
    published=(144, "<i8"),
)

SIZE: Final = LAYOUT.itemsize
DISK_FULL: Final = offset_of(LAYOUT, "disk_full")
SYNC_FAILED: Final = offset_of(LAYOUT, "sync_failed")
POOL_STUCK: Final = offset_of(LAYOUT, "pool_stuck")
CLEANUPS: Final = offset_of(LAYOUT, "cleanups")
FILTERS: Final = offset_of(LAYOUT, "filters")
PUBLISHED: Final = offset_of(LAYOUT, "published")


class Closed(IntFlag):
    """Why messages are refused, as `closed` says it."""

    DISK_FULL = 1
    SYNC_FAILED = 2
    POOL_STUCK = 4


@entry
def closed(gates: int) -> int:
    """Whether messages are refused: 0, or the reasons, see `Closed`."""
    disk_full = load_acquire(gates + DISK_FULL)  # each pairs with the release of the word's writer
    sync_failed = load_acquire(gates + SYNC_FAILED)
    pool_stuck = load_acquire(gates + POOL_STUCK)
    return disk_full | (sync_failed << 1) | (pool_stuck << 2)


@entry
def raise_filters(gates: int, position: int) -> int:
    """Count a change of the table of expressions, then read a watermark, at an address; return what that says.

    Who sees the watermark further than that also sees the change: he reads it first, then the count.
    """
    store_release(gates + FILTERS, load_relaxed(gates + FILTERS) + 1)
    full_fence()
    return load_acquire(position)
