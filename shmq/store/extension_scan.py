"""Kernels: which entries of a queue are not wanted, by the bit maps or the tags in their extension units.

Units are read within one mapped file at a time. Nothing is written but the caller's memory. A unit that is not there,
or is none, or has no bit map of the right length, decides nothing.
"""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.endian import load_i16, load_i32, load_i64, load_native_i64, load_u8, store_u8
from shmq.memory.layout import offset_of
from shmq.store.entry_scan import is_among
from shmq.store.position import NONE
from shmq.store.queue_entry import EXTENSION_MAX, POSITION, SIZE, TAG_HASH
from shmq.store.queue_extension import BASE, HEAD_BYTES, LAYOUT

UNWANTED: Final = 0
WANTED: Final = 1
ASK: Final = 2
"""What is written of an entry; no bit map tells for certain that one is wanted."""

_TAG_CODE: Final = offset_of(LAYOUT, "tag_code")
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


class Tagged(NamedTuple):
    """What mark_tagged() is asked for.

    Attributes:
        entries, end, file, file_start, file_end, marks: as of `Marked`.
        tags: the hashes wanted, in order.
        tag_count: how many they are.
    """

    entries: int
    end: int
    file: int
    file_start: int
    file_end: int
    marks: int
    tags: int
    tag_count: int


@entry
def mark_tagged(asked: Tagged, begin: int) -> int:
    """Mark entries from one on as unwanted where their units say so; return the first whose unit is in another file."""
    index = begin
    while index < asked.end:
        address = load_i64(asked.entries + index * SIZE + TAG_HASH)
        mark = WANTED
        if address <= EXTENSION_MAX:
            offset = address - BASE
            if not asked.file_start <= offset < asked.file_end:
                break
            if asked.file != NONE and asked.file_end - offset >= HEAD_BYTES:
                unit = asked.file + offset - asked.file_start
                is_unit = load_i16(unit + _SIZE) == HEAD_BYTES + load_i16(unit + _BIT_MAP_BYTES)
                if is_unit and not is_among(asked.tags, asked.tag_count, load_i32(unit + _TAG_CODE + 4)):
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
