"""What a jail is told, and what it answers, over its two pipes.

Each way a frame is its size in 4 bytes and so many bytes. The first tells the filter itself. Each further one holds
messages: how many, and of each the sizes of three parts and then these: JSON of what is known of it beside them, its
properties as stored, its body. The answer to the first is OK; to messages, OK and a byte for each, 1 where it matches;
to either, FAILED and a text that says why. All numbers are little-endian.
"""

import os
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

OK: Final = b"\x01"
FAILED: Final = b"\x00"
SIZE: Final = struct.Struct("<I")
REASON_BYTES_MAX: Final = 2000

_PARTS: Final = struct.Struct("<III")
_READ_BYTES: Final = 1 << 16


class Parts(NamedTuple):
    """A message, as a jail gets it."""

    facts: bytes
    properties: bytes
    body: bytes


def join_messages(messages: Sequence[Parts]) -> bytes:
    """The payload of a frame that holds messages."""
    pieces = [SIZE.pack(len(messages))]
    for message in messages:
        pieces.append(_PARTS.pack(*map(len, message)))
        pieces.extend(message)
    return b"".join(pieces)


def split_messages(payload: bytes) -> list[Parts]:
    """The messages of such a payload."""
    (count,) = SIZE.unpack_from(payload)
    at = SIZE.size
    messages = []
    for _ in range(count):
        sizes = _PARTS.unpack_from(payload, at)
        at += _PARTS.size
        parts = []
        for size in sizes:
            parts.append(payload[at : at + size])
            at += size
        messages.append(Parts(*parts))
    return messages


def read_frame() -> bytes | None:
    """Read a frame from descriptor 0; None at its end."""
    head = _read(SIZE.size)
    return None if head is None else _read(SIZE.unpack(head)[0])


def write_frame(payload: bytes) -> None:
    """Write a frame to descriptor 1."""
    left = memoryview(SIZE.pack(len(payload)) + payload)
    while left:
        left = left[os.write(1, left) :]


def write_failure(reason: str) -> None:
    """Answer that it failed, and why."""
    write_frame(FAILED + reason.encode("utf-8", "replace")[:REASON_BYTES_MAX])


def _read(size_bytes: int) -> bytes | None:
    pieces = bytearray()
    while len(pieces) < size_bytes:
        received = os.read(0, min(_READ_BYTES, size_bytes - len(pieces)))
        if not received:
            return None
        pieces += received
    return bytes(pieces)
