"""The head of a ring: its cursors, each on a line of its own, and what its creator fixed.

    offset  size  field            meaning
    ------  ----  ---------------  ------------------------------------------------------------
         0     8  produced         bytes ever published; the producer's
         8     8  consumed_seen    the consumer's cursor when the producer last looked
       128     8  consumed         bytes ever given back; the consumer's
       256     8  capacity_bytes   length of the data that follows, a power of two; the creator's
       384

Cursors count bytes since the ring's birth and only grow; a byte lies at its count modulo the capacity.
A new ring is all zeros but for its capacity. Written by one producer and one consumer; a crash of either
leaves what was published published, and what was not given back to be read again.
"""

from typing import Final

from shmq.memory.layout import layout, offset_of

LAYOUT: Final = layout(
    384, produced=(0, "<i8"), consumed_seen=(8, "<i8"), consumed=(128, "<i8"), capacity_bytes=(256, "<i8")
)

SIZE: Final = LAYOUT.itemsize
PRODUCED: Final = offset_of(LAYOUT, "produced")
CONSUMED_SEEN: Final = offset_of(LAYOUT, "consumed_seen")
CONSUMED: Final = offset_of(LAYOUT, "consumed")
CAPACITY: Final = offset_of(LAYOUT, "capacity_bytes")
