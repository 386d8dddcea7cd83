"""Kernels: look at the pulls that wait: those whose queue has grown, and those whose time is over.

Called once a round. While `dispatched` stands still only the first deadline is looked at. When it has moved, the slots
that are waited for are compared with their queues' `max`, which the dispatcher stored before: one pass over words that
lie side by side, 0.6 ns each. Where thousands of queues are waited for that is done once a millisecond at most, so that
its cost does not grow with the traffic. A pull that goes on waiting stays where it is.

What turns out to be Python's is put into a list: the reactor passes each on like a frame that just came in (see
`parked_rows.first_handed_up`), with the time that is left written into it.
"""

from typing import Final

from shmq.fastpath import connections, desk
from shmq.fastpath.deadlines import first_deadline_ms, first_waiter
from shmq.fastpath.outcomes import DONE
from shmq.fastpath.parked_rows import (
    COUNT,
    HEAP,
    LOOKED_MS,
    NEXT_OF_QUEUE,
    PAST_OFFSET,
    SEEN,
    WATCH_FIRSTS,
    WATCH_PASTS,
    WATCH_SLOTS,
    WATCHES,
    hand_up,
    unpark,
)
from shmq.fastpath.pulling import WAITS, pull_again, write_time_left
from shmq.jit import kernel, kernel_apart
from shmq.memory.atomics import load_acquire
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.store.position import NONE
from shmq.store.queue_table import max_address
from shmq.store.watermarks import DISPATCHED

NEVER_MS: Final = (1 << 63) - 1

_WATCHES_MAX: Final = 4096
"""Of more queues than these, which take 2.5 us, one look a millisecond must do."""
_PASSES_MAX: Final = 64
"""How often one look goes on with a pull that finds nothing in a queue that holds more."""


@kernel_apart
def look_at_parked(at_desk: int) -> int:
    """Answer, or hand up, the pulls that need not wait any longer; return how many were looked at."""
    block = load_native_i64(at_desk + desk.PARKED)
    if load_native_i64(block + COUNT) == 0:
        return 0
    now_ms = load_native_i64(at_desk + desk.NOW_MS)
    looked = 0
    if now_ms >= _look_due_ms(at_desk, block, now_ms):
        # Pairs with Watermarks.move(): each queue's max is at least what it was then.
        store_native_i64(block + SEEN, load_acquire(load_native_i64(at_desk + desk.WATERMARKS) + DISPATCHED))
        store_native_i64(block + LOOKED_MS, now_ms)
        looked = _look_at_queues(at_desk, block)
    heap = load_native_i64(block + HEAP)
    while load_native_i64(block + COUNT) > 0 and first_deadline_ms(heap) <= now_ms:
        waiting = first_waiter(heap)
        _end(at_desk, waiting, pull_again(at_desk, waiting, 1))
        looked += 1
    return looked


@kernel
def next_deadline_ms(at_desk: int) -> int:
    """When a pull must be looked at again, whatever else happens; NEVER_MS where none waits."""
    block = load_native_i64(at_desk + desk.PARKED)
    if load_native_i64(block + COUNT) == 0:
        return NEVER_MS
    now_ms = load_native_i64(at_desk + desk.NOW_MS)
    return min(first_deadline_ms(load_native_i64(block + HEAP)), _look_due_ms(at_desk, block, now_ms))


@kernel
def parked_count(at_desk: int) -> int:
    """How many pulls wait: while any does, the dispatcher's news is wanted."""
    return load_native_i64(load_native_i64(at_desk + desk.PARKED) + COUNT)


@kernel
def forget_row(at_desk: int, row: int) -> None:
    """Drop the pulls of a connection that is closed, while its row is still its own."""
    waiting = load_native_i64(row + connections.FIRST_PARKED)
    while waiting != 0:
        unpark(at_desk, waiting)
        waiting = load_native_i64(row + connections.FIRST_PARKED)


@kernel
def _look_due_ms(at_desk: int, block: int, now_ms: int) -> int:
    """When the queues are to be looked at, as far as they are known to have grown; NEVER_MS if not at all."""
    seen = load_native_i64(block + SEEN)
    if load_acquire(load_native_i64(at_desk + desk.WATERMARKS) + DISPATCHED) == seen:
        return NEVER_MS
    is_soon = load_native_i64(block + LOOKED_MS) == now_ms and load_native_i64(block + WATCHES) > _WATCHES_MAX
    return now_ms + 1 if is_soon else now_ms


@kernel
def _look_at_queues(at_desk: int, block: int) -> int:
    """Look at the pulls of queues that have grown; return how many."""
    slots = load_native_i64(block + WATCH_SLOTS)
    pasts = load_native_i64(block + WATCH_PASTS)
    newest = max_address(load_native_i64(at_desk + desk.QUEUES), 0)
    looked = 0
    index = 0
    while index < load_native_i64(block + WATCHES):
        slot = load_native_i64(slots + 8 * index)
        if load_native_i64(newest + 8 * slot) > load_native_i64(pasts + 8 * index):
            looked += _look_at_watch(at_desk, block, index)
            if index >= load_native_i64(block + WATCHES) or load_native_i64(slots + 8 * index) != slot:
                continue  # nobody waits for it any more: another watch has its place
        index += 1
    return looked


@kernel
def _look_at_watch(at_desk: int, block: int, index: int) -> int:
    """Look at the pulls of one queue that it has grown past, and note what those that remain wait for."""
    newest = max_address(
        load_native_i64(at_desk + desk.QUEUES),
        load_native_i64(load_native_i64(block + WATCH_SLOTS) + 8 * index),
    )
    looked = 0
    past = NEVER_MS
    waiting = load_native_i64(load_native_i64(block + WATCH_FIRSTS) + 8 * index)
    while waiting != 0:
        following = load_native_i64(waiting + NEXT_OF_QUEUE)
        outcome = WAITS
        passes = 0
        while outcome == WAITS and load_acquire(newest) > load_native_i64(waiting + PAST_OFFSET):
            if passes == _PASSES_MAX:
                store_native_i64(block + SEEN, NONE)
                break
            outcome = pull_again(at_desk, waiting, 0)
            passes += 1
        looked += min(passes, 1)
        if outcome == WAITS:
            past = min(past, load_native_i64(waiting + PAST_OFFSET))
        else:
            _end(at_desk, waiting, outcome)
        waiting = following
    if past != NEVER_MS:
        store_native_i64(load_native_i64(block + WATCH_PASTS) + 8 * index, past)
    return looked


@kernel
def _end(at_desk: int, waiting: int, outcome: int) -> None:
    """Take out a pull that was answered, or that is Python's."""
    if outcome == DONE:
        unpark(at_desk, waiting)
    else:
        write_time_left(waiting, load_native_i64(at_desk + desk.NOW_MS))
        hand_up(at_desk, waiting)
