"""Kernels: committed offsets, where they have a row: twin of `broker/offsets_requests.py`, byte for byte."""

from typing import Final

from shmq.fastpath import connections, desk, groups, topics
from shmq.fastpath.connections import HANDED_UP, extend, has_flag, reserve
from shmq.fastpath.outcomes import DONE, SLOW
from shmq.fastpath.pull_answers import HEAD_ROOM_BYTES, put_bare_answer, put_offset_answer
from shmq.fastpath.request import (
    COMMIT_OFFSET,
    CONSUMER_GROUP,
    FLAG,
    QUEUE_ID,
    TOPIC,
    field,
    int32_of,
    int64_of,
)
from shmq.jit import kernel
from shmq.memory.atomics import load_acquire, store_release
from shmq.memory.endian import load_native_i64
from shmq.store.offset_table import find_offset, offset_address, pending_reset
from shmq.store.position import NONE
from shmq.store.queue_table import find_queue

_ONEWAY: Final = 2


@kernel
def query_offset(at_desk: int, row: int, request: int) -> int:
    """Serve QUERY_CONSUMER_OFFSET where an offset was committed; DONE or SLOW."""
    committed = _committed_at(at_desk, row, request)
    if committed == 0 or load_native_i64(request + FLAG) != 0:
        return SLOW
    offset = load_acquire(committed)  # pairs with whoever committed it
    if offset < 0:
        return SLOW
    target = reserve(row, HEAD_ROOM_BYTES)
    if target == connections.NONE:
        return SLOW
    extend(at_desk + desk.FIRST_DIRTY, row, put_offset_answer(target, request, offset))
    return DONE


@kernel
def update_offset(at_desk: int, row: int, request: int) -> int:
    """Serve UPDATE_CONSUMER_OFFSET where there is a word for the offset; DONE or SLOW."""
    flag = load_native_i64(request + FLAG)
    has_offset, offset = int64_of(request, COMMIT_OFFSET)
    committed = _committed_at(at_desk, row, request)
    if committed == 0 or not has_offset or flag not in (0, _ONEWAY):
        return SLOW
    if flag == 0:
        target = reserve(row, HEAD_ROOM_BYTES)
        if target == connections.NONE:
            return SLOW
        extend(at_desk + desk.FIRST_DIRTY, row, put_bare_answer(target, request))
    store_release(committed, offset)  # pairs with OffsetTable.load()
    return DONE


@kernel
def _committed_at(at_desk: int, row: int, request: int) -> int:
    """Where the committed offset lies that a request is about; 0 where Python must see to it."""
    if has_flag(row, HANDED_UP):
        return 0  # what Python is about to serve may be about the same offset, and came before
    name, name_bytes = field(request, CONSUMER_GROUP)
    group_id = groups.find_group(at_desk, name, name_bytes)
    name, name_bytes = field(request, TOPIC)
    topic_id = topics.find_topic(at_desk, name, name_bytes)
    has_queue, queue_id = int32_of(request, QUEUE_ID)
    if NONE in (group_id, topic_id) or not has_queue:
        return 0
    if queue_id < 0 or queue_id >= load_native_i64(topics.topic_at(at_desk, topic_id) + topics.QUEUE_COUNT):
        return 0
    slot = find_queue(load_native_i64(at_desk + desk.QUEUES), topic_id, queue_id)
    offsets = load_native_i64(at_desk + desk.OFFSETS)
    offset_row = find_offset(offsets, group_id, slot)
    if offset_row == NONE or pending_reset(offsets, offset_row) != NONE:
        return 0
    return offset_address(offsets, offset_row)
