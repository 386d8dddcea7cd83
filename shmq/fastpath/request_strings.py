"""Kernels: strings of JSON into texts: as they stand, or unescaped into a request's arena.

Text is scanned 32 bytes a step, beyond the header's end where it comes to that: an end that is passed is noticed, and
no more than `request.SPARE_BYTES` behind it are ever read, or written behind what the arena holds.
"""

from typing import Final

from shmq.fastpath import request as layout
from shmq.fastpath.utf8 import character_bytes, put_character
from shmq.jit import kernel
from shmq.memory.block import copy
from shmq.memory.endian import load_native_i64, load_u8, store_native_i64, store_u8
from shmq.memory.lanes import LANES, json_stops, lowest_bit

FAILED: Final = -1
"""Instead of a position: this is Python's."""
BEHIND_LANES: Final = 1 << LANES
"""With this among the stops of 32 bytes, the lowest one is at most 32."""

_QUOTE, _BACKSLASH, _SLASH = b'"\\/'
_TAB, _LINE, _RETURN = b"\t\n\r"
_ZERO: Final = ord("0")
_LETTER_A: Final = ord("a")
_LETTER_U: Final = ord("u")
_SURROGATES: Final = 0xD800
_LOW_SURROGATES: Final = 0xDC00
_BEHIND_SURROGATES: Final = 0xE000
_MASK_5: Final = (1 << 40) - 1
_SHORT_ESCAPE: Final = int.from_bytes(b"\\u000", "little")


@kernel
def read_string(request: int, at: int, end: int) -> tuple[int, int, int]:
    """Address and size of the text of a string behind its quote, and where it ends, or FAILED."""
    begin = at
    while at < end:
        stops = json_stops(at)
        if stops == 0:
            at += LANES
            continue
        at += lowest_bit(stops)
        byte = load_u8(at)
        if byte == _QUOTE:
            return begin, at - begin, at + 1
        if byte == _BACKSLASH:
            return _unescape(request, begin, at, end)
        taken = character_bytes(at)
        if taken == 0:
            break
        at += taken
    return 0, layout.ABSENT, FAILED


@kernel
def _unescape(request: int, begin: int, at: int, end: int) -> tuple[int, int, int]:
    """As _string, for one that begins at `begin` and has its first escape at `at`: its text is made in the arena."""
    arena_used = load_native_i64(request + layout.ARENA_USED)
    text = request + layout.ARENA + arena_used
    target = text + at - begin
    copy(text, begin, at - begin)
    while at < end:
        # A window of 32 bytes: its stops are taken one after the other, and what lies between them is copied.
        stops = json_stops(at) | BEHIND_LANES
        done = 0
        while True:
            copy(target, at + done, LANES)  # too much: what comes next is written over it
            stop = lowest_bit(stops)
            target += stop - done
            done = stop
            if done >= LANES:
                break
            byte = load_u8(at + done)
            if byte == _BACKSLASH:
                written, taken = _escape(target, at + done)
            elif byte == _QUOTE:
                store_native_i64(request + layout.ARENA_USED, arena_used + target - text)
                return text, target - text, at + done + 1
            else:
                copy(target, at + done, 4)
                written = taken = character_bytes(at + done)
            if taken == 0:
                return 0, layout.ABSENT, FAILED
            target += written
            done += taken
            if done >= LANES:
                break
            stops = stops >> done << done
        at += done
    return 0, layout.ABSENT, FAILED


@kernel
def _escape(target: int, at: int) -> tuple[int, int]:
    """Write the character of an escape; return how many bytes it takes there and here; 0 here where it is none."""
    if load_native_i64(at) & _MASK_5 == _SHORT_ESCAPE:
        digit = _hex_digit(load_u8(at + 5))
        store_u8(target, digit)
        return 1, 6 if digit >= 0 else 0
    kind = load_u8(at + 1)
    if kind == _LETTER_U:
        return _unicode_escape(target, at)
    character = -1
    if kind in (_QUOTE, _BACKSLASH, _SLASH):
        character = kind
    elif kind == 0x6E:  # n
        character = _LINE
    elif kind == 0x74:  # t
        character = _TAB
    elif kind == 0x72:  # r
        character = _RETURN
    elif kind == 0x62:  # b
        character = 0x08
    elif kind == 0x66:  # f
        character = 0x0C
    store_u8(target, character)
    return 1, 2 if character >= 0 else 0


@kernel
def _unicode_escape(target: int, at: int) -> tuple[int, int]:
    point = _hex_word(at + 2)
    if point < 0 or _LOW_SURROGATES <= point < _BEHIND_SURROGATES:
        return 0, 0
    if point < _SURROGATES or point >= _BEHIND_SURROGATES:
        return put_character(target, point), 6
    if load_u8(at + 6) != _BACKSLASH or load_u8(at + 7) != _LETTER_U:
        return 0, 0
    low = _hex_word(at + 8)
    if low < _LOW_SURROGATES or low >= _BEHIND_SURROGATES:
        return 0, 0
    return put_character(target, 0x10000 + ((point - _SURROGATES) << 10) + low - _LOW_SURROGATES), 12


@kernel
def _hex_word(at: int) -> int:
    """The number that four hexadecimal digits are; negative where one is none."""
    high = _hex_digit(load_u8(at)) << 12 | _hex_digit(load_u8(at + 1)) << 8
    return high | _hex_digit(load_u8(at + 2)) << 4 | _hex_digit(load_u8(at + 3))


@kernel
def _hex_digit(byte: int) -> int:
    digit = byte - _ZERO
    if 0 <= digit <= 9:
        return digit
    digit = (byte | 0x20) - _LETTER_A + 10
    return digit if 10 <= digit <= 15 else -1
