"""A sender as the commit writer knows it: its two rings and how long they are, its bell.

    offset  size  field              meaning
    ------  ----  -----------------  ----------------------------------------------------------------
         0     8  index              its number
         8     8  ring               address of its submit ring
        16     8  ring_bytes         capacity of that ring
        24     8  completions        address of its completion ring
        32     8  completions_bytes  capacity of that ring
        40     8  bell               address of its bell
        48     8  is_stranger        1 where it is no process of the broker: it sleeps by futex, whatever its bell says
        56     8  is_broken          1 once something was in its ring that cannot be
        64     8  is_stuck           1 while it has no room for answers: what it submitted waits
        72     8  has_answers        1 where it is to be woken at the end of the round
        80

The writer's own memory. The capacities are those with which the broker made the rings: what the rings themselves
say is in memory that the sender can write.
"""

from typing import Final

from shmq.memory.layout import layout, offset_of

LAYOUT: Final = layout(
    80,
    index=(0, "<i8"),
    ring=(8, "<i8"),
    ring_bytes=(16, "<i8"),
    completions=(24, "<i8"),
    completions_bytes=(32, "<i8"),
    bell=(40, "<i8"),
    is_stranger=(48, "<i8"),
    is_broken=(56, "<i8"),
    is_stuck=(64, "<i8"),
    has_answers=(72, "<i8"),
)
SIZE: Final = LAYOUT.itemsize
INDEX: Final = offset_of(LAYOUT, "index")
RING: Final = offset_of(LAYOUT, "ring")
RING_BYTES: Final = offset_of(LAYOUT, "ring_bytes")
COMPLETIONS: Final = offset_of(LAYOUT, "completions")
COMPLETIONS_BYTES: Final = offset_of(LAYOUT, "completions_bytes")
BELL: Final = offset_of(LAYOUT, "bell")
IS_STRANGER: Final = offset_of(LAYOUT, "is_stranger")
IS_BROKEN: Final = offset_of(LAYOUT, "is_broken")
IS_STUCK: Final = offset_of(LAYOUT, "is_stuck")
HAS_ANSWERS: Final = offset_of(LAYOUT, "has_answers")
