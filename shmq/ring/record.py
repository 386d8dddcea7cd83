"""The head of one record in a ring.

    offset  size  field       meaning
    ------  ----  ----------  -------------------------------------------------------------------
         0     4  size_bytes  of the payload that follows; PADDING: skip to the start of the data
         4     4  kind        what the payload is, a number above 0; the ring's two ends agree on it
         8     8  tag         the sender's own number for it, given back in the answer
        16

Records begin at multiples of eight. Native byte order: a ring never leaves the machine.
"""

from typing import Final

from shmq.memory.layout import layout, offset_of

LAYOUT: Final = layout(16, size_bytes=(0, "<i4"), kind=(4, "<i4"), tag=(8, "<i8"))

SIZE: Final = LAYOUT.itemsize
SIZE_BYTES: Final = offset_of(LAYOUT, "size_bytes")
KIND: Final = offset_of(LAYOUT, "kind")
TAG: Final = offset_of(LAYOUT, "tag")

PADDING: Final = -1
BROKEN: Final = -1
"""The kind that a consumer sees where the size cannot be."""
ALIGNMENT: Final = 8
