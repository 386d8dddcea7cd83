"""Kernel: a whole frame into a request, whichever way its header is written."""

from typing import Final

from shmq.fastpath import request as layout
from shmq.fastpath.request import BINARY, HEADER_BYTES_MAX, JSON
from shmq.fastpath.request_binary import parse_binary
from shmq.fastpath.request_json import parse_json
from shmq.jit import kernel
from shmq.memory.endian import load_i32, store_native_i64

_PREFIX_BYTES: Final = 8


@kernel
def parse(request: int, frame: int, frame_bytes: int) -> bool:
    """Make a request of the frame at an address; False where its header is for Python to judge.

    Args:
        request: the request's block, with its arena.
        frame: both length words included, with `request.SPARE_BYTES` readable behind it.
        frame_bytes: its length.
    """
    word = load_i32(frame + 4)
    encoding = word >> 24
    header_bytes = word & 0xFFFFFF
    header = frame + _PREFIX_BYTES
    if header_bytes > HEADER_BYTES_MAX or header_bytes > frame_bytes - _PREFIX_BYTES:
        return False
    store_native_i64(request + layout.ENCODING, encoding)
    store_native_i64(request + layout.BODY, header + header_bytes)
    store_native_i64(request + layout.BODY_BYTES, frame_bytes - _PREFIX_BYTES - header_bytes)
    store_native_i64(request + layout.PRESENT, 0)
    store_native_i64(request + layout.CODE, 0)
    store_native_i64(request + layout.FLAG, 0)
    store_native_i64(request + layout.OPAQUE, 0)
    store_native_i64(request + layout.VERSION, 0)
    store_native_i64(request + layout.ARENA_USED, 0)
    if encoding == JSON:
        return parse_json(request, header, header + header_bytes) != 0
    if encoding == BINARY:
        return parse_binary(request, header, header + header_bytes)
    return False
