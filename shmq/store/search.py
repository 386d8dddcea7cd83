"""Find messages by time or by position.

A queue is searched by store time with bisection: the offsets of a queue rise with the log, and store times never go
back. Entries are read as any worker reads them; the time lies in the record. What is gone from the log counts as
earlier than any time asked for, blanks are passed over.
"""

from enum import IntEnum
from typing import NamedTuple

from shmq.memory.endian import load_i32, load_i64
from shmq.store import record
from shmq.store.log import LogReader
from shmq.store.position import NONE
from shmq.store.queue_directory import first_message
from shmq.store.queue_entry import decode
from shmq.store.read import QueueReader


class Boundary(IntEnum):
    """Which offset answers for a time: the first not before it, or the last not after it."""

    LOWER = 0
    UPPER = 1


class Queue(NamedTuple):
    """A queue, as searches want it: its slot, and its topic and queue id."""

    slot: int
    name: tuple[bytes, int]


def offset_by_time(reader: QueueReader, queue: Queue, timestamp_ms: int, boundary: Boundary) -> int:
    """The queue offset for a time, always between the queue's min and max.

    LOWER is the first message stored at the time or later, max where all are earlier. UPPER is the last one stored
    at the time or earlier, min where all are later.
    """
    min_offset, max_offset = reader.bounds(queue.slot)
    # LOWER wants the first message at or after the time; UPPER the one before the first after it.
    bound_ms = max(timestamp_ms if boundary == Boundary.LOWER else timestamp_ms + 1, 0)
    low, high = min_offset, max_offset
    while low < high:
        middle = (low + high) // 2
        offset, store_ms = _first_time(reader, queue, middle, high)
        if offset == NONE or store_ms >= bound_ms:
            high = middle
        else:
            low = offset + 1
    if boundary == Boundary.UPPER:
        return max(low - 1, min_offset)
    found = _first_message(reader, queue, low, max_offset)
    return max_offset if found == NONE else found


def earliest_store_ms(reader: QueueReader, queue: Queue) -> int:
    """When the first message of a queue that is still there was stored; NONE without one."""
    min_offset, max_offset = reader.bounds(queue.slot)
    return store_ms_at(reader, queue, min_offset) if min_offset < max_offset else NONE


def store_ms_at(reader: QueueReader, queue: Queue, offset: int) -> int:
    """When the message at a queue offset was stored; NONE where there is none, or no longer."""
    position = position_at(reader, queue, offset)
    return NONE if position == NONE else _store_ms(reader.log, position)


def position_at(reader: QueueReader, queue: Queue, offset: int) -> int:
    """Where the record of a queue offset lies in the log; NONE where there is no entry."""
    min_offset, max_offset = reader.bounds(queue.slot)
    if not min_offset <= offset < max_offset:
        return NONE
    entries = reader.entries_at(queue.slot, queue.name, offset)
    if entries == NONE or first_message(entries, 1, 0) == NONE:
        return NONE
    return decode(entries).position


def message_at(log: LogReader, position: int, begin: int, end: int) -> memoryview | None:
    """The record that begins at a position of the log, if one does.

    Args:
        log: the log.
        position: as anybody may claim it.
        begin: where the log begins.
        end: where it ends.
    """
    if not begin <= position < end:
        return None
    address, left_bytes = log.address_of(position)
    if address == NONE:
        return None
    size = record.verify(address, min(left_bytes, end - position), False)
    if size <= 0 or load_i64(address + record.PHYSICAL_OFFSET) != position:
        return None
    return log.slice(position, size)


def _first_time(reader: QueueReader, queue: Queue, offset: int, end: int) -> tuple[int, int]:
    """Offset and store time of the first message from an offset on; (NONE, NONE) without one before the end."""
    found = _first_message(reader, queue, offset, end)
    if found == NONE:
        return NONE, NONE
    entries = reader.entries_at(queue.slot, queue.name, found)
    return found, _store_ms(reader.log, decode(entries).position)


def _first_message(reader: QueueReader, queue: Queue, offset: int, end: int) -> int:
    """The first offset from there on that is no blank, or NONE; a missing file holds blanks."""
    while offset < end:
        count = reader.entries_until(offset, end)
        entries = reader.entries_at(queue.slot, queue.name, offset)
        if entries != NONE:
            found = first_message(entries, count, 0)
            if found != NONE:
                return offset + found
        offset += count
    return NONE


def _store_ms(log: LogReader, position: int) -> int:
    """When a record was stored; NONE, which is before any time, where it is gone."""
    address, left_bytes = log.address_of(position)
    if address == NONE or left_bytes < record.HEAD_BYTES + record.V6_EXTRA_BYTES:
        return NONE
    if load_i32(address + record.MAGIC) not in {record.MAGIC_V1, record.MAGIC_V2}:
        return NONE
    return record.store_timestamp(address)
