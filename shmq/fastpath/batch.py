"""Kernels: a batch of messages in one send: twin of `wire.batch` and of what `broker.sending` makes of it.

All records are measured before any is written, so a batch is submitted whole or left to Python untouched.
"""

from typing import Final

from shmq.config.settings import RECORD_OVERHEAD_BYTES_MAX
from shmq.fastpath import desk, pending, request
from shmq.fastpath.outcomes import DONE, SLOW
from shmq.fastpath.pending import give_row_back
from shmq.fastpath.records import put_record, record_bytes
from shmq.fastpath.submitting import Send, note_waiting, open_submission, records_at, submit
from shmq.jit import kernel
from shmq.memory.block import copy
from shmq.memory.endian import load_i16, load_i32, load_native_i64, store_native_i32, store_native_i64
from shmq.memory.syscalls import allocate
from shmq.store.position import NONE
from shmq.wire.batch import FIXED_BYTES

COUNT_MAX: Final = 4096
"""Of messages: an answer names each of them."""

_FLAG: Final = 12
_BODY_BYTES: Final = 16
_BODY: Final = 20


@kernel
def send_batch(at_desk: int, asked: int, send: Send) -> int:
    """Submit the messages of a plain send's body; DONE or SLOW."""
    body = load_native_i64(asked + request.BODY)
    body_bytes = load_native_i64(asked + request.BODY_BYTES)
    if body_bytes > load_native_i64(at_desk + desk.MESSAGE_BYTES_MAX):
        return SLOW
    count, records_bytes = _measure(at_desk, body, body_bytes, send)
    if count == NONE:
        return SLOW
    position, waiting = open_submission(at_desk, records_bytes)
    if position == NONE:
        return SLOW
    note_waiting(waiting, asked, send)
    if count > 1:
        sizes = int(allocate(4 * count))
        if sizes == 0:
            give_row_back(load_native_i64(at_desk + desk.PENDING), waiting)
            return SLOW
        store_native_i64(waiting + pending.SIZES, sizes)
    _put_records(records_at(at_desk, position), body, count, waiting, send)
    submit(at_desk, position, waiting, send.slot, count, records_bytes)
    return DONE


@kernel
def _measure(at_desk: int, body: int, body_bytes: int, send: Send) -> tuple[int, int]:
    """How many messages there are, and the length of their records together; NONE where one is not plain."""
    message_bytes_max = load_native_i64(at_desk + desk.MESSAGE_BYTES_MAX)
    count = 0
    records_bytes = 0
    at = 0
    while at < body_bytes:
        left = body_bytes - at
        if left < FIXED_BYTES or count == COUNT_MAX:
            return NONE, 0
        size = load_i32(body + at)
        content_bytes = load_i32(body + at + _BODY_BYTES)
        if size < FIXED_BYTES or size > left or content_bytes < 0 or content_bytes > size - FIXED_BYTES:
            return NONE, 0
        properties_bytes = load_i16(body + at + _BODY + content_bytes)
        if properties_bytes != size - FIXED_BYTES - content_bytes:
            return NONE, 0
        record = record_bytes(send.envelope, content_bytes, properties_bytes)
        if content_bytes > message_bytes_max or record > message_bytes_max + RECORD_OVERHEAD_BYTES_MAX:
            return NONE, 0
        records_bytes += record
        count += 1
        at += size
    if records_bytes > load_native_i64(at_desk + desk.APPEND_BYTES_MAX):
        return NONE, 0
    return count, records_bytes


@kernel
def _put_records(record: int, body: int, count: int, waiting: int, send: Send) -> None:
    """Write the records of measured messages, back to back, and note their lengths where there are several."""
    sizes = load_native_i64(waiting + pending.SIZES)
    for index in range(count):
        size = load_i32(body)
        flag = load_i32(body + _FLAG)
        content_bytes = load_i32(body + _BODY_BYTES)
        properties_bytes = size - FIXED_BYTES - content_bytes
        at = put_record(record, send.envelope, flag, body + _BODY, content_bytes, properties_bytes)
        copy(at, body + size - properties_bytes, properties_bytes)
        end = at + properties_bytes
        if count > 1:
            store_native_i32(sizes + 4 * index, end - record)
        record = end
        body += size
