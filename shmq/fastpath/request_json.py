"""Kernels: a JSON header into a request: twin of `wire.command`, but for what it leaves to it.

What is taken means exactly what Python makes of it: of two members of one name the later counts, numbers and truth
values are the text they are written as, null is absence, blanks may stand between tokens. Left to Python are headers
that are not JSON, and forms that clients do not send: escapes in names, nested values, fractions, exponents and
numbers that are not written as Python would write them.

Fields with the one-letter names of a send, and headers whose members stand as RocketMQ's own clients sort them, have
ways of their own, which fall back upon the others. The header's end may be passed on the way, since what is looked
for may stand in the body too; it is noticed before anything is believed.
"""

from typing import Final

import numpy as np

from shmq.fastpath import request as layout
from shmq.fastpath.request import UNKNOWN, field_id_of, integer, put_field
from shmq.fastpath.request_strings import BEHIND_LANES, FAILED, read_string
from shmq.jit import kernel
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i32, load_native_i64, load_u8, store_native_i64
from shmq.memory.lanes import LANES, json_stops, lowest_bit

_QUOTE, _COMMA, _COLON, _OPEN, _CLOSE = b'",:{}'
_BLANK, _TAB, _LINE, _RETURN = b" \t\n\r"
_ZERO, _NINE, _MINUS, _PLUS, _POINT = b"09-+."
_LETTER_A, _LETTER_N = b"an"
_LETTER_E: Final = ord("e")
_INT32_MAX: Final = (1 << 31) - 1
_INT32_DIGITS_MAX: Final = 10
_DIGITS_MAX: Final = 18
_NUMBER_TEXT_BYTES_MAX: Final = 11


def _word(text: bytes) -> int:
    return int.from_bytes(text, "little")


# Texts as a load of 4 or 8 bytes gives them, and masks for those that are shorter.
_MASK_5: Final = (1 << 40) - 1
_MASK_7: Final = (1 << 56) - 1
_LETTER_MASK: Final = 0xFFFF00FF
_LETTER_NAME: Final = _word(b'"\0":')
_LETTER_TEXT_MASK: Final = 0xFFFFFF00FF
_LETTER_TEXT: Final = _word(b'"\0":"')
_TEXT_END: Final = _word(b'",')
_CODE: Final = _word(b'code"')
_FLAG: Final = _word(b'flag"')
_OPAQUE: Final = _word(b'opaque"')
_VERSION: Final = _word(b'version"')
_FIELDS: Final = _word(b"extField")
_FIELDS_END: Final = _word(b's"')
_TRUE: Final = _word(b"true")
_ALSE: Final = _word(b"alse")
_NULL: Final = _word(b"null")
_USUAL_CODE: Final = np.frombuffer(b'{"code":', dtype=np.uint8)
_USUAL_FIELDS: Final = np.frombuffer(b',"extFields":{', dtype=np.uint8)
_USUAL_FLAG: Final = np.frombuffer(b',"flag":', dtype=np.uint8)
_USUAL_OPAQUE: Final = np.frombuffer(b',"language":"JAVA","opaque":', dtype=np.uint8)
_USUAL_VERSION: Final = np.frombuffer(b',"serializeTypeCurrentRPC":"JSON","version":', dtype=np.uint8)


@kernel
def parse_json(request: int, at: int, end: int) -> int:
    """Read the header between two addresses; 1 if it could be, 0 if not."""
    return int(_parse_usual(request, at, end) or _parse_any(request, at, end))


@kernel
def _parse_any(request: int, at: int, end: int) -> bool:
    """Read a header from its beginning, whatever was read of it before."""
    store_native_i64(request + layout.ARENA_USED, 0)
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
def _parse_usual(request: int, at: int, end: int) -> bool:
    """Read a header as RocketMQ's own clients write it: members sorted, no blanks. False: it is another, or broken."""
    if not _stands(at, address_of(_USUAL_CODE), len(_USUAL_CODE)):
        return False
    at = _digits(request + layout.CODE, at + len(_USUAL_CODE))
    if at == FAILED or not _stands(at, address_of(_USUAL_FIELDS), len(_USUAL_FIELDS)):
        return False
    at = _fields(request, at + len(_USUAL_FIELDS) - 1, end)
    if at == FAILED or not _stands(at, address_of(_USUAL_FLAG), len(_USUAL_FLAG)):
        return False
    at = _digits(request + layout.FLAG, at + len(_USUAL_FLAG))
    if at == FAILED or not _stands(at, address_of(_USUAL_OPAQUE), len(_USUAL_OPAQUE)):
        return False
    at = _digits(request + layout.OPAQUE, at + len(_USUAL_OPAQUE))
    if at == FAILED or not _stands(at, address_of(_USUAL_VERSION), len(_USUAL_VERSION)):
        return False
    at = _digits(request + layout.VERSION, at + len(_USUAL_VERSION))
    return at == end - 1 and load_u8(at) == _CLOSE


@kernel
def _stands(at: int, text: int, size_bytes: int) -> bool:
    """Whether a text of at least 8 bytes stands here."""
    last = size_bytes - 8
    compared = 0
    while compared < last:
        if load_native_i64(at + compared) != load_native_i64(text + compared):
            return False
        compared += 8
    return load_native_i64(at + last) == load_native_i64(text + last)


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
        at, present = _letter_fields(request, at, end, present)
        field_id, at = _field_name(_skip_blanks(at, end), end)
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
    return at if separator == _CLOSE and at <= end else FAILED


@kernel
def _letter_fields(request: int, at: int, end: int, present: int) -> tuple[int, int]:
    """Read fields as most clients write those of a send: `"b":"text",` without a blank or an escape.

    Returns where the first other one begins, and the bits of those that are there.
    """
    word = load_native_i64(at)
    while at < end:
        letter = (word >> 8) & 0xFF
        if word & _LETTER_TEXT_MASK != _LETTER_TEXT or letter < _LETTER_A or letter > _LETTER_N:
            break
        text = at + 5
        text_bytes = lowest_bit(json_stops(text) | BEHIND_LANES)
        word = load_native_i64(text + text_bytes)
        if word & 0xFFFF != _TEXT_END:
            break
        put_field(request, letter - _LETTER_A, text, text_bytes)
        present |= 1 << (letter - _LETTER_A)
        at = text + text_bytes + 2
        word >>= 16
    return at, present


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
        return read_string(request, at + 1, end)
    size_bytes = _scalar_bytes(at)
    if size_bytes == 0:
        return 0, layout.ABSENT, FAILED
    if load_native_i32(at) == _NULL:
        return at, layout.ABSENT, at + size_bytes
    return at, size_bytes, at + size_bytes


@kernel
def _number(target: int, at: int, end: int) -> int:
    """Store a number of the header; return where it ends, or FAILED. Null is 0, and text may be a number."""
    if at == FAILED or at >= end:
        return FAILED
    if load_native_i32(at) == _NULL:
        store_native_i64(target, 0)
        return at + 4
    if load_u8(at) != _QUOTE:
        return _digits(target, at)
    at += 1
    size_bytes = min(lowest_bit(json_stops(at)), LANES)
    is_number, number = integer(at, size_bytes)
    if load_u8(at) == _PLUS or load_u8(at + size_bytes) != _QUOTE or size_bytes > _NUMBER_TEXT_BYTES_MAX:
        return FAILED
    if not is_number or number < -_INT32_MAX - 1 or number > _INT32_MAX:
        return FAILED
    store_native_i64(target, number)
    return at + size_bytes + 1


@kernel
def _digits(target: int, at: int) -> int:
    """Store a number of 32 bits that stands here in digits; return where it ends, or FAILED."""
    is_negative = load_u8(at) == _MINUS
    begin = at + 1 if is_negative else at
    at = begin
    number = 0
    digit = load_u8(at) - _ZERO
    while 0 <= digit <= 9 and at - begin < _INT32_DIGITS_MAX:
        number = 10 * number + digit
        at += 1
        digit = load_u8(at) - _ZERO
    is_padded = load_u8(begin) == _ZERO and (at - begin > 1 or is_negative)
    if at == begin or is_padded or 0 <= digit <= 9 or number > _INT32_MAX + is_negative:
        return FAILED
    store_native_i64(target, -number if is_negative else number)
    return at


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
        if byte > _BLANK or byte not in (_BLANK, _LINE, _RETURN, _TAB):
            break
        at += 1
    return at
