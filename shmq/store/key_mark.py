"""The file that says how far the key index is on disk: `index.checkpoint`, beside RocketMQ's own checkpoint.

    offset  size  field        meaning
    ------  ----  -----------  -------------------------------------------------------------------------
         0     8  indexed      every record of the log below it has its keys in the index
         8     8  first_file   name of the oldest index file, as a number; 0 without one
        16     8  last_file    of the newest
        24     8  files        how many there are
        32     8  next_number  the number of the next entry of the newest, as its header had it
        40     8  check        CRC-32 of the fields above
        48

Big-endian. What it says has been synced before it is written: entries below `next_number` of the newest file, and everything
of older ones. Written by the dispatcher's process alone, and by recovery, in place, in one write within one sector.
RocketMQ does not know it: a mark that is older than the files vouches for less than there is, and that is safe.
"""

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from shmq.errors import StoreError
from shmq.memory.layout import layout

LAYOUT: Final = layout(
    48,
    indexed=(0, ">i8"),
    first_file=(8, ">i8"),
    last_file=(16, ">i8"),
    files=(24, ">i8"),
    next_number=(32, ">i8"),
    check=(40, ">i8"),
)
_FIELDS: Final = struct.Struct(">5q")
_CHECK: Final = struct.Struct(">q")


class KeyMark(NamedTuple):
    """What the file says."""

    indexed: int
    first_file: int = 0
    last_file: int = 0
    files: int = 0
    next_number: int = 0


def read_key_mark(path: Path) -> KeyMark | None:
    """What the file says; None where there is none, or it says nothing that can be true."""
    with suppress(FileNotFoundError):
        text = path.read_bytes()[: LAYOUT.itemsize]
        fields = text[: _FIELDS.size]
        if len(text) == LAYOUT.itemsize and _CHECK.unpack(text[_FIELDS.size :])[0] == zlib.crc32(fields):
            return KeyMark(*_FIELDS.unpack(fields))
    return None


def write_key_mark(path: Path, mark: KeyMark) -> None:
    """Replace what the file says, durably.

    Raises:
        StoreError: the disk refuses.
    """
    fields = _FIELDS.pack(*mark)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(descriptor, fields + _CHECK.pack(zlib.crc32(fields)), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
