"""Kernel: which entries of a queue need not be asked, by the bit maps of their extension units.

Units are read within one mapped file at a time. Nothing is written but the caller's memory. A unit that is not there,
or is none, or has no bit map of the right length, decides nothing.
"""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.endian import load_i16, load_i64, load_native_i64, load_u8, store_u8
from shmq.memory.layout import offset_of
from shmq.store.position import NONE
from shmq.store.queue_entry import EXTENSION_MAX, POSITION, SIZE, TAG_HASH
from shmq.store.queue_extension import BASE, HEAD_BYTES, LAYOUT

UNWANTED: Final = 0
ASK: Final = 2
"""What is written of an entry; 1 would be a wanted one, which no bit map tells for certain."""

_SIZE: Final = offset_of(LAYOUT, "size")
_BIT_MAP_BYTES: Final = offset_of(LAYOUT, "bit_map_bytes")


class Marked(NamedTuple):
    """What mark_unwanted() is asked for.

    Attributes:
        entries: where the first entry is mapped.
        end: how many entries there are.
        live_from: bit maps of records before this position of the log say nothing.
        file: where a file of the extension is mapped; NONE: its units cannot be read.
        file_start, file_end: the range of the extension that it holds.
        bits: the positions in a bit map that must all be set, a word each.
        bit_count: how many they are.
        bit_map_bytes: the length of a bit map.
        marks: where a byte for each entry is written.
    """

    entries: int
    end: int
    live_from: int
    file: int
    file_start: int
    file_end: int
    bits: int
    bit_count: int
    bit_map_bytes: int
    marks: int


@entry
def mark_unwanted(asked: Marked, begin: int) -> int:
    """Mark entries from one on as unwanted or to be asked; return the first whose unit is in another file."""
    index = begin
    while index < asked.end:
        at = asked.entries + index * SIZE
        address = load_i64(at + TAG_HASH)
        mark = ASK
        if address <= EXTENSION_MAX and load_i64(at + POSITION) >= asked.live_from:
            offset = address - BASE
            if not asked.file_start <= offset < asked.file_end:
                break
            if asked.file != NONE and _is_no(asked, offset):
                mark = UNWANTED
        store_u8(asked.marks + index, mark)
        index += 1
    return index


@kernel
def _is_no(asked: Marked, offset: int) -> bool:
    """Whether the unit at an offset has a bit map in which not all bits are set."""
    unit_bytes = HEAD_BYTES + asked.bit_map_bytes
    if asked.file_end - offset < unit_bytes:
        return False
    unit = asked.file + offset - asked.file_start
    if load_i16(unit + _SIZE) != unit_bytes or load_i16(unit + _BIT_MAP_BYTES) != asked.bit_map_bytes:
        return False
    for number in range(asked.bit_count):
        bit = load_native_i64(asked.bits + 8 * number)
        if (load_u8(unit + HEAD_BYTES + bit // 8) >> (bit % 8)) & 1 == 0:
            return True
    return False
