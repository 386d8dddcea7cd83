"""Layout and kernels: completions, in the order in which they come: answers out of them, when they may go.

Under SYNC_FLUSH the answer to a producer that wants to know that its message is safe waits until `flushed` has passed
the message's end, or until its deadline, and then says so. Completions of Python's own submissions are copied to a
list that Python empties; while that is full, none behind them is read.

The foreign list, which the desk points to:

    offset  size  field  meaning
    ------  ----  -----  -------------------------------------------------
         0     8  count  of completions that Python has not taken
        64        the completions: the tag (8 bytes), then as `shared.submission` has them
"""

from typing import Final

from shmq.fastpath import desk, pending
from shmq.fastpath.pending import await_flush, end_wait, find_row, first_unflushed, give_row_back
from shmq.fastpath.send_answers import FLUSH_DISK_TIMEOUT, SUCCESS, answer_refused, answer_stored
from shmq.jit import kernel, kernel_apart
from shmq.memory.atomics import load_acquire
from shmq.memory.block import copy
from shmq.memory.endian import load_native_i32, load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.ring import header, spsc
from shmq.ring.doorbell import ring_bell
from shmq.shared import submission
from shmq.store.position import NONE
from shmq.store.watermarks import FLUSHED

FOREIGN_LAYOUT: Final = layout(64, count=(0, "<i8"))
FOREIGN_COUNT: Final = offset_of(FOREIGN_LAYOUT, "count")
FOREIGN_AT: Final = FOREIGN_LAYOUT.itemsize
FOREIGN_BYTES: Final = 8 + submission.COMPLETION_SIZE
FOREIGN_MAX: Final = 1024
FOREIGN_LIST_BYTES: Final = FOREIGN_AT + FOREIGN_BYTES * FOREIGN_MAX

_STORED: Final = 0


@kernel_apart
def collect(at_desk: int) -> int:
    """Read what the writer has completed; return how many requests are answered now."""
    ring = load_native_i64(at_desk + desk.COMPLETIONS)
    waiting_rows = load_native_i64(at_desk + desk.PENDING)
    begin = consumed = spsc.consumed_position(ring)
    answered = 0
    while True:
        letter = spsc.peek(ring, consumed)
        if letter.position < 0:
            break
        if letter.tag & pending.FAST == 0:
            if not _note_foreign(load_native_i64(at_desk + desk.FOREIGN), letter.tag, letter.address):
                break
        else:
            waiting = find_row(waiting_rows, letter.tag)
            if waiting != NONE:  # else a predecessor's, or answered before a writer died
                answered += _complete(at_desk, waiting, letter.address)
        consumed = letter.position + spsc.space_of(letter.size_bytes)
    if consumed != begin:
        # The writer stops for want of room in a full ring alone, so that it need not be woken for less than half.
        was_crowded = 2 * (spsc.produced_position(ring) - begin) > load_native_i64(ring + header.CAPACITY)
        spsc.give_back(ring, consumed)
        if was_crowded:
            ring_bell(load_native_i64(at_desk + desk.WRITER_BELL))
    return answered


@kernel
def release_flushed(at_desk: int) -> int:
    """Let the answers go whose messages are on disk by now, or which have waited for too long; return how many."""
    waiting_rows = load_native_i64(at_desk + desk.PENDING)
    waiting = first_unflushed(waiting_rows)
    if waiting == 0:
        return 0
    flushed = load_acquire(
        load_native_i64(at_desk + desk.WATERMARKS) + FLUSHED
    )  # pairs with the flush thread
    now_ms = load_native_i64(at_desk + desk.NOW_MS)
    released = 0
    while waiting != 0:
        code = SUCCESS
        if _end_of(waiting) > flushed:
            if load_native_i64(waiting + pending.DEADLINE_MS) > now_ms:
                break
            code = FLUSH_DISK_TIMEOUT
        end_wait(waiting_rows)
        released += answer_stored(at_desk, waiting, code)
        give_row_back(waiting_rows, waiting)
        waiting = first_unflushed(waiting_rows)
    return released


@kernel
def flush_deadline_ms(at_desk: int) -> int:
    """When the first answer that waits for the flush must go, or NONE."""
    waiting = first_unflushed(load_native_i64(at_desk + desk.PENDING))
    if waiting == 0:
        return NONE
    return load_native_i64(waiting + pending.DEADLINE_MS)


@kernel
def _complete(at_desk: int, waiting: int, completion: int) -> int:
    """Answer a submission, or let its answer wait for the flush; return how many requests are answered by that."""
    waiting_rows = load_native_i64(at_desk + desk.PENDING)
    status = load_native_i32(completion + submission.STATUS)
    if status != _STORED:
        answered = answer_refused(at_desk, waiting, status)
        give_row_back(waiting_rows, waiting)
        return answered
    store_native_i64(waiting + pending.QUEUE_OFFSET, load_native_i64(completion + submission.QUEUE_OFFSET))
    store_native_i64(waiting + pending.POSITION, load_native_i64(completion + submission.POSITION))
    is_awaited = load_native_i64(waiting + pending.FLAGS) & pending.WAITS_FOR_FLUSH != 0
    if is_awaited and load_native_i64(at_desk + desk.IS_SYNC_FLUSH) != 0:
        deadline_ms = load_native_i64(at_desk + desk.NOW_MS) + load_native_i64(at_desk + desk.FLUSH_WAIT_MS)
        store_native_i64(waiting + pending.DEADLINE_MS, deadline_ms)
        await_flush(waiting_rows, waiting)
        return 0
    answered = answer_stored(at_desk, waiting, SUCCESS)
    give_row_back(waiting_rows, waiting)
    return answered


@kernel
def _end_of(waiting: int) -> int:
    """The end in the log of a completed submission."""
    return load_native_i64(waiting + pending.POSITION) + load_native_i64(waiting + pending.RECORDS_BYTES)


@kernel
def _note_foreign(foreign: int, tag: int, completion: int) -> bool:
    """Keep a completion for Python; False where there is no room."""
    count = load_native_i64(foreign + FOREIGN_COUNT)
    if count >= FOREIGN_MAX:
        return False
    at = foreign + FOREIGN_AT + FOREIGN_BYTES * count
    store_native_i64(at, tag)
    copy(at + 8, completion, submission.COMPLETION_SIZE)
    store_native_i64(foreign + FOREIGN_COUNT, count + 1)
    return True
