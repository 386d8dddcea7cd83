"""Kernels: a send, up to its submission: twin of `broker.sending` for the plain case.

Plain is a message for a topic and a queue that there are, that wants no delay and no transaction, with a unique key
from its producer, within all limits. Whatever is not plain is left to Python before anything is done. So are sends
that might overtake one that Python has, and all while the ring or the table of pending submissions is full.

The record is finished in the submit ring; the writer copies it from there.
"""

from shmq.config.settings import RECORD_OVERHEAD_BYTES_MAX
from shmq.fastpath import desk, request
from shmq.fastpath.batch import send_batch
from shmq.fastpath.connections import HANDED_UP, has_flag
from shmq.fastpath.outcomes import DONE, SLOW
from shmq.fastpath.records import put_record, record_bytes
from shmq.fastpath.request import ABSENT, boolean_of
from shmq.fastpath.submitting import Send, note_waiting, open_submission, read_send, records_at, submit
from shmq.jit import kernel
from shmq.memory.block import copy
from shmq.memory.endian import load_native_i64, store_u8
from shmq.store.position import NONE
from shmq.store.properties import VALUE_END
from shmq.store.record import PROPERTIES_BYTES_MAX
from shmq.wire.command import FLAG_RESPONSE


@kernel
def send(at_desk: int, row: int, asked: int) -> int:
    """Submit the messages of a request to send that came in on a connection; DONE or SLOW."""
    if has_flag(row, HANDED_UP) or load_native_i64(at_desk + desk.APPENDS_WAIT) != 0:
        return SLOW
    if (
        load_native_i64(asked + request.FLAG) & FLAG_RESPONSE
        or load_native_i64(asked + request.BODY_BYTES) == 0
    ):
        return SLOW
    read = read_send(at_desk, row, asked)
    if not read.is_plain:
        return SLOW
    if boolean_of(asked, request.M, False):
        return send_batch(at_desk, asked, read)
    if read.properties.key_bytes == ABSENT:
        return SLOW
    return _send_single(at_desk, asked, read)


@kernel
def _send_single(at_desk: int, asked: int, read: Send) -> int:
    body = load_native_i64(asked + request.BODY)
    body_bytes = load_native_i64(asked + request.BODY_BYTES)
    suffix_bytes = load_native_i64(at_desk + desk.SEND_SUFFIX_BYTES)
    properties_bytes = read.text_bytes + suffix_bytes
    if read.properties.is_open:
        properties_bytes += 1
    body_bytes_max = load_native_i64(at_desk + desk.MESSAGE_BYTES_MAX)
    records_bytes = record_bytes(read.envelope, body_bytes, properties_bytes)
    if (
        properties_bytes > PROPERTIES_BYTES_MAX
        or body_bytes > body_bytes_max
        or records_bytes > body_bytes_max + RECORD_OVERHEAD_BYTES_MAX
        or records_bytes > load_native_i64(at_desk + desk.APPEND_BYTES_MAX)
    ):
        return SLOW
    position, waiting = open_submission(at_desk, records_bytes)
    if position == NONE:
        return SLOW
    note_waiting(waiting, asked, read)
    record = records_at(at_desk, position)
    at = put_record(record, read.envelope, read.flag, body, body_bytes, properties_bytes)
    copy(at, read.text, read.text_bytes)
    at += read.text_bytes
    if read.properties.is_open:
        store_u8(at, VALUE_END)
        at += 1
    copy(at, load_native_i64(at_desk + desk.SEND_SUFFIX), suffix_bytes)
    submit(at_desk, position, waiting, read.slot, 1, records_bytes)
    return DONE
