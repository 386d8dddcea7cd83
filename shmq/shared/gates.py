"""Layout: why messages are not taken at the moment, and how often files of the store were let go.

    offset  field      meaning                                                           written by
    ------  ---------  ----------------------------------------------------------------  ----------
         0  disk_full  1 while a disk is too full for messages to be taken               conductor
       128  cleanups   counts what went: who has files mapped then looks which are gone  conductor
       256

Each word is on a line of its own. The commit writer looks at all words that close it in every round, so they lie
together, each with one writer: another reason to refuse messages is another word here and in `closed`. After a crash of
their writer they stand as they were, and its successor goes on from there.
"""

from typing import Final

from shmq.jit import entry
from shmq.memory.atomics import load_acquire
from shmq.memory.layout import LINE_BYTES, layout, offset_of

LAYOUT: Final = layout(2 * LINE_BYTES, disk_full=(0, "<i8"), cleanups=(128, "<i8"))

SIZE: Final = LAYOUT.itemsize
DISK_FULL: Final = offset_of(LAYOUT, "disk_full")
CLEANUPS: Final = offset_of(LAYOUT, "cleanups")


@entry
def closed(gates: int) -> int:
    """Whether messages are refused: 0, or the reasons as bits, the first for a full disk."""
    return load_acquire(gates + DISK_FULL)  # pairs with the conductor's release
