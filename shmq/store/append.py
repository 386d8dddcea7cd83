"""Kernels: place encoded records at the end of the log, and judge them there.

Whoever submits records may go on writing to the memory from which they are taken. So they are copied first, to
where nobody else writes, and every length is read from the copy. What turns out to be bad is zeroed again, and a
faulty producer has spoiled only its own submission. The size of the first record is left out until everything
behind it is in its place: a writer killed before leaves no head that a reader would believe.
Nothing here moves a watermark; what was placed is nobody's until the commit writer publishes it.
"""

from typing import Final, NamedTuple

from shmq.jit import kernel
from shmq.memory.block import copy, equal, zero
from shmq.memory.endian import load_i16, load_i32, load_u8, store_i32, store_i64
from shmq.store.record import (
    BLANK_BYTES_MIN,
    BLANK_MAGIC,
    BORN_HOST_V6,
    HEAD_BYTES,
    MAGIC,
    MAGIC_V1,
    MAGIC_V2,
    PHYSICAL_OFFSET,
    QUEUE_ID,
    QUEUE_OFFSET,
    STORE_HOST_V6,
    STORE_TIMESTAMP,
    SYS_FLAG,
    TOPIC_BYTES_V1_MAX,
    TOTAL_SIZE,
    V6_EXTRA_BYTES,
    is_dispatched,
)

BAD: Final = -1
"""What `place` answers for records that are not what they must be."""

_WORD: Final = 4


class Destination(NamedTuple):
    """Of what queue records must be, and where they go.

    Attributes:
        queue_id: their queue.
        topic: where the name of their topic lies.
        topic_bytes: its size.
        target: where the log's byte at `position` is mapped.
        position: of the first, in the log.
        store_ms: the store time of all of them.
    """

    queue_id: int
    topic: int
    topic_bytes: int
    target: int
    position: int
    store_ms: int


@kernel
def fits(records_bytes: int, room_bytes: int) -> bool:
    """Whether records go into what is left of a file, with the room that its blank needs."""
    return records_bytes + BLANK_BYTES_MIN <= room_bytes


@kernel
def place(source: int, records_bytes: int, count: int, queue_offset: int, to: Destination) -> int:
    """Copy records to the log and complete them; return the queue offset after them, or BAD.

    Args:
        source: where they lie, back to back.
        records_bytes: how long they are together.
        count: how many they must be.
        queue_offset: of the first; prepared and rolled-back records take none.
        to: their queue and their place.
    """
    if count <= 0 or records_bytes < HEAD_BYTES:
        return BAD
    target = to.target
    copy(target + _WORD, source + _WORD, records_bytes - _WORD)
    at = 0
    first_size = 0
    for index in range(count):
        size = _size_of_copy(target + at, records_bytes - at, to)
        if size == BAD or load_i32((target if index > 0 else source) + at + TOTAL_SIZE) != size:
            at = BAD
            break
        if index == 0:
            first_size = size
        offset = 0
        sys_flag = load_i32(target + at + SYS_FLAG)
        if is_dispatched(sys_flag):
            offset = queue_offset
            queue_offset += 1
        store_i64(target + at + QUEUE_OFFSET, offset)
        store_i64(target + at + PHYSICAL_OFFSET, to.position + at)
        extra = V6_EXTRA_BYTES if sys_flag & BORN_HOST_V6 else 0
        store_i64(target + at + STORE_TIMESTAMP + extra, to.store_ms)
        at += size
    if at != records_bytes:
        zero(target, records_bytes)
        return BAD
    store_i32(target + TOTAL_SIZE, first_size)
    return queue_offset


@kernel
def place_blank(target: int, room_bytes: int) -> None:
    """Close a file: what is left of it, from here to its end, holds no record."""
    store_i32(target + MAGIC, BLANK_MAGIC)
    store_i32(target + TOTAL_SIZE, room_bytes)


@kernel
def _size_of_copy(address: int, readable_bytes: int, to: Destination) -> int:
    """What the parts of a copied record add up to; BAD where they cannot be, or are for another queue."""
    if readable_bytes < HEAD_BYTES or load_i32(address + QUEUE_ID) != to.queue_id:
        return BAD
    magic = load_i32(address + MAGIC)
    sys_flag = load_i32(address + SYS_FLAG)
    body = HEAD_BYTES
    if sys_flag & (BORN_HOST_V6 | STORE_HOST_V6):
        body += V6_EXTRA_BYTES if sys_flag & BORN_HOST_V6 else 0
        body += V6_EXTRA_BYTES if sys_flag & STORE_HOST_V6 else 0
        if body > readable_bytes:
            return BAD
    body_bytes = load_i32(address + body - _WORD)
    topic = body + body_bytes + (2 if magic == MAGIC_V2 else 1)
    at = topic + to.topic_bytes  # of the properties' size
    if magic not in (MAGIC_V1, MAGIC_V2) or body_bytes < 0 or at + 2 > readable_bytes:
        return BAD
    topic_bytes = load_i16(address + topic - 2) if magic == MAGIC_V2 else load_u8(address + topic - 1)
    if topic_bytes != to.topic_bytes or (magic == MAGIC_V1 and topic_bytes > TOPIC_BYTES_V1_MAX):
        return BAD
    properties_bytes = load_i16(address + at)
    if properties_bytes < 0 or at + 2 + properties_bytes > readable_bytes:
        return BAD
    return at + 2 + properties_bytes if equal(address + topic, to.topic, topic_bytes) else BAD
