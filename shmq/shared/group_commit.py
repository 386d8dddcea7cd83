"""Kernel: the flush thread's work under SYNC_FLUSH: sync, publish, wake, in one loop without Python's lock.

Whoever waits for the disk has usually been let go by the last sync, and comes back a little later; a sync that
begins with the first of them makes the others wait for a second one. So it holds on, for a part of the time that a
sync takes, until as much has come as the last time.

The duty (the flush thread's own memory):

    offset  size  field          meaning
    ------  ----  -------------  -----------------------------------------------------------------
         0     8  watermarks     address of the watermarks
         8     8  page           the writer's page
        16     8  address        where the log's current file is mapped for writing
        24     8  begin          the position of its first byte
        32     8  end            and behind its last
        40     8  listeners      address of the list of those who may wait, see `listeners.py`
        48     8  dispatcher_bell
        56     8  bell           the flush thread's
        64     8  wanted         1: Python has something to do
        72     8  changes        address of a word, another value of which is news for Python
        80     8  changes_seen   the value that it knows
        88     8  until_ns       return when the monotonic clock has reached this
        96    16  clock          scratch
       112     8  group_bytes    the size of the last group
       120     8  sync_ns        how long its sync took
       128     8  store_ms       the newest store time that is on disk
       136     8  error          the system's error number, where a sync failed
       144
"""

from typing import Final

from shmq.jit import entry, kernel
from shmq.memory.atomics import load_acquire, load_relaxed, store_release
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.memory.syscalls import monotonic_ns, nap, sync_mapped
from shmq.ring import doorbell
from shmq.shared.commit import STORE_MS
from shmq.shared.listeners import wake_for
from shmq.store.watermarks import APPENDED, FLUSHED

LAYOUT: Final = layout(
    144,
    watermarks=(0, "<i8"),
    page=(8, "<i8"),
    address=(16, "<i8"),
    begin=(24, "<i8"),
    end=(32, "<i8"),
    listeners=(40, "<i8"),
    dispatcher_bell=(48, "<i8"),
    bell=(56, "<i8"),
    wanted=(64, "<i8"),
    changes=(72, "<i8"),
    changes_seen=(80, "<i8"),
    until_ns=(88, "<i8"),
    clock=(96, "(2,)<i8"),
    group_bytes=(112, "<i8"),
    sync_ns=(120, "<i8"),
    store_ms=(128, "<i8"),
    error=(136, "<i8"),
)
_WATERMARKS: Final = offset_of(LAYOUT, "watermarks")
_PAGE: Final = offset_of(LAYOUT, "page")
_ADDRESS: Final = offset_of(LAYOUT, "address")
_BEGIN: Final = offset_of(LAYOUT, "begin")
_FILE_END: Final = offset_of(LAYOUT, "end")
_LISTENERS: Final = offset_of(LAYOUT, "listeners")
_DISPATCHER_BELL: Final = offset_of(LAYOUT, "dispatcher_bell")
_BELL: Final = offset_of(LAYOUT, "bell")
WANTED: Final = offset_of(LAYOUT, "wanted")
_CHANGES: Final = offset_of(LAYOUT, "changes")
_CHANGES_SEEN: Final = offset_of(LAYOUT, "changes_seen")
_UNTIL_NS: Final = offset_of(LAYOUT, "until_ns")
_CLOCK: Final = offset_of(LAYOUT, "clock")
_GROUP_BYTES: Final = offset_of(LAYOUT, "group_bytes")
_SYNC_NS: Final = offset_of(LAYOUT, "sync_ns")
_STORE_MS: Final = offset_of(LAYOUT, "store_ms")
_ERROR: Final = offset_of(LAYOUT, "error")

_NAPS: Final = 3
_PATIENCE: Final = 8
"""A nap is this part of what the last sync took."""


@entry
def flush_groups(duty: int) -> None:
    """Sync whatever is appended, again and again, until Python is wanted."""
    marks = load_native_i64(duty + _WATERMARKS)
    file_end = load_native_i64(duty + _FILE_END)
    while not _is_python_wanted(duty):
        now_ns = monotonic_ns(duty + _CLOCK)
        if now_ns >= load_native_i64(duty + _UNTIL_NS):
            return
        flushed = load_relaxed(marks + FLUSHED)
        if flushed >= file_end or flushed < load_native_i64(duty + _BEGIN):
            return  # not a matter of this file alone
        if load_acquire(marks + APPENDED) > flushed:
            _hold_on(duty, flushed)
            if not _sync(duty, flushed):
                return
        else:
            bell = load_native_i64(duty + _BELL)
            doorbell.will_sleep(bell)
            if load_acquire(marks + APPENDED) > flushed or _is_python_wanted(duty):
                doorbell.is_awake(bell)
            else:
                doorbell.sleep_at(bell, load_native_i64(duty + _UNTIL_NS) - now_ns, duty + _CLOCK)
                if load_acquire(marks + APPENDED) == flushed:
                    return  # the time is over, or a signal came


@kernel
def _hold_on(duty: int, flushed: int) -> None:
    """Wait, a short while, until as much is there as the last time."""
    expected = flushed + load_native_i64(duty + _GROUP_BYTES)
    for _ in range(_NAPS):
        if load_acquire(load_native_i64(duty + _WATERMARKS) + APPENDED) >= expected:
            return
        nap(load_native_i64(duty + _SYNC_NS) // _PATIENCE, duty + _CLOCK)


@kernel
def _sync(duty: int, flushed: int) -> bool:
    """Make what is appended durable and say so; False where the disk failed."""
    marks = load_native_i64(duty + _WATERMARKS)
    store_ms = load_acquire(load_native_i64(duty + _PAGE) + STORE_MS)  # before the end: it is not newer
    end = min(load_acquire(marks + APPENDED), load_native_i64(duty + _FILE_END))
    begin_ns = monotonic_ns(duty + _CLOCK)
    address = load_native_i64(duty + _ADDRESS) + flushed - load_native_i64(duty + _BEGIN)
    result = sync_mapped(address, end - flushed)
    if result < 0:
        store_native_i64(duty + _ERROR, -result)
        return False
    store_release(marks + FLUSHED, end)  # pairs with whoever waits for the disk
    store_native_i64(duty + _SYNC_NS, monotonic_ns(duty + _CLOCK) - begin_ns)
    store_native_i64(duty + _GROUP_BYTES, end - flushed)
    store_native_i64(duty + _STORE_MS, store_ms)
    wake_for(load_native_i64(duty + _LISTENERS), doorbell.FLUSHED)
    doorbell.ring_bell(load_native_i64(duty + _DISPATCHER_BELL))
    return True


@entry
def want_python(duty: int) -> None:
    """Have the loop return, and wake it if it sleeps."""
    store_release(duty + WANTED, 1)
    doorbell.ring_bell(load_native_i64(duty + _BELL))


@kernel
def _is_python_wanted(duty: int) -> bool:
    if load_acquire(duty + WANTED) != 0:  # pairs with want_python()
        return True
    return load_acquire(load_native_i64(duty + _CHANGES)) != load_native_i64(duty + _CHANGES_SEEN)
