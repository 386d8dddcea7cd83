"""Kernels: a JSON header into a request: twin of `wire.command`, but for what it leaves to it.

What is taken means exactly what Python makes of it: of two members of one name the later counts, numbers and truth
values are the text they are written as, null is absence, blanks may stand between tokens. Left to Python are headers
that are not JSON, and forms that clients do not send: escapes in names, nested values, fractions, exponents and
numbers that are not written as Python would write them.

A text without escapes stays where it is; one with escapes is written into the request's arena. Text is scanned 32
bytes a step, beyond the header's end where it comes to that: an end that is passed is noticed, and no more than
`request.SPARE_BYTES` behind it are ever read.
"""

from typing import Final

from shmq.fastpath import request as layout
from shmq.fastpath.request import UNKNOWN, field_id_of, integer, put_field
from shmq.fastpath.utf8 import character_bytes, put_character
from shmq.jit import kernel
from shmq.memory.block import copy
from shmq.memory.endian import load_native_i32, load_native_i64, load_u8, store_native_i64, store_u8
from shmq.memory.lanes import LANES, json_stops, lowest_bit

FAILED: Final = -1
"""Instead of a position: this header is Python's."""

_QUOTE, _BACKSLASH, _SLASH, _COMMA, _COLON, _OPEN, _CLOSE = b'"\\/,:{}'
_BLANK, _TAB, _LINE, _RETURN = b" \t\n\r"
_ZERO, _NINE, _MINUS, _PLUS, _POINT = b"09-+."
_LETTER_A, _LETTER_N = b"an"
_LETTER_E: Final = ord("e")
_LETTER_U: Final = ord("u")
_INT32_MAX: Final = (1 << 31) - 1
_DIGITS_MAX: Final = 18
_NUMBER_TEXT_BYTES_MAX: Final = 11
_SURROGATES: Final = 0xD800
_LOW_SURROGATES: Final = 0xDC00
_BEHIND_SURROGATES: Final = 0xE000


def _word(text: bytes) -> int:
    return int.from_bytes(text, "little")


# Texts as a load of 4 or 8 bytes gives them, and masks for those that are shorter.
_MASK_5: Final = (1 << 40) - 1
_MASK_7: Final = (1 << 56) - 1
_LETTER_MASK: Final = 0xFFFF00FF
_LETTER_NAME: Final = _word(b'"\0":')
_CODE: Final = _word(b'code"')
_FLAG: Final = _word(b'flag"')
_OPAQUE: Final = _word(b'opaque"')
_VERSION: Final = _word(b'version"')
_FIELDS: Final = _word(b"extField")
_FIELDS_END: Final = _word(b's"')
_TRUE: Final = _word(b"true")
_ALSE: Final = _word(b"alse")
_NULL: Final = _word(b"null")
_SHORT_ESCAPE: Final = _word(b"\\u000")


@kernel
def parse_json(request: int, at: int, end: int) -> bool:
    """Read the header between two addresses; whether it could be."""
    at = _skip_blanks(at, end)
    if load_u8(at) != _OPEN:
        return False
    at = _skip_blanks(at + 1, end)
    if load_u8(at) == _CLOSE:
        return _skip_blanks(at + 1, end) == end
    while at < end:
        at = _member(request, at, end)
        if at == FAILED:
            return False
        at = _skip_blanks(at, end)
        separator = load_u8(at)
        at = _skip_blanks(at + 1, end)
        if separator == _CLOSE:
            return at == end
        if separator != _COMMA:
            return False
    return False


@kernel
def _member(request: int, at: int, end: int) -> int:
    """Read a member of the header whose name begins here; return where it ends, or FAILED."""
    if load_u8(at) != _QUOTE:
        return FAILED
    word = load_native_i64(at + 1)
    target = FAILED
    name_bytes = 0
    if word & _MASK_5 == _CODE:
        target = layout.CODE
        name_bytes = 6
    elif word & _MASK_5 == _FLAG:
        target = layout.FLAG
        name_bytes = 6
    elif word & _MASK_7 == _OPAQUE:
        target = layout.OPAQUE
        name_bytes = 8
    elif word == _VERSION:
        target = layout.VERSION
        name_bytes = 9
    if target != FAILED:
        return _number(request + target, _skip_colon(at + name_bytes, end), end)
    if word == _FIELDS and load_native_i32(at + 9) & 0xFFFF == _FIELDS_END:
        return _fields(request, _skip_colon(at + 11, end), end)
    # The language, the remark, how the header is written: nothing that a request's meaning depends on.
    at = _skip_name(at, end)
    if at == FAILED:
        return FAILED
    _, _, at = _value(request, _skip_colon(at, end), end)
    return at


@kernel
def _fields(request: int, at: int, end: int) -> int:
    """Read the fields in place of those read before; return where they end, or FAILED."""
    present = 0
    if at == FAILED or at >= end:
        return FAILED
    if load_u8(at) != _OPEN:
        store_native_i64(request + layout.PRESENT, 0)
        return at + 4 if load_native_i32(at) == _NULL else FAILED
    at = _skip_blanks(at + 1, end)
    separator = load_u8(at)
    if separator == _CLOSE:
        at += 1
    while separator != _CLOSE and at < end:
        field_id, at = _field_name(at, end)
        text, text_bytes, at = _value(request, at, end)
        if at == FAILED:
            return FAILED
        if field_id != UNKNOWN and text_bytes >= 0:
            put_field(request, field_id, text, text_bytes)
            present |= 1 << field_id
        elif field_id != UNKNOWN:
            present &= ~(1 << field_id)
        at = _skip_blanks(at, end)
        separator = load_u8(at)
        if separator not in (_COMMA, _CLOSE):
            return FAILED
        at += 1
        if separator == _COMMA:
            at = _skip_blanks(at, end)
    store_native_i64(request + layout.PRESENT, present)
    return at if separator == _CLOSE else FAILED


@kernel
def _field_name(at: int, end: int) -> tuple[int, int]:
    """The id of the field whose name begins here, and where its value begins, or FAILED."""
    word = load_native_i32(at)
    letter = (word >> 8) & 0xFF
    if word & _LETTER_MASK == _LETTER_NAME and _LETTER_A <= letter <= _LETTER_N:
        return letter - _LETTER_A, _skip_blanks(at + 4, end)
    name = at + 1
    at = _skip_name(at, end)
    if at == FAILED:
        return UNKNOWN, FAILED
    return field_id_of(name, at - 1 - name), _skip_colon(at, end)


@kernel
def _value(request: int, at: int, end: int) -> tuple[int, int, int]:
    """Address and size of the text of the value here, ABSENT for null, and where it ends, or FAILED."""
    if at == FAILED or at >= end:
        return 0, layout.ABSENT, FAILED
    if load_u8(at) == _QUOTE:
        return _string(request, at + 1, end)
    size_bytes = _scalar_bytes(at)
    if size_bytes == 0:
        return 0, layout.ABSENT, FAILED
    if load_native_i32(at) == _NULL:
        return at, layout.ABSENT, at + size_bytes
    return at, size_bytes, at + size_bytes


@kernel
def _string(request: int, at: int, end: int) -> tuple[int, int, int]:
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
        byte = load_u8(at)
        if byte == _BACKSLASH:
            written, taken = _escape(target, at)
        elif byte == _QUOTE:
            store_native_i64(request + layout.ARENA_USED, arena_used + target - text)
            return text, target - text, at + 1
        elif 0x20 <= byte < 0x80:
            copy(target, at, LANES)  # too much, perhaps: what comes next is written over it
            written = taken = min(lowest_bit(json_stops(at)), LANES)
        else:
            copy(target, at, 4)
            written = taken = character_bytes(at)
        if taken == 0:
            break
        target += written
        at += taken
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


@kernel
def _number(target: int, at: int, end: int) -> int:
    """Store a number of the header; return where it ends, or FAILED. Null is 0, and text may be a number."""
    if at == FAILED or at >= end:
        return FAILED
    is_text = load_u8(at) == _QUOTE
    if is_text:
        at += 1
        size_bytes = min(lowest_bit(json_stops(at)), LANES)
        if load_u8(at) == _PLUS or load_u8(at + size_bytes) != _QUOTE or size_bytes > _NUMBER_TEXT_BYTES_MAX:
            return FAILED
    else:
        size_bytes = _scalar_bytes(at)
    is_number, number = integer(at, size_bytes)
    if not is_text and load_native_i32(at) == _NULL:
        is_number = True
    if not is_number or number < -_INT32_MAX - 1 or number > _INT32_MAX:
        return FAILED
    store_native_i64(target, number)
    return at + size_bytes + 1 if is_text else at + size_bytes


@kernel
def _scalar_bytes(at: int) -> int:
    """How long the number, truth value or null is that begins here; 0 where none does that may be taken as text."""
    first = load_u8(at)
    if first > _NINE:
        if load_native_i32(at) == _TRUE or load_native_i32(at) == _NULL:
            return 4
        return 5 if load_native_i32(at + 1) == _ALSE and first == 0x66 else 0
    digits = at + 1 if first == _MINUS else at
    end = digits
    while _ZERO <= load_u8(end) <= _NINE and end - digits <= _DIGITS_MAX:
        end += 1
    follower = load_u8(end)
    if end == digits or end - digits > _DIGITS_MAX or follower == _POINT or follower | 0x20 == _LETTER_E:
        return 0
    if load_u8(digits) == _ZERO and (end - digits > 1 or first == _MINUS):
        return 0
    return end - at


@kernel
def _skip_name(at: int, end: int) -> int:
    """Where the name ends that begins here with its quote; FAILED unless all of it is plain."""
    if load_u8(at) != _QUOTE:
        return FAILED
    at += 1
    while at < end:
        stops = json_stops(at)
        if stops != 0:
            at += lowest_bit(stops)
            return at + 1 if load_u8(at) == _QUOTE else FAILED
        at += LANES
    return FAILED


@kernel
def _skip_colon(at: int, end: int) -> int:
    """Where the value begins whose name ends here, or FAILED."""
    if load_u8(at) != _COLON:
        at = _skip_blanks(at, end)
        if load_u8(at) != _COLON:
            return FAILED
    return _skip_blanks(at + 1, end)


@kernel
def _skip_blanks(at: int, end: int) -> int:
    """The first byte from here on that is no blank; not behind the end."""
    while at < end:
        byte = load_u8(at)
        if byte not in (_BLANK, _LINE, _RETURN, _TAB):
            break
        at += 1
    return at
