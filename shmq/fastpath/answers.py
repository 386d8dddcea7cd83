"""Kernels: the head of an answer's frame, in both encodings: twin of `wire.command.encode_head`, byte for byte.

`begin` and `finish` stand around the fields. JSON wants them sorted by name, the binary header in the order of the
header's class, so whoever writes an answer has an order for each. A text is UTF-8 that JSON need not escape
(`is_plain` tells), as are all names. Who writes makes room before: `ROOM_BYTES`, the remark, and for each field
`FIELD_ROOM_BYTES`, its name and its text.
"""

from typing import Final, NamedTuple

import numpy as np

from shmq.fastpath.digits import put_decimal
from shmq.fastpath.request import BINARY
from shmq.jit import kernel
from shmq.memory.block import address_of, copy
from shmq.memory.endian import load_u8, store_i16, store_i32, store_u8
from shmq.wire.codes import VERSION

ROOM_BYTES: Final = 192
FIELD_ROOM_BYTES: Final = 32


class Answer(NamedTuple):
    """What the head of an answer says beside its fields.

    Attributes:
        encoding: how it is written, as its question was.
        code: the response code.
        opaque: the question's.
        remark: where its text lies.
        remark_bytes: its length; 0 for none.
        has_fields: whether any follow.
    """

    encoding: int
    code: int
    opaque: int
    remark: int
    remark_bytes: int
    has_fields: bool


_PREFIX_BYTES: Final = 8
_FIXED_BYTES: Final = 13  # of a binary header, before its remark
_FLAG_RESPONSE: Final = 1
_QUOTE, _BACKSLASH, _CLOSE = b'"\\}'
_CODE: Final = np.frombuffer(b'{"code":', dtype=np.uint8)
_FIELDS: Final = np.frombuffer(b',"extFields":{', dtype=np.uint8)
_OPAQUE: Final = np.frombuffer(b',"flag":1,"language":"JAVA","opaque":', dtype=np.uint8)
_REMARK: Final = np.frombuffer(b',"remark":"', dtype=np.uint8)
_COLON: Final = np.frombuffer(b'":"', dtype=np.uint8)
_NEXT: Final = np.frombuffer(b'",', dtype=np.uint8)
_END: Final = np.frombuffer(b',"serializeTypeCurrentRPC":"JSON","version":%d}' % int(VERSION), dtype=np.uint8)
_VERSION: Final = int(VERSION)


@kernel
def begin(frame: int, answer: Answer) -> int:
    """Write what stands before the fields of an answer whose frame begins here; return where they go."""
    at = frame + _PREFIX_BYTES
    if answer.encoding == BINARY:
        store_i16(at, answer.code)
        store_u8(at + 2, 0)
        store_i16(at + 3, _VERSION)
        store_i32(at + 5, answer.opaque)
        store_i32(at + 9, _FLAG_RESPONSE)
        store_i32(at + _FIXED_BYTES, answer.remark_bytes)
        copy(at + _FIXED_BYTES + 4, answer.remark, answer.remark_bytes)
        return at + _FIXED_BYTES + 4 + answer.remark_bytes + 4
    copy(at, address_of(_CODE), len(_CODE))
    at = put_decimal(at + len(_CODE), answer.code)
    if answer.has_fields:
        copy(at, address_of(_FIELDS), len(_FIELDS))
        at += len(_FIELDS)
    return at


@kernel
def open_text(at: int, encoding: int, name: int, name_bytes: int) -> int:
    """Write the name of a field whose text the caller writes; return where it goes."""
    if encoding == BINARY:
        store_i16(at, name_bytes)
        copy(at + 2, name, name_bytes)
        return at + 2 + name_bytes + 4
    store_u8(at, _QUOTE)
    copy(at + 1, name, name_bytes)
    copy(at + 1 + name_bytes, address_of(_COLON), len(_COLON))
    return at + 1 + name_bytes + len(_COLON)


@kernel
def close_text(text: int, encoding: int, text_bytes: int) -> int:
    """Close the field that was opened, its text being written; return where the next one goes."""
    end = text + text_bytes
    if encoding == BINARY:
        store_i32(text - 4, text_bytes)
        return end
    copy(end, address_of(_NEXT), len(_NEXT))
    return end + len(_NEXT)


@kernel
def put_text(at: int, encoding: int, name: int, name_bytes: int, text: int, text_bytes: int) -> int:
    """Write a field; return where the next one goes."""
    at = open_text(at, encoding, name, name_bytes)
    copy(at, text, text_bytes)
    return close_text(at, encoding, text_bytes)


@kernel
def put_number(at: int, encoding: int, name: int, name_bytes: int, number: int) -> int:
    """Write a field that holds a number; return where the next one goes."""
    at = open_text(at, encoding, name, name_bytes)
    return close_text(at, encoding, put_decimal(at, number) - at)


@kernel
def finish(frame: int, at: int, answer: Answer, body_bytes: int) -> int:
    """Write what stands behind the fields, which end here, and the frame's lengths; return the head's length.

    The body follows there, and is the caller's.
    """
    if answer.encoding == BINARY:
        fields = frame + _PREFIX_BYTES + _FIXED_BYTES + 4 + answer.remark_bytes
        store_i32(fields, at - fields - 4)
    else:
        at = _finish_json(at, answer)
    header_bytes = at - frame - _PREFIX_BYTES
    store_i32(frame, 4 + header_bytes + body_bytes)
    store_i32(frame + 4, answer.encoding << 24 | header_bytes)
    return at - frame


@kernel
def is_plain(text: int, text_bytes: int) -> bool:
    """Whether JSON holds a text as it is."""
    for index in range(text_bytes):
        byte = load_u8(text + index)
        if byte < 0x20 or byte in (_QUOTE, _BACKSLASH):
            return False
    return True


@kernel
def _finish_json(at: int, answer: Answer) -> int:
    if answer.has_fields:
        store_u8(at - 1, _CLOSE)  # in the place of the last field's comma
    copy(at, address_of(_OPAQUE), len(_OPAQUE))
    at = put_decimal(at + len(_OPAQUE), answer.opaque)
    if answer.remark_bytes > 0:
        copy(at, address_of(_REMARK), len(_REMARK))
        at += len(_REMARK)
        copy(at, answer.remark, answer.remark_bytes)
        at += answer.remark_bytes
        store_u8(at, _QUOTE)
        at += 1
    copy(at, address_of(_END), len(_END))
    return at + len(_END)
