"""The body of a batch send: messages back to back.

    size  field       meaning
    ----  ----------  ------------------------------------------------------------
       4  entry size  of this entry, itself included
       4  magic       0: the broker gives the stored message its own
       4  CRC         0: likewise
       4  flag        the user's, stored as it is
       4  B           length of the body
       B  body
       2  P           length of the properties
       P  properties  text

Big-endian. Topic, queue, sysFlag and birth are the send header's, for all of them.
"""

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from shmq.errors import RequestError
from shmq.wire.codes import ResponseCode

FIXED_BYTES: Final = 22  # of an entry, without body and properties
PROPERTIES_BYTES_MAX: Final = 0x7FFF

_HEAD: Final = struct.Struct(">iiiii")
_INT16: Final = struct.Struct(">h")


class BatchEntry(NamedTuple):
    """One message of a batch; read, its parts are views of the batch's body."""

    flag: int
    body: bytes | memoryview
    properties: bytes | memoryview


def split_batch(body: bytes | memoryview) -> list[BatchEntry]:
    """Return the messages of a batch, uncopied.

    Raises:
        RequestError: MESSAGE_ILLEGAL: it is empty, or a length does not fit.
    """
    view = memoryview(body)
    entries: list[BatchEntry] = []
    at = 0
    while at < len(view):
        entry, at = _take(view, at)
        entries.append(entry)
    if not entries:
        raise RequestError(ResponseCode.MESSAGE_ILLEGAL, "the batch holds no message")
    return entries


def join_batch(entries: Iterable[BatchEntry]) -> bytes:
    """Return the body of a batch send.

    Raises:
        RequestError: MESSAGE_ILLEGAL: properties are too long for their length field.
    """
    parts: list[bytes | memoryview] = []
    for flag, body, properties in entries:
        if len(properties) > PROPERTIES_BYTES_MAX:
            raise RequestError(
                ResponseCode.MESSAGE_ILLEGAL, f"properties of {len(properties)} bytes are too long"
            )
        size = FIXED_BYTES + len(body) + len(properties)
        parts += (_HEAD.pack(size, 0, 0, flag, len(body)), body, _INT16.pack(len(properties)), properties)
    return b"".join(parts)


def _take(view: memoryview, at: int) -> tuple[BatchEntry, int]:
    """Return the entry at at, and where it ends."""
    if len(view) - at < FIXED_BYTES:
        raise RequestError(ResponseCode.MESSAGE_ILLEGAL, f"the batch ends inside an entry, at {at}")
    size, _, _, flag, body_bytes = _HEAD.unpack_from(view, at)
    body_at = at + _HEAD.size
    body_end = body_at + body_bytes
    if not (FIXED_BYTES <= size <= len(view) - at and 0 <= body_bytes <= size - FIXED_BYTES):
        raise RequestError(
            ResponseCode.MESSAGE_ILLEGAL, f"the lengths of the batch's entry at {at} do not fit"
        )
    (properties_bytes,) = _INT16.unpack_from(view, body_end)
    if properties_bytes != size - FIXED_BYTES - body_bytes:
        raise RequestError(
            ResponseCode.MESSAGE_ILLEGAL, f"the properties of the batch's entry at {at} do not fit"
        )
    end = at + size
    return BatchEntry(flag, view[body_at:body_end], view[body_end + _INT16.size : end]), end
