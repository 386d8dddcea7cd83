"""Kernel: raise each queue's next offset behind the records of a part of the log: a new writer's first look."""

from shmq.jit import entry
from shmq.memory.atomics import load_relaxed, store_relaxed
from shmq.memory.endian import load_i32, load_i64
from shmq.store import record
from shmq.store.name_table import find_name
from shmq.store.queue_table import find_queue, next_address


@entry
def raise_next(topics: int, queues: int, address: int, begin: int, end: int) -> int:
    """Walk the records of a part of a file; return the position behind it, or -1 - where it broke off."""
    position = begin
    while position < end:
        at = address + position - begin
        size = record.verify(at, end - position, False)
        if size == record.BLANK:
            return position + load_i32(at)
        if size < 0:
            return -1 - position
        topic, topic_bytes = record.topic_at(at)
        topic_id = find_name(topics, at + topic, topic_bytes)
        slot = find_queue(queues, topic_id, load_i32(at + record.QUEUE_ID))
        if slot < 0:
            return -1 - position
        if record.is_dispatched(load_i32(at + record.SYS_FLAG)):
            word = next_address(queues, slot)
            behind = load_i64(at + record.QUEUE_OFFSET) + 1
            if behind > load_relaxed(word):
                store_relaxed(word, behind)
        position += size
    return position
