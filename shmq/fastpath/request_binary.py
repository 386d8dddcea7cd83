"""Kernels: a binary header into a request: twin of `wire.command`, but for what it leaves to it.

Of two fields of one name the later counts, and one without a text is absent. Left to Python are headers whose
lengths do not fit, and those with a field's text that is not UTF-8.
"""

from typing import Final

from shmq.fastpath import request as layout
from shmq.fastpath.request import UNKNOWN, field_id_of, put_field
from shmq.fastpath.utf8 import is_valid
from shmq.jit import kernel
from shmq.memory.endian import load_i16, load_i32, store_native_i64

_FIXED_BYTES: Final = 13
_VERSION_AT: Final = 3
_OPAQUE_AT: Final = 5
_FLAG_AT: Final = 9


@kernel
def parse_binary(request: int, at: int, end: int) -> bool:
    """Read the header between two addresses; whether it could be."""
    if end - at < _FIXED_BYTES + 8:
        return False
    remark_bytes = load_i32(at + _FIXED_BYTES)
    fields = at + _FIXED_BYTES + 4 + remark_bytes
    if remark_bytes < 0 or fields + 4 > end:
        return False
    fields_end = fields + 4 + load_i32(fields)
    if fields_end < fields + 4 or fields_end > end:
        return False
    store_native_i64(request + layout.CODE, load_i16(at))
    store_native_i64(request + layout.VERSION, load_i16(at + _VERSION_AT))
    store_native_i64(request + layout.OPAQUE, load_i32(at + _OPAQUE_AT))
    store_native_i64(request + layout.FLAG, load_i32(at + _FLAG_AT))
    return _take_fields(request, fields + 4, fields_end)


@kernel
def _take_fields(request: int, at: int, end: int) -> bool:
    present = 0
    while at < end:
        name = at + 2
        name_bytes = load_i16(at)
        text = name + name_bytes + 4
        if name_bytes < 0 or text > end:
            return False
        text_bytes = load_i32(text - 4)
        at = text + text_bytes
        if text_bytes < 0 or at > end:
            return False
        field_id = field_id_of(name, name_bytes)
        if field_id == UNKNOWN:
            continue
        if text_bytes == 0:
            present &= ~(1 << field_id)
            continue
        if not is_valid(text, text_bytes):
            return False
        put_field(request, field_id, text, text_bytes)
        present |= 1 << field_id
    store_native_i64(request + layout.PRESENT, present)
    return True
