"""Kernels: a send that is plain, and its way into the submit ring: what single messages and batches share."""

from typing import NamedTuple

from shmq.fastpath import connections, desk, pending, request, topics
from shmq.fastpath.pending import put_key, take_row
from shmq.fastpath.records import Envelope
from shmq.fastpath.request import ABSENT, BINARY, field, has, int32_of, int64_of
from shmq.fastpath.send_properties import Properties, scan_properties
from shmq.fastpath.topics import SENDABLE, find_topic, topic_at
from shmq.jit import kernel
from shmq.memory.endian import load_native_i64, store_native_i32, store_native_i64
from shmq.memory.lanes import LANES, json_stops, lowest_bit
from shmq.ring import spsc
from shmq.shared import submission
from shmq.store.position import NONE
from shmq.store.queue_table import find_queue
from shmq.wire.command import FLAG_ONEWAY
from shmq.wire.flags import INNER_BATCH, TRANSACTION_MASK


class Send(NamedTuple):
    """A send, checked but for its body.

    Attributes:
        is_plain: without it the rest means nothing.
        slot: the queue's.
        flag: the client's, for a single message.
        text: where the properties lie.
        text_bytes: their length.
        properties: what they say.
        envelope: the rest of the records.
    """

    is_plain: bool
    slot: int
    flag: int
    text: int
    text_bytes: int
    properties: Properties
    envelope: Envelope


@kernel
def read_send(at_desk: int, row: int, asked: int) -> Send:
    """Check a request to send that came in on a connection."""
    is_plain = has(asked, request.A) and has(asked, request.C)
    is_number, _ = int32_of(asked, request.D)
    is_plain &= is_number
    is_number, queue_id = int32_of(asked, request.E)
    is_plain &= is_number
    is_number, sys_flag = int32_of(asked, request.F)
    is_plain &= is_number and sys_flag & (TRANSACTION_MASK | INNER_BATCH) == 0
    is_number, born_ms = int64_of(asked, request.G)
    is_plain &= is_number
    is_number, flag = int32_of(asked, request.H)
    is_plain &= is_number
    is_number, reconsume_times = _optional_int32(asked, request.J)
    is_plain &= is_number
    is_number, _ = _optional_int32(asked, request.L)
    is_plain &= is_number
    topic, topic_bytes = field(asked, request.B)
    slot = NONE
    topic_id = find_topic(at_desk, topic, topic_bytes)
    if topic_id != NONE:
        known = topic_at(at_desk, topic_id)
        sys_flag |= load_native_i64(known + topics.MESSAGE_FLAG)
        is_plain &= load_native_i64(known + topics.FLAGS) & SENDABLE != 0
        if 0 <= queue_id < load_native_i64(known + topics.QUEUE_COUNT):
            slot = find_queue(load_native_i64(at_desk + desk.QUEUES), topic_id, queue_id)
    text, text_bytes = field(asked, request.I)
    properties = scan_properties(text, text_bytes)
    is_plain &= slot != NONE and properties.is_plain and _is_key_plain(properties)
    envelope = Envelope(row, topic, topic_bytes, queue_id, sys_flag, born_ms, reconsume_times)
    return Send(is_plain, slot, flag, text, max(text_bytes, 0), properties, envelope)


@kernel
def open_submission(at_desk: int, records_bytes: int) -> tuple[int, int]:
    """Room in the ring for records, and a row for the answer; NONE for the room where either is missing."""
    position = spsc.claim(load_native_i64(at_desk + desk.SUBMIT), submission.HEAD_SIZE + records_bytes)
    if position < 0:
        return NONE, NONE
    waiting = take_row(load_native_i64(at_desk + desk.PENDING), load_native_i64(at_desk + desk.EPOCH))
    if waiting == NONE:
        return NONE, NONE
    return position, waiting


@kernel
def records_at(at_desk: int, position: int) -> int:
    """Where the records of a submission go whose room begins at a position of the ring."""
    return spsc.payload_address(load_native_i64(at_desk + desk.SUBMIT), position) + submission.HEAD_SIZE


@kernel
def note_waiting(waiting: int, asked: int, send: Send) -> None:
    """Note who waits for the answer, and what it has to say."""
    flags = 0
    if load_native_i64(asked + request.ENCODING) == BINARY:
        flags |= pending.IS_BINARY
    if load_native_i64(asked + request.FLAG) & FLAG_ONEWAY:
        flags |= pending.IS_ONEWAY
    if send.properties.waits:
        flags |= pending.WAITS_FOR_FLUSH
    row = send.envelope.row
    store_native_i64(waiting + pending.ROW, row)
    store_native_i64(waiting + pending.CONNECTION_ID, load_native_i64(row + connections.ID))
    store_native_i64(waiting + pending.OPAQUE, load_native_i64(asked + request.OPAQUE))
    store_native_i64(waiting + pending.FLAGS, flags)
    store_native_i64(waiting + pending.QUEUE_ID, send.envelope.queue_id)
    put_key(waiting, send.properties.key, send.properties.key_bytes)


@kernel
def submit(
    at_desk: int, position: int, waiting: int, slot: int, record_count: int, records_bytes: int
) -> None:
    """Publish finished records; the reactor rings the writer's bell."""
    ring = load_native_i64(at_desk + desk.SUBMIT)
    head = spsc.payload_address(ring, position)
    store_native_i32(head + submission.SLOT, slot)
    store_native_i32(head + submission.COUNT, record_count)
    store_native_i32(head + submission.RECORDS_BYTES, records_bytes)
    store_native_i32(head + submission.RECORDS_BYTES + 4, 0)
    store_native_i64(waiting + pending.RECORD_COUNT, record_count)
    store_native_i64(waiting + pending.RECORDS_BYTES, records_bytes)
    tag = load_native_i64(waiting + pending.TAG)
    payload_bytes = submission.HEAD_SIZE + records_bytes
    spsc.publish(ring, spsc.fill_head(ring, position, payload_bytes, submission.SUBMISSION, tag))
    store_native_i64(at_desk + desk.HAS_SUBMITTED, 1)


@kernel
def _optional_int32(asked: int, field_id: int) -> tuple[bool, int]:
    """The number of a field, 0 where it is absent or empty; False where it is there and none."""
    _, text_bytes = field(asked, field_id)
    if text_bytes <= 0:
        return True, 0
    return int32_of(asked, field_id)


@kernel
def _is_key_plain(properties: Properties) -> bool:
    """Whether the unique key, if there is one, can be kept, and stands in any answer as it is."""
    if properties.key_bytes == ABSENT:
        return True
    if properties.key_bytes > pending.KEY_BYTES_MAX:
        return False
    at = properties.key
    end = at + properties.key_bytes
    while at < end:
        stops = json_stops(at)
        if stops != 0 and at + lowest_bit(stops) < end:
            return False
        at += LANES
    return True
