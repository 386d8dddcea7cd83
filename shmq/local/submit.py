"""Kernels: records encoded where the writer takes them, submissions published, answers taken in.

A record is complete when it is published, checksum and all, but for what only the writer knows; so the one
process that everybody shares copies it and no more. A batch goes as submissions of up to 64 messages or
64 KiB, each for one queue, in turn. Whatever a kernel cannot do (no room, the broker stops, a topic changed)
it says by a name, having published whole submissions and nothing else.

Here is the claim in the ring, the encoding in place, one release of the ring's cursor. Whoever dies before
the release has sent nothing.
"""

from typing import Final

from shmq.jit import entry, kernel
from shmq.local import desk as d
from shmq.memory.atomics import load_acquire, load_relaxed
from shmq.memory.block import copy
from shmq.memory.crc32 import crc32
from shmq.memory.endian import (
    load_native_i32,
    load_native_i64,
    store_i32,
    store_i64,
    store_native_i32,
    store_native_i64,
)
from shmq.memory.syscalls import wall_ns
from shmq.ring import spsc
from shmq.ring.doorbell import ring_bell
from shmq.ring.header import CONSUMED, PRODUCED
from shmq.shared import submission
from shmq.shared.header import RUNNING
from shmq.store import record

# What a kernel answers instead of a number of messages.
FULL: Final = -1
"""The ring to the writer has no room just now."""
LOST: Final = -2
"""The broker stops, or is gone."""
STALE: Final = -3
"""Topics have changed: the template must be looked at again."""
ILLEGAL: Final = -4
"""The body is empty, or longer than any that goes."""
UNANSWERED: Final = -5
"""Sent, and the answer has not come within the spins."""

BATCH_MESSAGES_MAX: Final = 64
BATCH_BYTES_MAX: Final = 64 * 1024
COLLECT_EVERY: Final = 256
ANY_QUEUE: Final = -1

_LINES_EXPECTED: Final = 5
"""A submission of a small message, whose sender waits for each and so has the time to fetch them for the next."""
_MASK_31: Final = 0x7FFF_FFFF


@entry
def check(template: int) -> int:
    """Whether anything can be sent now: 0, LOST or STALE."""
    desk = load_native_i64(template + d.OWN_DESK)
    if load_acquire(load_native_i64(desk + d.STATE)) != RUNNING:
        return LOST
    changes = load_acquire(load_native_i64(desk + d.METADATA))  # pairs with LocalSessions.note_metadata()
    return 0 if changes == load_native_i64(template + d.METADATA_SEEN) else STALE


@entry
def submit_one(template: int, body: int, body_bytes: int, queue: int, wanted: int) -> int:
    """Send one message to a queue, or ANY_QUEUE; return 1, FULL, LOST, STALE or ILLEGAL."""
    checked = check(template)
    if checked < 0:
        return checked
    position = claim(template, body_bytes)
    if position < 0:
        return position
    desk = load_native_i64(template + d.OWN_DESK)
    payload = _payload(desk, position)
    copy(body_address(template, payload), body, body_bytes)
    finish_one(template, payload, body_bytes, _queue(template, queue))
    _publish(template, position, 1, wanted)
    return 1


@entry
def claim(template: int, body_bytes: int) -> int:
    """Room for a submission of one message: its position, FULL or ILLEGAL."""
    if body_bytes < 1 or body_bytes > load_native_i64(template + d.BODY_BYTES_MAX):
        return ILLEGAL
    size = submission.HEAD_SIZE + _fixed_bytes(template) + body_bytes
    return _claim(load_native_i64(template + d.OWN_DESK), size)


@entry
def claimed_payload(template: int, position: int) -> int:
    """Where the submission at a claimed position lies."""
    return _payload(load_native_i64(template + d.OWN_DESK), position)


@entry
def body_address(template: int, payload: int) -> int:
    """Where the body of a submission's first record lies."""
    return payload + submission.HEAD_SIZE + load_native_i64(template + d.HEAD_BYTES)


@kernel
def finish_one(template: int, payload: int, body_bytes: int, queue: int) -> None:
    """Write everything of a submission but its one body, which is in place."""
    desk = load_native_i64(template + d.OWN_DESK)
    begin = payload + submission.HEAD_SIZE
    size = _encode(template, begin, body_bytes, queue, _now_ms(desk))
    _fill_submission(template, payload, queue, 1, size)


@entry
def publish_claimed(template: int, position: int, queue: int, body_bytes: int, wanted: int) -> int:
    """Publish a claimed submission whose body is in place; return 1, LOST or STALE."""
    checked = check(template)
    if checked < 0:
        return checked
    payload = claimed_payload(template, position)
    finish_one(template, payload, body_bytes, _queue(template, queue))
    _publish(template, position, 1, wanted)
    return 1


@entry
def submit_rows(template: int, rows: int, stride: int, offsets: int, count: int, queue: int) -> int:
    """Send bodies that lie in memory in order; note in DONE how many went, and return 0 or why not all.

    Args:
        template: what they have in common.
        rows: where the first begins.
        stride: how long each is, where `offsets` is 0.
        offsets: else where count + 1 int64 offsets from `rows` lie: each body ends where the next begins.
        count: how many.
        queue: for all of them, or ANY_QUEUE.
    """
    done = load_native_i64(template + d.DONE)
    fixed_bytes = _fixed_bytes(template)
    longest = load_native_i64(template + d.BODY_BYTES_MAX)
    outcome = 0
    while done < count and outcome == 0:
        batch = 0
        size = 0
        while batch < BATCH_MESSAGES_MAX and done + batch < count:
            body_bytes = _row_bytes(stride, offsets, done + batch)
            if body_bytes < 1 or body_bytes > longest:
                outcome = ILLEGAL
                break
            if batch > 0 and size + fixed_bytes + body_bytes > BATCH_BYTES_MAX:
                break
            size += fixed_bytes + body_bytes
            batch += 1
        if batch > 0:
            sent = _submit_batch(template, rows, stride, offsets, done, batch, size, queue)
            if sent < 0:
                outcome = sent
            else:
                done += batch
    store_native_i64(template + d.DONE, done)
    return outcome


@kernel
def open_batch(template: int, size: int) -> int:
    """Room for a submission of records of this length together: its position, FULL, LOST or STALE."""
    checked = check(template)
    if checked < 0:
        return checked
    return _claim(load_native_i64(template + d.OWN_DESK), submission.HEAD_SIZE + size)


@kernel
def first_record(template: int, position: int) -> int:
    """Where the first record of a claimed submission goes."""
    return claimed_payload(template, position) + submission.HEAD_SIZE


@kernel
def encode_next(template: int, target: int, body: int, body_bytes: int, queue: int, now_ms: int) -> int:
    """Write one record of a batch; return its size."""
    copy(target + load_native_i64(template + d.HEAD_BYTES), body, body_bytes)
    return _encode(template, target, body_bytes, queue, now_ms)


@kernel
def close_batch(template: int, position: int, queue: int, count: int, size: int) -> None:
    """Publish a batch whose records are all written."""
    _fill_submission(template, claimed_payload(template, position), queue, count, size)
    _publish(template, position, count, 0)


@kernel
def batch_queue(template: int, queue: int) -> int:
    """The queue of the next submission: the one asked for, or whose turn it is."""
    return _queue(template, queue)


@kernel
def fixed_bytes(template: int) -> int:
    """What a record has beside its body."""
    return _fixed_bytes(template)


@kernel
def now_ms(template: int) -> int:
    """Milliseconds since 1970."""
    return _now_ms(load_native_i64(template + d.OWN_DESK))


@entry
def await_answer(desk: int) -> int:
    """Look for the answer to the last submission, for so many spins; 0, or UNANSWERED."""
    serial = load_native_i64(desk + d.SERIAL)
    completions = load_native_i64(desk + d.COMPLETIONS)
    for _ in range(load_native_i64(desk + d.SPINS)):
        if load_acquire(completions + PRODUCED) != load_relaxed(completions + CONSUMED):
            collect(desk)
            if load_native_i64(desk + d.ANSWERED) >= serial:
                ring, capacity = load_native_i64(desk + d.RING), load_native_i64(desk + d.CAPACITY)
                spsc.take_ahead(ring, capacity, spsc.produced_position(ring), _LINES_EXPECTED)
                return 0
    return UNANSWERED


@entry
def collect(desk: int) -> int:
    """Take in what the writer has answered, as far as there is room to note it; return how many messages.

    After a crash of the writer an answer may come twice: what is answered already is passed over.
    """
    ring = load_native_i64(desk + d.COMPLETIONS)
    capacity = load_native_i64(desk + d.COMPLETIONS_CAPACITY)
    begin = consumed = spsc.consumed_position(ring)
    answered = load_native_i64(desk + d.ANSWERED)
    messages = 0
    while load_native_i64(desk + d.ANSWERS_COUNT) < d.ANSWERS_MAX:
        found = spsc.peek_within(ring, capacity, consumed)
        if found.position < 0:
            break
        consumed = found.position + spsc.space_of(found.size_bytes)
        serial = found.tag >> d.SERIAL_SHIFT
        if serial > answered:
            answered = serial
            messages += _take_in(desk, found.address, found.tag)
    if consumed != begin:
        store_native_i64(desk + d.ANSWERED, answered)
        store_native_i64(desk + d.MESSAGES_ANSWERED, load_native_i64(desk + d.MESSAGES_ANSWERED) + messages)
        spsc.give_back(ring, consumed)
        if consumed - begin > capacity // 4:
            ring_bell(load_native_i64(desk + d.WRITER_BELL))  # it may have stopped for want of room here
    return messages


@kernel
def _take_in(desk: int, completion: int, tag: int) -> int:
    status = load_native_i32(completion + submission.STATUS)
    count = (tag >> d.COUNT_SHIFT) & d.COUNT_MASK
    store_native_i64(desk + d.LAST_STATUS, status)
    store_native_i64(desk + d.LAST_OFFSET, load_native_i64(completion + submission.QUEUE_OFFSET))
    store_native_i64(desk + d.LAST_POSITION, load_native_i64(completion + submission.POSITION))
    store_native_i64(desk + d.LAST_STORE_MS, load_native_i64(completion + submission.STORE_MS))
    if status != 0:
        store_native_i64(desk + d.LAST_REFUSAL, status)
        store_native_i64(desk + d.MESSAGES_REFUSED, load_native_i64(desk + d.MESSAGES_REFUSED) + count)
    if tag & d.WANTED:
        noted = load_native_i64(desk + d.ANSWERS_COUNT)
        answer = load_native_i64(desk + d.ANSWERS) + d.ANSWER_SIZE * noted
        store_native_i64(answer, tag >> d.SERIAL_SHIFT)
        store_native_i64(answer + 8, status)
        copy(answer + 16, completion + submission.QUEUE_OFFSET, 24)
        store_native_i64(desk + d.ANSWERS_COUNT, noted + 1)
    return count


@kernel
def _submit_batch(  # noqa: PLR0913, PLR0917 - what an array is
    template: int, rows: int, stride: int, offsets: int, first: int, count: int, size: int, queue: int
) -> int:
    """Send so many bodies as one submission; return 0, FULL, LOST or STALE."""
    position = open_batch(template, size)
    if position < 0:
        return position
    desk = load_native_i64(template + d.OWN_DESK)
    queue_id = _queue(template, queue)
    born_ms = _now_ms(desk)
    target = _payload(desk, position) + submission.HEAD_SIZE
    for index in range(first, first + count):
        begin = rows + stride * index
        if offsets != 0:
            begin = rows + load_native_i64(offsets + 8 * index)
        target += encode_next(template, target, begin, _row_bytes(stride, offsets, index), queue_id, born_ms)
    close_batch(template, position, queue_id, count, size)
    return 0


@kernel
def _row_bytes(stride: int, offsets: int, index: int) -> int:
    if offsets == 0:
        return stride
    return load_native_i64(offsets + 8 * index + 8) - load_native_i64(offsets + 8 * index)


@kernel
def _fixed_bytes(template: int) -> int:
    return load_native_i64(template + d.HEAD_BYTES) + load_native_i64(template + d.TAIL_BYTES)


@kernel
def _queue(template: int, queue: int) -> int:
    """The queue asked for, or the template's, or the one whose turn it is."""
    if queue == ANY_QUEUE:
        queue = load_native_i64(template + d.FIXED_QUEUE)
    if queue != ANY_QUEUE:
        return queue
    desk = load_native_i64(template + d.OWN_DESK)
    turn = load_native_i64(desk + d.QUEUE)
    if turn >= load_native_i64(template + d.QUEUE_COUNT):
        turn = 0
    store_native_i64(desk + d.QUEUE, turn + 1)
    return turn


@kernel
def _now_ms(desk: int) -> int:
    return wall_ns(desk + d.CLOCK) // 1_000_000


@kernel
def _claim(desk: int, payload_bytes: int) -> int:
    ring = load_native_i64(desk + d.RING)
    capacity = load_native_i64(desk + d.CAPACITY)
    position = spsc.claim_within(ring, capacity, spsc.produced_position(ring), payload_bytes)
    if position < 0:
        collect(desk)  # or the writer would wait for room for its answers, and we for room for submissions
    return position


@kernel
def _payload(desk: int, position: int) -> int:
    return spsc.payload_within(load_native_i64(desk + d.RING), load_native_i64(desk + d.CAPACITY), position)


@kernel
def _encode(template: int, target: int, body_bytes: int, queue_id: int, born_ms: int) -> int:
    """Write a record around its body, which is in place; return its size."""
    head_bytes = load_native_i64(template + d.HEAD_BYTES)
    tail_bytes = load_native_i64(template + d.TAIL_BYTES)
    size = head_bytes + body_bytes + tail_bytes
    body = target + head_bytes
    copy(target, load_native_i64(template + d.HEAD), head_bytes)
    copy(body + body_bytes, load_native_i64(template + d.TAIL), tail_bytes)
    store_i32(target + record.TOTAL_SIZE, size)
    store_i32(target + record.BODY_CRC, crc32(body, body_bytes) & _MASK_31)
    store_i32(target + record.QUEUE_ID, queue_id)
    store_i64(target + record.BORN_TIMESTAMP, born_ms)
    store_i32(body - 4, body_bytes)
    return size


@kernel
def _fill_submission(template: int, payload: int, queue_id: int, count: int, size: int) -> None:
    slot = load_native_i64(load_native_i64(template + d.SLOTS) + 8 * queue_id)
    store_native_i32(payload + submission.SLOT, slot)
    store_native_i32(payload + submission.COUNT, count)
    store_native_i32(payload + submission.RECORDS_BYTES, size)
    store_native_i32(payload + submission.RECORDS_BYTES + 4, 0)
    store_native_i64(load_native_i64(template + d.OWN_DESK) + d.LAST_QUEUE, queue_id)


@kernel
def _publish(template: int, position: int, count: int, wanted: int) -> None:
    """Give a filled submission its number, publish it, wake the writer; now and then look at its answers."""
    desk = load_native_i64(template + d.OWN_DESK)
    payload = _payload(desk, position)
    serial = load_native_i64(desk + d.SERIAL) + 1
    store_native_i64(desk + d.SERIAL, serial)
    store_native_i64(desk + d.MESSAGES, load_native_i64(desk + d.MESSAGES) + count)
    tag = (serial << d.SERIAL_SHIFT) | (count << d.COUNT_SHIFT) | wanted
    size = submission.HEAD_SIZE + load_native_i32(payload + submission.RECORDS_BYTES)
    after = spsc.fill_head_at(payload, position, size, submission.SUBMISSION, tag)
    spsc.publish(load_native_i64(desk + d.RING), after)
    ring_bell(load_native_i64(desk + d.WRITER_BELL))
    if serial % COLLECT_EVERY == 0:
        collect(desk)
