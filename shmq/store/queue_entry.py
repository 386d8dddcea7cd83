"""One unit of a consume queue: where a message lies in the commit log.

    offset  size  field        meaning
    ------  ----  -----------  ----------------------------------------------------
         0     8  position     first byte of its record in the commit log
         8     4  record_size  length of that record; 0 where nothing is written
        12     8  tag_hash     Java hash of the tag, or the time of delivery
        20

Big-endian: RocketMQ's ConsumeQueue, byte for byte. Written by the dispatcher alone, read by every network
worker below the queue's published maximum, so a unit half written is seen by nobody. A unit of the size
`PRE_BLANK_SIZE` stands for offsets that the queue never had: readers skip it, and any size that is not positive.
"""

from typing import Final, NamedTuple

from shmq.jit import entry
from shmq.memory.endian import load_i32, load_i64, store_i32, store_i64
from shmq.memory.layout import layout, offset_of

LAYOUT: Final = layout(20, position=(0, ">i8"), record_size=(8, ">i4"), tag_hash=(12, ">i8"))

SIZE: Final = LAYOUT.itemsize
POSITION: Final = offset_of(LAYOUT, "position")
RECORD_SIZE: Final = offset_of(LAYOUT, "record_size")
TAG_HASH: Final = offset_of(LAYOUT, "tag_hash")

PRE_BLANK_SIZE: Final = 0x7FFF_FFFF
EXTENSION_MAX: Final = -(1 << 31) - 1
"""A tag hash up to this is none: it is where RocketMQ keeps more of an entry, in files that we do not read."""


class QueueEntry(NamedTuple):
    """A unit's three values."""

    position: int
    record_size: int
    tag_hash: int


@entry
def encode(address: int, position: int, record_size: int, tag_hash: int) -> None:
    """Write a unit; who publishes the queue's maximum does so after it."""
    store_i64(address + POSITION, position)
    store_i32(address + RECORD_SIZE, record_size)
    store_i64(address + TAG_HASH, tag_hash)


@entry
def decode(address: int) -> QueueEntry:
    """Read a unit."""
    return QueueEntry(
        load_i64(address + POSITION), load_i32(address + RECORD_SIZE), load_i64(address + TAG_HASH)
    )


@entry
def fill_pre_blank(address: int, count: int) -> None:
    """Write so many units that stand for no message."""
    for index in range(count):
        encode(address + index * SIZE, 0, PRE_BLANK_SIZE, 0)


@entry
def is_message(record_size: int) -> bool:
    """Whether a unit of this size stands for a message."""
    return 0 < record_size < PRE_BLANK_SIZE
