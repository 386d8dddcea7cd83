"""Kernels: UTF-8, as strictly as JSON has it: no longer form than needed, no surrogate, nothing above U+10FFFF."""

from typing import Final

from shmq.jit import kernel
from shmq.memory.endian import load_u8, store_u8
from shmq.memory.lanes import LANES, bytes_up_to, lowest_bit

_ALL_LANES: Final = (1 << LANES) - 1


@kernel
def character_bytes(address: int) -> int:
    """How many bytes the character that is not ASCII takes that begins here; 0 where none does.

    Up to four bytes are read, the last ones perhaps not the text's own.
    """
    first = load_u8(address)
    second = load_u8(address + 1)
    if second & 0xC0 != 0x80 or first < 0xC2 or first > 0xF4:
        return 0
    if first < 0xE0:
        return 2
    if load_u8(address + 2) & 0xC0 != 0x80:
        return 0
    if first < 0xF0:
        is_bad = (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F)
        return 0 if is_bad else 3
    if load_u8(address + 3) & 0xC0 != 0x80:
        return 0
    return 0 if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F) else 4


@kernel
def is_valid(text: int, text_bytes: int) -> bool:
    """Whether a text is UTF-8; spare bytes behind it are read."""
    at = text
    end = text + text_bytes
    while at < end:
        plain = min(lowest_bit(bytes_up_to(at, 0x7F) ^ _ALL_LANES), LANES)
        if plain > 0:
            at += plain
            continue
        taken = character_bytes(at)
        if taken == 0 or at + taken > end:
            return False
        at += taken
    return True


@kernel
def put_character(at: int, point: int) -> int:
    """Write a code point that is no surrogate; return how many bytes it takes."""
    if point < 0x80:
        store_u8(at, point)
        return 1
    if point < 0x800:
        store_u8(at, 0xC0 | point >> 6)
        store_u8(at + 1, 0x80 | point & 0x3F)
        return 2
    if point < 0x10000:
        store_u8(at, 0xE0 | point >> 12)
        store_u8(at + 1, 0x80 | (point >> 6) & 0x3F)
        store_u8(at + 2, 0x80 | point & 0x3F)
        return 3
    store_u8(at, 0xF0 | point >> 18)
    store_u8(at + 1, 0x80 | (point >> 12) & 0x3F)
    store_u8(at + 2, 0x80 | (point >> 6) & 0x3F)
    store_u8(at + 3, 0x80 | point & 0x3F)
    return 4
