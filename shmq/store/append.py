"""Kernels: judge encoded records, and place them at the end of the log.

`judge` reads every length before anything is copied, so that a faulty producer can spoil only its own
submission. `place` copies each record with its total size left out, patches what only the writer knows, and
stores the total size last: a writer killed in the middle leaves no head that a reader would believe.
Nothing here moves a watermark; what was placed is nobody's until the commit writer publishes it.
"""

from typing import Final

from shmq.jit import kernel
from shmq.memory.block import copy
from shmq.memory.endian import load_i32, store_i32
from shmq.store import record
from shmq.store.record import BLANK_BYTES_MIN, BLANK_MAGIC, MAGIC, QUEUE_ID, SYS_FLAG, TOTAL_SIZE

_WORD: Final = 4


@kernel
def judge(records: int, records_bytes: int, count: int, queue_id: int) -> bool:
    """Whether exactly so many whole records lie here, all for that queue."""
    at = 0
    for _ in range(count):
        size = record.verify(records + at, records_bytes - at, False)
        if size <= 0 or load_i32(records + at + QUEUE_ID) != queue_id:
            return False
        at += size
    return count > 0 and at == records_bytes


@kernel
def fits(records_bytes: int, room_bytes: int) -> bool:
    """Whether records go into what is left of a file, with the room that its blank needs."""
    return records_bytes + BLANK_BYTES_MIN <= room_bytes


@kernel
def place(source: int, target: int, count: int, position: int, queue_offset: int, store_ms: int) -> int:
    """Copy judged records to the log; return the queue offset after them.

    Args:
        source: where they lie, back to back.
        target: where the log's byte at `position` is mapped.
        count: how many.
        position: of the first, in the log.
        queue_offset: of the first; prepared and rolled-back records take none.
        store_ms: the store time of all of them.
    """
    at = 0
    for _ in range(count):
        size = load_i32(source + at)
        copy(target + at + _WORD, source + at + _WORD, size - _WORD)
        if record.is_dispatched(load_i32(target + at + SYS_FLAG)):
            record.patch(target + at, queue_offset, position + at, store_ms)
            queue_offset += 1
        else:
            record.patch(target + at, 0, position + at, store_ms)
        store_i32(target + at + TOTAL_SIZE, size)
        at += size
    return queue_offset


@kernel
def place_blank(target: int, room_bytes: int) -> None:
    """Close a file: what is left of it, from here to its end, holds no record."""
    store_i32(target + MAGIC, BLANK_MAGIC)
    store_i32(target + TOTAL_SIZE, room_bytes)
