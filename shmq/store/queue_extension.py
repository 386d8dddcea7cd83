"""One unit of a queue's extension: what RocketMQ keeps of a message beside its queue entry (ConsumeQueueExt).

    offset  size  field           meaning
    ------  ----  --------------  -------------------------------------------------------------
         0     2  size            length of the unit; -1: the rest of this file is empty
         2     8  tag_code        what the entry holds without an extension
        10     8  store_ms        when the message was stored
        18     2  bit_map_bytes   length of the bit map behind it; 0: there is none
        20

Big-endian: RocketMQ's, byte for byte. A queue entry leads to its unit by an address in its last field: where the unit
lies in the queue's extension files, which are one sequence, plus the smallest 64-bit number. No hash of a tag and no
time is that small.

Written by the dispatcher before the entry is published, read by network workers through entries only. It is weakly
reliable, as in RocketMQ: a unit may be missing, and then its message itself must be asked. So an offset that any entry
leads to is never given to another unit.
"""

import struct
from typing import Final, NamedTuple

from shmq.memory.layout import layout

LAYOUT: Final = layout(
    20, size=(0, ">i2"), tag_code=(2, ">i8"), store_ms=(10, ">i8"), bit_map_bytes=(18, ">i2")
)

HEAD_BYTES: Final = LAYOUT.itemsize
UNIT_BYTES_MAX: Final = 0x7FFF
FILE_END: Final = struct.pack(">h", -1)
FILE_END_BYTES: Final = 4
"""So much is kept free in each file for the mark that ends it."""
BASE: Final = -(1 << 63)
"""The address of the first unit."""
OFFSET_MAX: Final = (1 << 63) - (1 << 31) - 1
"""No unit reaches further: an address beyond could be the hash of a tag."""

_HEAD: Final = struct.Struct(">hqqh")


class Unit(NamedTuple):
    """What a unit says.

    Attributes:
        size: its length.
        tag_code: the tag's hash, or the time of delivery.
        store_ms: when the message was stored.
        bit_map: a bit for each hash of the expressions that the message matches; empty where none was made.
    """

    size: int
    tag_code: int
    store_ms: int
    bit_map: bytes


def encode_unit(tag_code: int, store_ms: int, bit_map: bytes) -> bytes:
    """Return a unit; one without a bit map where that is empty."""
    return _HEAD.pack(HEAD_BYTES + len(bit_map), tag_code, store_ms, len(bit_map)) + bit_map


def decode_unit(found: bytes) -> Unit | None:
    """Return the unit with which these bytes begin; None where they begin with none that is whole."""
    if len(found) < HEAD_BYTES:
        return None
    size, tag_code, store_ms, bit_map_bytes = _HEAD.unpack_from(found)
    if bit_map_bytes < 0 or size != HEAD_BYTES + bit_map_bytes or size > len(found):
        return None
    return Unit(size, tag_code, store_ms, found[HEAD_BYTES:size])
