"""Kernels: the commit writer's rounds over all senders, and its rest.

A call goes round and round while there is anything, so that the cost of a round is that of its messages, however
many senders they come from; `serve` waits in between as well. Both return where Python has something to do, which
is seldom: with a few requests in flight its way from one kernel to the next costs more than their messages. Senders
are woken once a round, behind one fence for all of them.

The duty (the writer's own memory):

    offset  size  field            meaning
    ------  ----  ---------------  ---------------------------------------------------------------
         0    56  places           see `commit.Places`, a word each
        56     8  senders          address of the rows of those that are polled, see `senders.py`
        64     8  sender_count     how many they are
        72    16  clock            scratch for reading clocks and for sleeping
        88     8  until_ns         return when the monotonic clock has reached this
        96     8  news             address of a word that is not 0 where the flush thread has news for Python
       104     8  changes          address of a word, another value of which is news for Python
       112     8  changes_seen     the value that it knows
       120     8  batch_bytes_max  of one ring in one round
       128     8  bell             the writer's
       136     8  follower_bell    of who waits for the log's end: dispatcher, flush thread, or the transient pool's thread
       144     8  strategy         how to rest, see `waiting.py`
       152     8  spins            looks before a sleep
       160     8  committed        batches committed by the last call
       168     8  ahead_at         address of a word: the log's end beyond which the log-ahead thread is to be woken
       176     8  flusher_bell     of the flush thread, which may want to know that the log grows again
       184     8  gates            address of the words that close the log, see `gates.py`
       192     8  closed_seen      what they said when Python looked: another answer is news for it
       200
"""

from typing import Final

from shmq.jit import entry, kernel
from shmq.memory.atomics import full_fence, load_acquire, load_relaxed
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.memory.syscalls import monotonic_ns, wall_ns
from shmq.ring import doorbell, spsc, waiting
from shmq.shared import commit, senders
from shmq.shared.gates import closed

LAYOUT: Final = layout(
    200,
    places=(0, "(7,)<i8"),
    senders=(56, "<i8"),
    sender_count=(64, "<i8"),
    clock=(72, "(2,)<i8"),
    until_ns=(88, "<i8"),
    news=(96, "<i8"),
    changes=(104, "<i8"),
    changes_seen=(112, "<i8"),
    batch_bytes_max=(120, "<i8"),
    bell=(128, "<i8"),
    follower_bell=(136, "<i8"),
    strategy=(144, "<i8"),
    spins=(152, "<i8"),
    committed=(160, "<i8"),
    ahead_at=(168, "<i8"),
    flusher_bell=(176, "<i8"),
    gates=(184, "<i8"),
    closed_seen=(192, "<i8"),
)
_SENDERS: Final = offset_of(LAYOUT, "senders")
_SENDER_COUNT: Final = offset_of(LAYOUT, "sender_count")
_CLOCK: Final = offset_of(LAYOUT, "clock")
_UNTIL_NS: Final = offset_of(LAYOUT, "until_ns")
_NEWS: Final = offset_of(LAYOUT, "news")
_CHANGES: Final = offset_of(LAYOUT, "changes")
_CHANGES_SEEN: Final = offset_of(LAYOUT, "changes_seen")
_BATCH_BYTES_MAX: Final = offset_of(LAYOUT, "batch_bytes_max")
_BELL: Final = offset_of(LAYOUT, "bell")
_FOLLOWER_BELL: Final = offset_of(LAYOUT, "follower_bell")
_STRATEGY: Final = offset_of(LAYOUT, "strategy")
_SPINS: Final = offset_of(LAYOUT, "spins")
_COMMITTED: Final = offset_of(LAYOUT, "committed")
_AHEAD_AT: Final = offset_of(LAYOUT, "ahead_at")
_FLUSHER_BELL: Final = offset_of(LAYOUT, "flusher_bell")
_GATES: Final = offset_of(LAYOUT, "gates")
_CLOSED_SEEN: Final = offset_of(LAYOUT, "closed_seen")


@entry
def go_round(duty: int) -> int:
    """Commit while there is anything; return IDLE, NEEDS_FILE, or COMMITTED where Python is wanted."""
    places = _places(duty)
    store_native_i64(duty + _COMMITTED, 0)
    while True:
        outcome = _round(places, duty, wall_ns(duty + _CLOCK) // 1_000_000)
        if outcome != commit.COMMITTED or _is_python_wanted(duty):
            return outcome
        if monotonic_ns(duty + _CLOCK) >= load_native_i64(duty + _UNTIL_NS):
            return outcome


@entry
def serve(duty: int, timeout_ns: int) -> int:
    """Wait for submissions and commit them, until Python has something to do or the time is over.

    With something to commit it is back after AWAKE_NS (`waiting.py`).

    Returns:
        What `go_round` did last.
    """
    begin_ns = monotonic_ns(duty + _CLOCK)
    until_ns = begin_ns + timeout_ns
    store_native_i64(duty + _UNTIL_NS, begin_ns + min(timeout_ns, waiting.AWAKE_NS))
    while True:
        left_ns = until_ns - monotonic_ns(duty + _CLOCK)
        if left_ns <= 0:
            return commit.IDLE
        rest(duty, left_ns)
        outcome = go_round(duty)
        if outcome != commit.IDLE or load_native_i64(duty + _COMMITTED) == 0 or _is_python_due(duty):
            return outcome
        if monotonic_ns(duty + _CLOCK) >= load_native_i64(duty + _UNTIL_NS):
            return outcome


@entry
def rest(duty: int, timeout_ns: int) -> None:
    """Wait until somebody submits, Python is wanted, or the time is over; awake, for AWAKE_NS at most."""
    for _ in range(load_native_i64(duty + _SPINS)):
        if _has_news(duty):
            return
        waiting.between_looks(waiting.BUSY_SPIN)
    strategy = load_native_i64(duty + _STRATEGY)
    if strategy == waiting.FUTEX:
        bell = load_native_i64(duty + _BELL)
        doorbell.will_sleep(bell)
        if _has_news(duty):
            doorbell.is_awake(bell)
        else:
            doorbell.sleep_at(bell, timeout_ns, duty + _CLOCK)
        return
    until_ns = monotonic_ns(duty + _CLOCK) + min(timeout_ns, waiting.AWAKE_NS)
    while monotonic_ns(duty + _CLOCK) < until_ns:
        for _ in range(waiting.LOOKS):
            if _has_news(duty):
                return
            waiting.between_looks(strategy)


@kernel
def _round(places: commit.Places, duty: int, now_ms: int) -> int:
    """Commit a batch of each ring, and wake whom that concerns."""
    rows = load_native_i64(duty + _SENDERS)
    end = rows + load_native_i64(duty + _SENDER_COUNT) * senders.SIZE
    batch_bytes_max = load_native_i64(duty + _BATCH_BYTES_MAX)
    outcome = commit.IDLE
    committed = 0
    for row in range(rows, end, senders.SIZE):
        ring = load_native_i64(row + senders.RING)
        consumed = spsc.consumed_position(ring)
        one = commit.commit(places, row, now_ms, batch_bytes_max)
        if one == commit.IDLE:
            continue
        outcome = one
        if spsc.consumed_position(ring) != consumed:
            committed += 1
            store_native_i64(row + senders.HAS_ANSWERS, 1)
        if one == commit.NEEDS_FILE:
            break
    if committed == 0:
        return outcome
    store_native_i64(duty + _COMMITTED, load_native_i64(duty + _COMMITTED) + committed)
    full_fence()  # pairs with will_sleep() of everybody whom it concerns
    for row in range(rows, end, senders.SIZE):
        if load_native_i64(row + senders.HAS_ANSWERS) != 0:
            store_native_i64(row + senders.HAS_ANSWERS, 0)
            _wake(row)
    doorbell.ring_fenced(load_native_i64(duty + _FOLLOWER_BELL))
    doorbell.ring_fenced_for(load_native_i64(duty + _FLUSHER_BELL), doorbell.APPENDED)
    return outcome


@entry
def wake_sender(row: int) -> None:
    """Wake a sender, if it sleeps."""
    full_fence()  # pairs with its will_sleep()
    _wake(row)


@kernel
def _wake(row: int) -> None:
    """As wake_sender, behind a fence of the caller's."""
    bell = load_native_i64(row + senders.BELL)
    if load_native_i64(row + senders.IS_STRANGER) != 0:
        doorbell.ring_stranger_fenced(bell)
    else:
        doorbell.ring_fenced(bell)


@kernel
def _is_python_wanted(duty: int) -> bool:
    if load_acquire(load_native_i64(duty + _NEWS)) != 0:  # pairs with the flush thread's store
        return True
    if closed(load_native_i64(duty + _GATES)) != load_native_i64(duty + _CLOSED_SEEN):
        return True
    return load_acquire(load_native_i64(duty + _CHANGES)) != load_native_i64(duty + _CHANGES_SEEN)


@kernel
def _is_python_due(duty: int) -> bool:
    """Whether the last round has left anything to Python: a sender to be looked at, or pages to be asked for."""
    row = load_native_i64(duty + _SENDERS)
    for _ in range(load_native_i64(duty + _SENDER_COUNT)):
        if load_native_i64(row + senders.IS_STUCK) != 0 or load_native_i64(row + senders.IS_BROKEN) != 0:
            return True
        row += senders.SIZE
    end = load_relaxed(_places(duty).end_word)
    return end > load_relaxed(load_native_i64(duty + _AHEAD_AT)) or _is_python_wanted(duty)


@kernel
def _has_news(duty: int) -> bool:
    """Whether anything has been submitted that can be taken, or Python is wanted."""
    row = load_native_i64(duty + _SENDERS)
    for _ in range(load_native_i64(duty + _SENDER_COUNT)):
        if load_native_i64(row + senders.IS_STUCK) == 0 and not spsc.is_empty(
            load_native_i64(row + senders.RING)
        ):
            return True
        row += senders.SIZE
    return _is_python_wanted(duty)


@kernel
def _places(duty: int) -> commit.Places:
    return commit.Places(
        load_native_i64(duty),
        load_native_i64(duty + 8),
        load_native_i64(duty + 16),
        load_native_i64(duty + 24),
        load_native_i64(duty + 32),
        load_native_i64(duty + 40),
        load_native_i64(duty + 48),
    )
