"""Kernel: take submissions from a ring, place them in the log, answer them.

One call commits what one ring holds, up to a bound, as one batch: records, then one move of `appended`, then
the completions, then the ring's cursor. Before `appended` moves, the intent (which ring, both cursors, both
ends of the log) is stored; a successor of a writer killed anywhere compares it with `appended` and knows
whether the batch happened. `resume` is that comparison:

    intent stored, `appended` passed its end    the batch stands: answer it (again), move the cursor
    anything else                               the batch never was: the ring still holds it

    offset  field            meaning (the writer's own page; nobody else writes it, anybody may look)
    ------  ---------------  ------------------------------------------------------------------------
         0  valid            1 while the other intent words mean something
         8  ring             index of the sender
        16  consumed_after   the ring's cursor behind the batch
        24  appended_before  the log's end before it
        32  appended_after   and behind it
        40  dirty_end        no byte of the log at or behind it was ever touched
        48  store_ms         the newest record's store time: store times never go back
        56  refusal          the status with which the whole batch is refused, or 0

Bytes between `appended` and `dirty_end` are zeroed by a successor before it appends, lest records of a batch
that never was come back to life when the store is recovered.
"""

from typing import Final, NamedTuple

from shmq.jit import kernel
from shmq.memory.atomics import load_acquire, load_relaxed, store_relaxed, store_release
from shmq.memory.block import equal
from shmq.memory.endian import load_i32, load_i64, load_native_i32, store_native_i32, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.ring import spsc
from shmq.shared import submission
from shmq.store import append, record
from shmq.store.name_table import is_name
from shmq.store.queue_table import next_address, queue_count, queue_key
from shmq.store.watermarks import APPENDED

PAGE_LAYOUT: Final = layout(
    128,
    valid=(0, "<i8"),
    ring=(8, "<i8"),
    consumed_after=(16, "<i8"),
    appended_before=(24, "<i8"),
    appended_after=(32, "<i8"),
    dirty_end=(40, "<i8"),
    store_ms=(48, "<i8"),
    refusal=(56, "<i8"),
)
PAGE_SIZE: Final = PAGE_LAYOUT.itemsize
_VALID: Final = offset_of(PAGE_LAYOUT, "valid")
_RING: Final = offset_of(PAGE_LAYOUT, "ring")
_CONSUMED_AFTER: Final = offset_of(PAGE_LAYOUT, "consumed_after")
APPENDED_BEFORE: Final = offset_of(PAGE_LAYOUT, "appended_before")
_APPENDED_AFTER: Final = offset_of(PAGE_LAYOUT, "appended_after")
DIRTY_END: Final = offset_of(PAGE_LAYOUT, "dirty_end")
STORE_MS: Final = offset_of(PAGE_LAYOUT, "store_ms")
_REFUSAL: Final = offset_of(PAGE_LAYOUT, "refusal")

_STORED: Final = 0
_REFUSED: Final = 3  # PutStatus.MESSAGE_ILLEGAL

IDLE: Final = 0
"""The ring was empty, or its sender has no room for answers."""
COMMITTED: Final = 1
"""A batch was committed."""
NEEDS_FILE: Final = 2
"""The next submission does not fit the current file; a batch before it may have been committed."""


class Places(NamedTuple):
    """Where everything lies in the writer's process.

    Attributes:
        page: the writer's page.
        watermarks: the watermarks.
        topics: the table of topic names.
        queues: the queue table.
        segment: the mapped bytes of the log's current file.
        segment_start: the position of its first byte.
        segment_bytes: its length.
    """

    page: int
    watermarks: int
    topics: int
    queues: int
    segment: int
    segment_start: int
    segment_bytes: int


@kernel
def commit(
    places: Places, sender: int, ring: int, completions: int, now_ms: int, batch_bytes_max: int
) -> int:
    """Commit one batch of one ring; return IDLE, COMMITTED or NEEDS_FILE."""
    position = appended_before = load_relaxed(places.watermarks + APPENDED)
    room_end = places.segment_start + places.segment_bytes
    consumed = consumed_before = spsc.consumed_position(ring)
    answered = spsc.produced_position(completions)
    store_ms = max(now_ms, load_relaxed(places.page + STORE_MS))
    outcome = COMMITTED
    while position - appended_before < batch_bytes_max:
        letter = spsc.peek(ring, consumed)
        if letter.position < 0:
            break
        answer = _claim_answer(completions, answered)
        if answer < 0:
            break
        head = letter.address
        records_bytes = load_native_i32(head + submission.RECORDS_BYTES)
        count = load_native_i32(head + submission.COUNT)
        queue_offset = 0
        status = _judge(places, letter.kind, letter.size_bytes, head)
        if status == _STORED and not append.fits(records_bytes, room_end - position):
            if append.fits(records_bytes, places.segment_bytes):
                outcome = NEEDS_FILE
                break
            status = _REFUSED
        if status == _STORED:
            queue_offset = _place(places, head, position, store_ms)
        else:
            records_bytes = count = 0
        answered = _answer(completions, answer, letter.tag, status, count, queue_offset)
        _answer_place(completions, answer, position, store_ms if status == _STORED else 0)
        position += records_bytes
        consumed = letter.position + spsc.space_of(letter.size_bytes)
    if consumed == consumed_before:
        return outcome if outcome == NEEDS_FILE else IDLE
    _note_intent(places, sender, consumed, position, 0)
    if position > appended_before:
        store_relaxed(places.page + STORE_MS, store_ms)
        store_release(places.watermarks + APPENDED, position)  # pairs with every reader of the log
    spsc.publish(completions, answered)
    spsc.give_back(ring, consumed)
    store_release(places.page + _VALID, 0)
    return outcome


@kernel
def refuse(places: Places, sender: int, ring: int, completions: int, status: int) -> int:
    """Answer all submissions of a ring with a status, storing nothing; return how many."""
    position = load_relaxed(places.watermarks + APPENDED)
    consumed = spsc.consumed_position(ring)
    answered = spsc.produced_position(completions)
    refused = 0
    while True:
        letter = spsc.peek(ring, consumed)
        if letter.position < 0:
            break
        answer = _claim_answer(completions, answered)
        if answer < 0:
            break
        answered = _answer(completions, answer, letter.tag, status, 0, 0)
        _answer_place(completions, answer, position, 0)
        consumed = letter.position + spsc.space_of(letter.size_bytes)
        refused += 1
    if refused > 0:
        _note_intent(places, sender, consumed, position, status)
        spsc.publish(completions, answered)
        spsc.give_back(ring, consumed)
        store_release(places.page + _VALID, 0)
    return refused


@kernel
def close_file(places: Places) -> None:
    """Fill the rest of the current file with a blank; the log goes on in the next one."""
    position = load_relaxed(places.watermarks + APPENDED)
    end = places.segment_start + places.segment_bytes
    if position < end:
        store_relaxed(places.page + DIRTY_END, position + record.BLANK_BYTES_MIN)
        append.place_blank(places.segment + position - places.segment_start, end - position)
        store_release(places.watermarks + APPENDED, end)  # pairs with every reader of the log


@kernel
def unfinished_ring(page: int, watermarks: int) -> int:
    """The sender whose batch a dead writer had committed but not answered, or -1."""
    if load_acquire(page + _VALID) == 0:
        return -1
    if load_acquire(watermarks + APPENDED) < load_relaxed(page + _APPENDED_AFTER):
        store_release(page + _VALID, 0)
        return -1
    return load_relaxed(page + _RING)


@kernel
def resume(places: Places, ring: int, completions: int) -> bool:
    """Answer the batch that `unfinished_ring` found; False where the sender has no room for answers yet.

    The batch began in the file that `places.segment` maps, since no batch spans files.
    """
    position = load_relaxed(places.page + APPENDED_BEFORE)
    end = load_relaxed(places.page + _CONSUMED_AFTER)
    consumed = spsc.consumed_position(ring)
    answered = spsc.produced_position(completions)
    while consumed < end:
        letter = spsc.peek(ring, consumed)
        answer = _claim_answer(completions, answered)
        if answer < 0:
            return False
        head = letter.address
        records_bytes = load_native_i32(head + submission.RECORDS_BYTES)
        count = load_native_i32(head + submission.COUNT)
        status = load_relaxed(places.page + _REFUSAL)
        if status == 0:
            status = _judge(places, letter.kind, letter.size_bytes, head)
        if status == _STORED and not _is_placed(places, position, head + submission.HEAD_SIZE, records_bytes):
            status = _REFUSED  # as it was then: its queue may exist only by now
        queue_offset = 0
        store_ms = 0
        if status == _STORED:
            stored = places.segment + position - places.segment_start
            queue_offset = load_i64(stored + record.QUEUE_OFFSET)
            store_ms = record.store_timestamp(stored)
        else:
            records_bytes = count = 0
        answered = _answer(completions, answer, letter.tag, status, count, queue_offset)
        _answer_place(completions, answer, position, store_ms)
        position += records_bytes
        consumed = letter.position + spsc.space_of(letter.size_bytes)
    spsc.publish(completions, answered)
    spsc.give_back(ring, consumed)
    store_release(places.page + _VALID, 0)
    return True


@kernel
def _judge(places: Places, kind: int, size_bytes: int, head: int) -> int:
    """Whether a submission is whole and its records are for the queue that it names."""
    if kind != submission.SUBMISSION or size_bytes < submission.HEAD_SIZE:
        return _REFUSED
    records_bytes = load_native_i32(head + submission.RECORDS_BYTES)
    slot = load_native_i32(head + submission.SLOT)
    count = load_native_i32(head + submission.COUNT)
    if records_bytes <= 0 or records_bytes != size_bytes - submission.HEAD_SIZE or count <= 0 or slot < 0:
        return _REFUSED
    if slot >= queue_count(places.queues):
        return _REFUSED
    key = queue_key(places.queues, slot)
    records = head + submission.HEAD_SIZE
    if not append.judge(records, records_bytes, count, key & 0xFFFFFFFF):
        return _REFUSED
    at = 0
    for _ in range(count):
        topic, topic_bytes = record.topic_at(records + at)
        if not is_name(places.topics, key >> 32, records + at + topic, topic_bytes):
            return _REFUSED
        at += load_i32(records + at)
    return _STORED


@kernel
def _place(places: Places, head: int, position: int, store_ms: int) -> int:
    """Copy a judged submission to the log; return the queue offset of its first record."""
    store_relaxed(places.page + DIRTY_END, position + load_native_i32(head + submission.RECORDS_BYTES))
    next_word = next_address(places.queues, load_native_i32(head + submission.SLOT))
    queue_offset = load_relaxed(next_word)
    count = load_native_i32(head + submission.COUNT)
    target = places.segment + position - places.segment_start
    source = head + submission.HEAD_SIZE
    store_relaxed(next_word, append.place(source, target, count, position, queue_offset, store_ms))
    return queue_offset


@kernel
def _is_placed(places: Places, position: int, records: int, records_bytes: int) -> bool:
    """Whether the batch that is resumed placed these judged records here."""
    if position + records_bytes > load_relaxed(places.page + _APPENDED_AFTER):
        return False
    stored = places.segment + position - places.segment_start
    return equal(stored, records, record.QUEUE_OFFSET)  # size, magic, checksum, queue, flag


@kernel
def _note_intent(places: Places, sender: int, consumed_after: int, appended_after: int, refusal: int) -> None:
    """Let a successor know what is about to happen to a ring and to the log."""
    store_relaxed(places.page + _RING, sender)
    store_relaxed(places.page + _CONSUMED_AFTER, consumed_after)
    store_relaxed(places.page + APPENDED_BEFORE, load_relaxed(places.watermarks + APPENDED))
    store_relaxed(places.page + _APPENDED_AFTER, appended_after)
    store_relaxed(places.page + _REFUSAL, refusal)
    store_release(places.page + _VALID, 1)


@kernel
def _claim_answer(completions: int, answered: int) -> int:
    """Room for one more completion behind those not published yet: its position, or NONE."""
    # claim() reckons from the published cursor; the answers of this batch lie behind it, unpublished.
    return spsc.claim_after(completions, answered, submission.COMPLETION_SIZE)


@kernel
def _answer(completions: int, answer: int, tag: int, status: int, count: int, queue_offset: int) -> int:
    address = spsc.payload_address(completions, answer)
    store_native_i32(address + submission.STATUS, status)
    store_native_i32(address + submission.COMPLETION_COUNT, count)
    store_native_i64(address + submission.QUEUE_OFFSET, queue_offset)
    return spsc.fill_head(completions, answer, submission.COMPLETION_SIZE, submission.COMPLETION, tag)


@kernel
def _answer_place(completions: int, answer: int, position: int, store_ms: int) -> None:
    address = spsc.payload_address(completions, answer)
    store_native_i64(address + submission.POSITION, position)
    store_native_i64(address + submission.STORE_MS, store_ms)
