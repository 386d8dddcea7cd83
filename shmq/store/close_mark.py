"""The file that says what every queue was when the store was closed: `queues.checkpoint`.

    offset  size  field        meaning
    ------  ----  -----------  ------------------------------------------------------
         0     8  check        CRC-32 of all that follows
         8     8  log_begin    position of the log's first byte
        16     8  queues       how many queues follow
        24

Then a queue after the other, each with its topic's name behind it:

    offset  size  field         meaning
    ------  ----  ------------  -----------------------------------------------------
         0     8  max_offset    queue offset behind its last entry
         8     8  min_offset    queue offset of its first message that is still there
        16     8  end_position  where the record of its last message ends in the log
        24     4  queue_id      its number
        28     4  topic_bytes   how long its topic's name is
        32

Big-endian. Written by the supervisor when all processes have ended well, replaced whole; RocketMQ does not know it. A
start after a clean end holds it against the end of every queue. Where all agree, nothing was lost or added since, and
the log need not be walked but from its last record on (`closed_queues.py`). A mark that is older than the
files does not agree with them, so nobody need remove it.
"""

import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from shmq.errors import StoreError
from shmq.memory.layout import layout
from shmq.store.store_files import sync_directory

HEAD_LAYOUT: Final = layout(24, check=(0, ">i8"), log_begin=(8, ">i8"), queues=(16, ">i8"))
QUEUE_LAYOUT: Final = layout(
    32,
    max_offset=(0, ">i8"),
    min_offset=(8, ">i8"),
    end_position=(16, ">i8"),
    queue_id=(24, ">i4"),
    topic_bytes=(28, ">i4"),
)
_CHECK: Final = struct.Struct(">q")
_HEAD: Final = struct.Struct(">2q")
_QUEUE: Final = struct.Struct(">3q2i")


class ClosedQueue(NamedTuple):
    """What a queue was."""

    topic: bytes
    queue_id: int
    max_offset: int
    min_offset: int
    end_position: int


class CloseMark(NamedTuple):
    """What the file says: of each queue that has entries, and where the log began."""

    log_begin: int
    queues: tuple[ClosedQueue, ...]


def write_close_mark(path: Path, log_begin: int, queues: Iterable[ClosedQueue]) -> None:
    """Replace the file, durably.

    Raises:
        StoreError: the disk refuses; the file is as it was.
    """
    rows = [
        _QUEUE.pack(each.max_offset, each.min_offset, each.end_position, each.queue_id, len(each.topic))
        + each.topic
        for each in queues
    ]
    text = _HEAD.pack(log_begin, len(rows)) + b"".join(rows)
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            file.write(_CHECK.pack(zlib.crc32(text)) + text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def read_close_mark(path: Path) -> CloseMark | None:
    """What the file says; None where there is none, or it is not whole."""
    try:
        content = path.read_bytes()
    except OSError:  # derived, and of use only where it can be read
        return None
    text = content[_CHECK.size :]
    if len(content) < HEAD_LAYOUT.itemsize or _CHECK.unpack_from(content)[0] != zlib.crc32(text):
        return None
    log_begin, count = _HEAD.unpack_from(text)
    at = _HEAD.size
    queues: list[ClosedQueue] = []
    for _ in range(count):
        max_offset, min_offset, end_position, queue_id, topic_bytes = _QUEUE.unpack_from(text, at)
        at += _QUEUE.size + topic_bytes
        topic = text[at - topic_bytes : at]
        queues.append(ClosedQueue(topic, queue_id, max_offset, min_offset, end_position))
    return CloseMark(log_begin, tuple(queues))
