"""Kernel: take submissions from a ring, place them in the log, answer them.

One call commits what one ring holds, up to a bound, as one batch: records, then the answers, unpublished; then one
move of the log's end, the answers' cursor, the ring's cursor. The log's end is `appended` or, where there is a
transient pool, `wrote`. Before it moves, the intent (which sender, the cursors before and behind the batch, both ends
of the log) is stored; a successor of a writer killed anywhere compares it with the log's end and knows whether the
batch happened. `resume` is that comparison:

    intent stored, the log's end has passed it  the batch stands: publish its answers, move the ring's cursor
    anything else                               the batch never was: the ring still holds it

Nothing that a sender can write is believed, nor read twice: see `append.place` for the records, `ring/spsc.py` for
the rings. Whatever a sender does to its rings, it spoils only what is in them.

    offset  field             meaning (the writer's own page; nobody else writes it, anybody may look)
    ------  ----------------  -----------------------------------------------------------------------
         0  valid             1 while the other intent words mean something
         8  ring              index of the sender
        16  consumed_before   the ring's cursor before the batch
        24  consumed_after    and behind it
        32  answered_before   the answers' cursor before the batch
        40  answered_after    and behind it
        48  appended_after    the log's end behind the batch
        56  dirty_end         no byte of the log at or behind it was ever touched
        64  store_ms          the newest record's store time: store times never go back

Bytes between the log's end and `dirty_end` are zeroed by a successor before it appends, lest records of a batch
that never was come back to life when the store is recovered.
"""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.atomics import load_acquire, load_relaxed, prefetch_to_write, store_relaxed, store_release
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import LINE_BYTES, layout, offset_of
from shmq.ring import record as ring_record
from shmq.ring import spsc
from shmq.ring.record import BROKEN as BROKEN_RECORD
from shmq.shared import senders, submission
from shmq.store import append, record
from shmq.store.name_table import name_at
from shmq.store.position import NONE
from shmq.store.queue_table import next_address, queue_count, queue_key

PAGE_LAYOUT: Final = layout(
    128,
    valid=(0, "<i8"),
    ring=(8, "<i8"),
    consumed_before=(16, "<i8"),
    consumed_after=(24, "<i8"),
    answered_before=(32, "<i8"),
    answered_after=(40, "<i8"),
    appended_after=(48, "<i8"),
    dirty_end=(56, "<i8"),
    store_ms=(64, "<i8"),
)
PAGE_SIZE: Final = PAGE_LAYOUT.itemsize
_VALID: Final = offset_of(PAGE_LAYOUT, "valid")
_RING: Final = offset_of(PAGE_LAYOUT, "ring")
_CONSUMED_BEFORE: Final = offset_of(PAGE_LAYOUT, "consumed_before")
_CONSUMED_AFTER: Final = offset_of(PAGE_LAYOUT, "consumed_after")
_ANSWERED_BEFORE: Final = offset_of(PAGE_LAYOUT, "answered_before")
_ANSWERED_AFTER: Final = offset_of(PAGE_LAYOUT, "answered_after")
_APPENDED_AFTER: Final = offset_of(PAGE_LAYOUT, "appended_after")
DIRTY_END: Final = offset_of(PAGE_LAYOUT, "dirty_end")
STORE_MS: Final = offset_of(PAGE_LAYOUT, "store_ms")

_REFUSED: Final = 3  # PutStatus.MESSAGE_ILLEGAL

IDLE: Final = 0
"""The ring was empty, or its sender has no room for answers."""
COMMITTED: Final = 1
"""A batch was committed."""
NEEDS_FILE: Final = 2
"""The next submission does not fit the current file; a batch before it may have been committed."""

_HEAD: Final = submission.HEAD_SIZE
_ANSWER: Final = submission.COMPLETION_SIZE
_ANSWER_SPACE: Final = 48  # spsc.space_of(COMPLETION_SIZE)
_LOW: Final = 0xFFFF_FFFF
_LINES_EXPECTED: Final = 8
"""Of the log: a small record or two."""


class Places(NamedTuple):
    """Where everything lies in the writer's process.

    Attributes:
        page: the writer's page.
        end_word: the watermark that says where the log ends: `appended`, or `wrote` where there is a transient pool.
        topics: the table of topic names.
        queues: the queue table.
        segment: the bytes of the log's current file: mapped, or in the pool.
        segment_start: the position of its first byte.
        segment_bytes: its length.
    """

    page: int
    end_word: int
    topics: int
    queues: int
    segment: int
    segment_start: int
    segment_bytes: int


class _Queue(NamedTuple):
    """The queue of a submission, as the tables have it; its slot is NONE where there is no such queue."""

    slot: int
    queue_id: int
    topic: int
    topic_bytes: int
    next_word: int


class _Batch(NamedTuple):
    """The cursors of two rings before and behind a batch, the log's end behind it, its store time."""

    consumed_before: int
    consumed_after: int
    answered_before: int
    answered_after: int
    appended_after: int
    store_ms: int


@kernel
def commit(places: Places, sender: int, now_ms: int, batch_bytes_max: int) -> int:
    """Commit one batch of one sender's ring; return IDLE, COMMITTED or NEEDS_FILE."""
    ring, ring_bytes, completions, completions_bytes = _rings(sender)
    consumed = consumed_before = spsc.consumed_position(ring)
    produced = spsc.produced_position(ring)
    if produced <= consumed:
        return IDLE
    store_native_i64(sender + senders.IS_STUCK, 0)
    position = appended_before = load_relaxed(places.end_word)
    answered = answered_before = spsc.produced_position(completions)
    store_ms = max(now_ms, load_relaxed(places.page + STORE_MS))
    queue = _Queue(NONE, 0, 0, 0, 0)
    outcome = COMMITTED
    while consumed < produced and position - appended_before < batch_bytes_max:
        letter = spsc.record_within(ring, ring_bytes, consumed, produced)
        answered_next = spsc.claim_within(completions, completions_bytes, answered, _ANSWER)
        if answered_next < 0:
            store_native_i64(sender + senders.IS_STUCK, 1)
            break
        answer = spsc.payload_within(completions, completions_bytes, answered_next)
        records_bytes = _records_bytes(letter)
        queue_offset = append.BAD
        count = 0
        if records_bytes > 0:
            first = load_relaxed(letter.address + submission.SLOT)  # slot and count in one
            count = first >> 32
            if first & _LOW != queue.slot:
                queue = _find_queue(places, first & _LOW)
            if queue.slot >= 0:
                if append.fits(records_bytes, places.segment_start + places.segment_bytes - position):
                    queue_offset = _place(places, letter, count, queue, position, store_ms)
                elif append.fits(records_bytes, places.segment_bytes):
                    outcome = NEEDS_FILE
                    break
        elif letter.kind == BROKEN_RECORD:
            store_native_i64(sender + senders.IS_BROKEN, 1)
        if queue_offset == append.BAD:
            _answer(answer, letter.tag, _REFUSED, 0, position, 0)
        else:
            _answer(answer, letter.tag, count << 32, queue_offset, position, store_ms)
            position += records_bytes
        answered = answered_next + _ANSWER_SPACE
        consumed = _behind(letter, produced)
    if consumed == consumed_before:
        return outcome if outcome == NEEDS_FILE else IDLE
    batch = _Batch(consumed_before, consumed, answered_before, answered, position, store_ms)
    _conclude(places, sender, batch)
    return outcome


@entry
def refuse(places: Places, sender: int, status: int) -> int:
    """Answer all submissions of a sender with a status, storing nothing; return how many."""
    ring, ring_bytes, completions, completions_bytes = _rings(sender)
    position = load_relaxed(places.end_word)
    consumed = consumed_before = spsc.consumed_position(ring)
    produced = spsc.produced_position(ring)
    answered = answered_before = spsc.produced_position(completions)
    refused = 0
    store_native_i64(sender + senders.IS_STUCK, 0)
    while consumed < produced:
        letter = spsc.record_within(ring, ring_bytes, consumed, produced)
        answered_next = spsc.claim_within(completions, completions_bytes, answered, _ANSWER)
        if answered_next < 0:
            store_native_i64(sender + senders.IS_STUCK, 1)
            break
        answer = spsc.payload_within(completions, completions_bytes, answered_next)
        _answer(answer, letter.tag, status, 0, position, 0)
        answered = answered_next + _ANSWER_SPACE
        consumed = _behind(letter, produced)
        refused += 1
    if refused > 0:
        batch = _Batch(consumed_before, consumed, answered_before, answered, position, 0)
        _conclude(places, sender, batch)
    return refused


@entry
def close_file(places: Places) -> None:
    """Fill the rest of the current file with a blank; the log goes on in the next one."""
    position = load_relaxed(places.end_word)
    end = places.segment_start + places.segment_bytes
    if position < end:
        store_relaxed(places.page + DIRTY_END, position + record.BLANK_BYTES_MIN)
        append.place_blank(places.segment + position - places.segment_start, end - position)
        store_release(places.end_word, end)  # pairs with every reader of the log


@entry
def unfinished_ring(page: int, end_word: int) -> int:
    """The sender whose batch a dead writer had committed but not answered, or NONE."""
    if load_acquire(page + _VALID) == 0:
        return NONE
    if load_acquire(end_word) < load_relaxed(page + _APPENDED_AFTER):
        store_release(page + _VALID, 0)
        return NONE
    return load_relaxed(page + _RING)


@entry
def resume(page: int, sender: int) -> None:
    """Finish the batch that `unfinished_ring` found: its answers lie in their ring, but perhaps unpublished.

    A ring whose cursor stands elsewhere than the dead writer left it has been given to somebody else since.
    """
    ring = load_native_i64(sender + senders.RING)
    completions = load_native_i64(sender + senders.COMPLETIONS)
    answered, consumed = spsc.produced_position(completions), spsc.consumed_position(ring)
    if answered == load_relaxed(page + _ANSWERED_BEFORE):
        spsc.publish(completions, load_relaxed(page + _ANSWERED_AFTER))
    if consumed == load_relaxed(page + _CONSUMED_BEFORE):
        spsc.give_back(ring, load_relaxed(page + _CONSUMED_AFTER))
    store_release(page + _VALID, 0)


@kernel
def _rings(sender: int) -> tuple[int, int, int, int]:
    """Address and capacity of a sender's submit ring, and of its completion ring."""
    return (
        load_native_i64(sender + senders.RING),
        load_native_i64(sender + senders.RING_BYTES),
        load_native_i64(sender + senders.COMPLETIONS),
        load_native_i64(sender + senders.COMPLETIONS_BYTES),
    )


@kernel
def _records_bytes(letter: spsc.Record) -> int:
    """How long the records of a submission are; NONE where it is none, or its head says otherwise."""
    records_bytes = letter.size_bytes - _HEAD
    if letter.kind != submission.SUBMISSION or records_bytes <= 0:
        return NONE
    said = load_relaxed(letter.address + submission.RECORDS_BYTES) & _LOW
    return records_bytes if said == records_bytes else NONE


@kernel
def _behind(letter: spsc.Record, produced: int) -> int:
    """The ring's cursor behind a record; behind a broken one nothing can be found."""
    if letter.kind == BROKEN_RECORD:
        return produced & -ring_record.ALIGNMENT
    return letter.position + spsc.space_of(letter.size_bytes)


@kernel
def _find_queue(places: Places, slot: int) -> _Queue:
    if slot >= queue_count(places.queues):
        return _Queue(NONE, 0, 0, 0, 0)
    key = queue_key(places.queues, slot)
    topic, topic_bytes = name_at(places.topics, key >> 32)
    return _Queue(slot, key & _LOW, topic, topic_bytes, next_address(places.queues, slot))


@kernel
def _place(
    places: Places, letter: spsc.Record, count: int, queue: _Queue, position: int, store_ms: int
) -> int:
    """Copy a submission's records to the log; return the queue offset of the first, or BAD."""
    records_bytes = letter.size_bytes - _HEAD
    store_relaxed(places.page + DIRTY_END, position + records_bytes)
    target = places.segment + position - places.segment_start
    to = append.Destination(queue.queue_id, queue.topic, queue.topic_bytes, target, position, store_ms)
    queue_offset = load_relaxed(queue.next_word)
    after = append.place(letter.address + _HEAD, records_bytes, count, queue_offset, to)
    if after == append.BAD:
        return after
    store_relaxed(queue.next_word, after)
    return queue_offset


@kernel
def _answer(
    answer: int, tag: int, status_and_count: int, queue_offset: int, position: int, store_ms: int
) -> None:
    """Write a completion; nobody sees it before its ring is published."""
    store_native_i64(answer + submission.STATUS, status_and_count)
    store_native_i64(answer + submission.QUEUE_OFFSET, queue_offset)
    store_native_i64(answer + submission.POSITION, position)
    store_native_i64(answer + submission.STORE_MS, store_ms)
    spsc.fill_head_at(answer, 0, submission.COMPLETION_SIZE, submission.COMPLETION, tag)


@kernel
def _conclude(places: Places, sender: int, batch: _Batch) -> None:
    """Let a batch happen, letting a successor know before what is about to."""
    page = places.page
    ring = load_native_i64(sender + senders.RING)
    completions = load_native_i64(sender + senders.COMPLETIONS)
    store_relaxed(page + _RING, load_native_i64(sender + senders.INDEX))
    store_relaxed(page + _CONSUMED_BEFORE, batch.consumed_before)
    store_relaxed(page + _CONSUMED_AFTER, batch.consumed_after)
    store_relaxed(page + _ANSWERED_BEFORE, batch.answered_before)
    store_relaxed(page + _ANSWERED_AFTER, batch.answered_after)
    store_relaxed(page + _APPENDED_AFTER, batch.appended_after)
    store_release(page + _VALID, 1)
    if batch.appended_after > load_relaxed(places.end_word):
        store_relaxed(page + STORE_MS, batch.store_ms)
        store_release(places.end_word, batch.appended_after)  # pairs with every reader of the log
    spsc.publish(completions, batch.answered_after)
    spsc.give_back(ring, batch.consumed_after)
    store_release(page + _VALID, 0)
    _expect_more(places, sender, batch)


@kernel
def _expect_more(places: Places, sender: int, batch: _Batch) -> None:
    """Fetch the lines that the next batch will write, while nobody waits for this one any more."""
    target = places.segment + batch.appended_after - places.segment_start
    for line in range(_LINES_EXPECTED):
        prefetch_to_write(target + LINE_BYTES * line)
    completions = load_native_i64(sender + senders.COMPLETIONS)
    capacity = load_native_i64(sender + senders.COMPLETIONS_BYTES)
    spsc.take_ahead(completions, capacity, batch.answered_after, 1)
