"""The reactor: the rounds of a network worker, in one kernel that returns when there is something for Python.

A round: who is ready, receive and serve, look at what other processes have done meanwhile, send once to each who
has an answer, wake the writer if it has something to do. Between rounds that moved nothing it waits as its
strategy says; asleep, only in epoll, and announced on the process's bell, which lies in the same epoll.

It is the one kernel that reads a clock and waits: the wall clock, once a round, for the desk, and the monotonic
one to end in time. Python must get its turn every so often for signals and heartbeats, so a call has a timeout.
"""

from typing import Final

from shmq.fastpath import completing, connections, desk, parked, parked_rows, pending
from shmq.jit import entry, kernel
from shmq.memory import epoll
from shmq.memory.atomics import load_acquire
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.syscalls import monotonic_ns, wall_ns
from shmq.ring import doorbell, spsc, waiting
from shmq.store import watermarks
from shmq.store.position import NONE
from shmq.workers import reactor_state
from shmq.workers.reactor_input import hand_up_or_end, take_input
from shmq.workers.reactor_output import send_dirty, send_output
from shmq.workers.reactor_rows import find_row, hold_back

EVENTS_MAX: Final = 512
"""How many may be ready in one round; the others are in the next."""
BELL_DATA: Final = -1
"""What epoll says of the bell."""
FIRST_DESCRIPTOR_DATA: Final = -2
"""What epoll says of descriptor 0 of Python's; of 1 it says -3, and so on."""

_NS_PER_MS: Final = 1_000_000
_FOR_EVER_NS: Final = 1 << 62


@entry
def react(state: int, timeout_ms: int) -> None:
    """Do rounds until there is something for Python, or the time is over; one at least.

    Awake, it is back after AWAKE_NS (`ring/waiting.py`).
    """
    store_native_i64(state + reactor_state.READY_COUNT, 0)
    store_native_i64(state + reactor_state.IS_INTERRUPTED, 0)
    read_clocks(state)
    quiet_since_ns = load_native_i64(state + reactor_state.NOW_NS)
    end_ns = quiet_since_ns + timeout_ms * _NS_PER_MS
    back_ns = min(end_ns, quiet_since_ns + waiting.AWAKE_NS)
    send_dirty(state)
    sleep_ms = 0
    while True:
        moved = _sleep(state, sleep_ms) if sleep_ms > 0 else _do_round(state, _look(state, 0))
        now_ns = load_native_i64(state + reactor_state.NOW_NS)
        if now_ns >= back_ns or is_for_python(state):
            return
        sleep_ms = 0
        if moved > 0:
            quiet_since_ns = now_ns
        elif now_ns - quiet_since_ns >= _rest(state):
            sleep_ms = (end_ns - now_ns + _NS_PER_MS - 1) // _NS_PER_MS


@entry
def read_clocks(state: int) -> None:
    """Note what time it is."""
    timespec = state + reactor_state.TIMESPEC
    now_ms = wall_ns(timespec) // _NS_PER_MS
    store_native_i64(load_native_i64(state + reactor_state.DESK) + desk.NOW_MS, now_ms)
    store_native_i64(state + reactor_state.NOW_NS, monotonic_ns(timespec))


@kernel
def is_for_python(state: int) -> bool:
    """Whether there is anything that only Python can do."""
    if load_native_i64(state + reactor_state.FIRST_HANDED_UP) != 0:
        return True
    if load_native_i64(state + reactor_state.FIRST_ENDED) != 0:
        return True
    if load_native_i64(state + reactor_state.IS_INTERRUPTED) != 0:
        return True
    return load_native_i64(state + reactor_state.READY_COUNT) > 0 or _is_news_for_python(state)


@kernel
def _rest(state: int) -> int:
    """Do between two rounds what the strategy says; for how many ns of quiet there are to be more before a sleep."""
    strategy = load_native_i64(state + reactor_state.STRATEGY)
    if strategy == waiting.FUTEX:
        return load_native_i64(state + reactor_state.SPIN_NS)
    waiting.between_looks(strategy)
    return _FOR_EVER_NS


@kernel
def _is_news_for_python(state: int) -> bool:
    """Whether another process has done what Python waits for."""
    inbox = load_native_i64(state + reactor_state.INBOX)
    if inbox != 0 and not spsc.is_empty(inbox):
        return True
    at_desk = load_native_i64(state + reactor_state.DESK)
    foreign = load_native_i64(at_desk + desk.FOREIGN)
    if foreign != 0 and load_native_i64(foreign + completing.FOREIGN_COUNT) > 0:
        return True
    marks = load_native_i64(at_desk + desk.WATERMARKS)
    if marks == 0:
        return False
    wanted = load_native_i64(state + reactor_state.WANTED_FLUSHED)
    if wanted != reactor_state.NONE and load_acquire(marks + watermarks.FLUSHED) >= wanted:
        return True
    seen = load_native_i64(state + reactor_state.SEEN_DISPATCHED)
    return seen != reactor_state.NONE and load_acquire(marks + watermarks.DISPATCHED) != seen


@kernel
def _look(state: int, timeout_ms: int) -> int:
    """Ask epoll who is ready; how many."""
    events = load_native_i64(state + reactor_state.EVENTS)
    found = epoll.wait_for_events(
        load_native_i64(state + reactor_state.EPOLL), events, EVENTS_MAX, timeout_ms
    )
    read_clocks(state)
    if found == epoll.INTERRUPTED:
        store_native_i64(state + reactor_state.IS_INTERRUPTED, 1)
        return 0
    return found


@kernel
def _sleep(state: int, timeout_ms: int) -> int:
    """A round that begins with a sleep."""
    bell = load_native_i64(state + reactor_state.BELL)
    if bell == 0:
        return _do_round(state, _look(state, min(timeout_ms, _wait_ms(state))))
    wanted = load_native_i64(state + reactor_state.NEWS) | _news(state)
    doorbell.want(bell, wanted)
    doorbell.will_sleep(bell)
    moved = _look_at_others(state)  # a last look, now that whoever has more for us sees us asleep
    is_more_wanted = _news(state) & ~wanted != 0  # an answer has just begun to wait for the flush
    is_awake = moved > 0 or is_more_wanted or is_for_python(state)
    timeout_ms = 0 if is_awake else min(timeout_ms, _wait_ms(state))
    found = _look(state, timeout_ms)
    doorbell.is_awake(bell)
    return moved + _do_round(state, found)


@kernel
def _do_round(state: int, found: int) -> int:
    """Serve who is ready, and whom others have done something for; how much was done."""
    events = load_native_i64(state + reactor_state.EVENTS)
    for index in range(found):
        _heed(state, events + index * epoll.SIZE)
    at_desk = load_native_i64(state + reactor_state.DESK)
    if load_native_i64(at_desk + desk.HAS_SUBMITTED) != 0:
        store_native_i64(at_desk + desk.HAS_SUBMITTED, 0)
        doorbell.ring_bell(load_native_i64(at_desk + desk.WRITER_BELL))
    return found + _look_at_others(state) + send_dirty(state)


@kernel
def _look_at_others(state: int) -> int:
    """Look at what the other processes have done for connections of ours; how much that was."""
    at_desk = load_native_i64(state + reactor_state.DESK)
    if load_native_i64(at_desk + desk.REQUEST) == 0:
        return 0  # there is no fast path
    moved = completing.collect(at_desk) + completing.release_flushed(at_desk)
    moved += parked.look_at_parked(at_desk)
    waiting = parked_rows.first_handed_up(at_desk)
    while waiting != 0:
        row = load_native_i64(waiting + parked_rows.CONNECTION)
        if load_native_i64(row + connections.ID) == load_native_i64(waiting + parked_rows.CONNECTION_ID):
            frame = load_native_i64(waiting + parked_rows.FRAME)
            hand_up_or_end(state, row, frame, load_native_i64(waiting + parked_rows.FRAME_BYTES))
        parked_rows.drop_handed_up(at_desk)
        waiting = parked_rows.first_handed_up(at_desk)
    return moved


@kernel
def _news(state: int) -> int:
    """For which news of other processes the fast path wants to be woken, the doorbell's bits."""
    at_desk = load_native_i64(state + reactor_state.DESK)
    news = 0
    if load_native_i64(at_desk + desk.REQUEST) != 0:
        if pending.first_unflushed(load_native_i64(at_desk + desk.PENDING)) != 0:
            news |= doorbell.FLUSHED
        if parked.parked_count(at_desk) > 0:
            news |= doorbell.DISPATCHED
    return news


@kernel
def _wait_ms(state: int) -> int:
    """How long the fast path may sleep until one of its deadlines."""
    at_desk = load_native_i64(state + reactor_state.DESK)
    if load_native_i64(at_desk + desk.REQUEST) == 0:
        return parked.NEVER_MS
    deadline_ms = parked.next_deadline_ms(at_desk)
    flush_deadline_ms = completing.flush_deadline_ms(at_desk)
    if flush_deadline_ms != NONE:
        deadline_ms = min(deadline_ms, flush_deadline_ms)
    return max(deadline_ms - load_native_i64(at_desk + desk.NOW_MS), 0)


@kernel
def _heed(state: int, event: int) -> None:
    """Do what a descriptor is ready for."""
    data = epoll.data_of(event)
    if data == BELL_DATA:
        return  # what it was rung for is looked at in every round
    if data <= FIRST_DESCRIPTOR_DATA:
        count = load_native_i64(state + reactor_state.READY_COUNT)  # of this round: there is room for all
        store_native_i64(
            load_native_i64(state + reactor_state.READY) + 8 * count, FIRST_DESCRIPTOR_DATA - data
        )
        store_native_i64(state + reactor_state.READY_COUNT, count + 1)
        return
    row = find_row(state, data)
    if row == 0:
        return  # it went away since
    events = epoll.events_of(event)
    if events & epoll.WRITABLE:
        send_output(state, row)
    if events & (epoll.READABLE | epoll.GONE) and connections.has_flag(row, connections.OPEN):
        if load_native_i64(state + reactor_state.IS_PAUSED) != 0:
            hold_back(state, row, events)
        else:
            take_input(state, row)
