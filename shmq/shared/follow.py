"""Kernel: the dispatcher's work while nothing is odd: walk what is confirmed, publish it, wake readers, wait.

It returns where Python has something to do: a file of the log or a window to be opened, a queue that nobody knows,
processes that came or went, a signal, the time. What it could walk until then is published.

Who is woken right after he has gone to sleep will be again, and to wake him costs the writer more than a batch
does. So behind a short sleep come naps from which nobody has to wake him, until one has brought nothing; long ones
while no reader waits for what would be dispatched.

The duty (the dispatcher's own memory):

    offset  size  field           meaning
    ------  ----  --------------  ------------------------------------------------------------------
         0    80  places          see `dispatch_walk.Places`, a word each
        80     8  watermarks      address of the watermarks
        88     8  confirmed       address of the one that consumers may see up to
        96     8  segment         address of a mapped file of the log
       104     8  begin           the position of its first byte
       112     8  end             and behind its last
       120     8  listeners       address of the list of those who may wait, see `listeners.py`
       128     8  changes         address of a word, another value of which makes that list untrue
       136     8  changes_seen    the value for which it is true
       144     8  bell            the dispatcher's
       152     8  strategy        how to wait, see `waiting.py`
       160     8  spins           looks before a sleep
       168    16  clock           scratch
       184     8  schedule_topic  address of that topic's name
       192     8  schedule_bytes  its length
       200     8  store_ms        the store time of the last record that was walked
       208     8  is_napping      1: the last sleep was short
       216     8  napped_at       the position at which it last lay down
       224     8  is_untold       1: readers that the list does not have must be told of what was published
       232     8  scheduler_bell  of who delivers messages that wait for their time
       240     8  sync_at_ns      return then, by the monotonic clock, if anything was dispatched
       248     8  timer_topic     address of the name of the topic of messages with a moment of their own
       256     8  timer_bytes     its length
       264
"""

from typing import Final

from shmq.jit import entry, kernel
from shmq.memory.atomics import full_fence, load_acquire, load_relaxed, store_release
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.memory.syscalls import monotonic_ns, nap
from shmq.ring import doorbell, waiting
from shmq.shared.listeners import is_wanted, wake_for
from shmq.store import dispatch_walk
from shmq.store.name_table import find_name
from shmq.store.position import NONE
from shmq.store.watermarks import DISPATCHED

STEP_BYTES: Final = 4 * 1024 * 1024
"""So much at most is walked before it is published."""
SHORT_SLEEP_NS: Final = 30_000
NAP_NS: Final = 20_000
LONG_NAP_NS: Final = 500_000

LAYOUT: Final = layout(
    264,
    places=(0, "(10,)<i8"),
    watermarks=(80, "<i8"),
    confirmed=(88, "<i8"),
    segment=(96, "<i8"),
    begin=(104, "<i8"),
    end=(112, "<i8"),
    listeners=(120, "<i8"),
    changes=(128, "<i8"),
    changes_seen=(136, "<i8"),
    bell=(144, "<i8"),
    strategy=(152, "<i8"),
    spins=(160, "<i8"),
    clock=(168, "(2,)<i8"),
    schedule_topic=(184, "<i8"),
    schedule_bytes=(192, "<i8"),
    store_ms=(200, "<i8"),
    is_napping=(208, "<i8"),
    napped_at=(216, "<i8"),
    is_untold=(224, "<i8"),
    scheduler_bell=(232, "<i8"),
    sync_at_ns=(240, "<i8"),
    timer_topic=(248, "<i8"),
    timer_bytes=(256, "<i8"),
)
_WATERMARKS: Final = offset_of(LAYOUT, "watermarks")
_CONFIRMED: Final = offset_of(LAYOUT, "confirmed")
_SEGMENT: Final = offset_of(LAYOUT, "segment")
_BEGIN: Final = offset_of(LAYOUT, "begin")
_FILE_END: Final = offset_of(LAYOUT, "end")
_LISTENERS: Final = offset_of(LAYOUT, "listeners")
_CHANGES: Final = offset_of(LAYOUT, "changes")
_CHANGES_SEEN: Final = offset_of(LAYOUT, "changes_seen")
_BELL: Final = offset_of(LAYOUT, "bell")
_STRATEGY: Final = offset_of(LAYOUT, "strategy")
_SPINS: Final = offset_of(LAYOUT, "spins")
_CLOCK: Final = offset_of(LAYOUT, "clock")
_SCHEDULE_TOPIC: Final = offset_of(LAYOUT, "schedule_topic")
_SCHEDULE_BYTES: Final = offset_of(LAYOUT, "schedule_bytes")
_STORE_MS: Final = offset_of(LAYOUT, "store_ms")
_IS_NAPPING: Final = offset_of(LAYOUT, "is_napping")
_NAPPED_AT: Final = offset_of(LAYOUT, "napped_at")
_IS_UNTOLD: Final = offset_of(LAYOUT, "is_untold")
_SCHEDULER_BELL: Final = offset_of(LAYOUT, "scheduler_bell")
_SYNC_AT_NS: Final = offset_of(LAYOUT, "sync_at_ns")
_TIMER_TOPIC: Final = offset_of(LAYOUT, "timer_topic")
_TIMER_BYTES: Final = offset_of(LAYOUT, "timer_bytes")


@entry
def follow(duty: int, timeout_ns: int) -> None:
    """Dispatch and wait, in turn, until Python has something to do or the time is over.

    With something to dispatch it is back after AWAKE_NS (`waiting.py`).
    """
    begin_ns = monotonic_ns(duty + _CLOCK)
    until_ns = begin_ns + timeout_ns
    back_ns = begin_ns + waiting.AWAKE_NS
    marks = load_native_i64(duty + _WATERMARKS)
    confirmed = load_native_i64(duty + _CONFIRMED)
    while load_acquire(load_native_i64(duty + _CHANGES)) == load_native_i64(duty + _CHANGES_SEEN):
        dispatched = load_relaxed(marks + DISPATCHED)  # ours alone
        end = load_acquire(confirmed)  # pairs with its mover's release: the records below are whole
        if dispatched < end:
            if not _dispatch(duty, dispatched, end):
                return
            until_ns = min(until_ns, load_native_i64(duty + _SYNC_AT_NS))
            if monotonic_ns(duty + _CLOCK) >= min(until_ns, back_ns):
                return
        else:
            left_ns = until_ns - monotonic_ns(duty + _CLOCK)
            if left_ns <= 0 or not _wait(duty, confirmed, dispatched, left_ns):
                return


@kernel
def _dispatch(duty: int, begin: int, confirmed: int) -> bool:
    """Walk some records and publish them; False where Python must do what comes next."""
    file_end = load_native_i64(duty + _FILE_END)
    file_begin = load_native_i64(duty + _BEGIN)
    if not file_begin <= begin < file_end:
        return False
    places = _places(duty)
    dispatch_walk.begin_step(places.note, begin)
    address = load_native_i64(duty + _SEGMENT) + begin - file_begin
    status = dispatch_walk.walk(places, address, begin, min(confirmed, file_end) - begin, STEP_BYTES)
    reached = load_native_i64(places.note + dispatch_walk.REACHED)
    if reached > begin:
        store_native_i64(duty + _STORE_MS, load_native_i64(places.note + dispatch_walk.STORE_MS))
        store_release(
            load_native_i64(duty + _WATERMARKS) + DISPATCHED, reached
        )  # pairs with readers of the queues
        if load_native_i64(places.note + dispatch_walk.SCHEDULED) != 0:
            doorbell.ring_bell(load_native_i64(duty + _SCHEDULER_BELL))
        full_fence()  # who comes now either sees it, or is seen to have come
        if load_acquire(load_native_i64(duty + _CHANGES)) != load_native_i64(duty + _CHANGES_SEEN):
            store_native_i64(duty + _IS_UNTOLD, 1)
            return False
        wake_for(load_native_i64(duty + _LISTENERS), doorbell.DISPATCHED)
    return status == dispatch_walk.DONE


@kernel
def _wait(duty: int, confirmed: int, dispatched: int, timeout_ns: int) -> bool:
    """Wait until more is confirmed; False where something else may have ended the wait."""
    clock = duty + _CLOCK
    if load_native_i64(duty + _IS_NAPPING) != 0 and dispatched > load_native_i64(duty + _NAPPED_AT):
        store_native_i64(duty + _NAPPED_AT, dispatched)
        is_awaited = is_wanted(load_native_i64(duty + _LISTENERS), doorbell.DISPATCHED)
        nap(NAP_NS if is_awaited else LONG_NAP_NS, clock)
        return True
    strategy = load_native_i64(duty + _STRATEGY)
    how = waiting.Waiting(load_native_i64(duty + _BELL), strategy, load_native_i64(duty + _SPINS), clock)
    begin_ns = monotonic_ns(clock)
    waiting.wait_beyond(how, confirmed, dispatched, timeout_ns)
    is_short = monotonic_ns(clock) - begin_ns < SHORT_SLEEP_NS
    store_native_i64(duty + _IS_NAPPING, int(strategy == waiting.FUTEX and is_short))
    store_native_i64(duty + _NAPPED_AT, dispatched)
    return load_acquire(confirmed) > dispatched


@kernel
def _places(duty: int) -> dispatch_walk.Places:
    schedule_topic = load_native_i64(duty + 56)
    if schedule_topic == NONE:  # it may have been made since, but before what is confirmed now
        name, name_bytes = load_native_i64(duty + _SCHEDULE_TOPIC), load_native_i64(duty + _SCHEDULE_BYTES)
        schedule_topic = find_name(load_native_i64(duty), name, name_bytes)
    timer_topic = load_native_i64(duty + 64)
    if timer_topic == NONE:
        name, name_bytes = load_native_i64(duty + _TIMER_TOPIC), load_native_i64(duty + _TIMER_BYTES)
        timer_topic = find_name(load_native_i64(duty), name, name_bytes)
    return dispatch_walk.Places(
        load_native_i64(duty),
        load_native_i64(duty + 8),
        load_native_i64(duty + 16),
        load_native_i64(duty + 24),
        load_native_i64(duty + 32),
        load_native_i64(duty + 40),
        load_native_i64(duty + 48),
        schedule_topic,
        timer_topic,
        load_native_i64(duty + 72),
    )
