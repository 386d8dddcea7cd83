"""Kernel: write what the writer has placed in the transient pool to the log's current file, and say so.

It alone moves `appended` then. What has come since the last time is written once it is `least_bytes`, or has waited
for `interval_ns`, or fills the file. The first eight bytes of it, a record's size and magic, are written last: where
all processes die in the middle of a write, the log ends where it ended before, and not with half a record.

The duty (the memory of the thread that does it):

    offset  size  field          meaning
    ------  ----  -------------  -----------------------------------------------------------------
         0     8  watermarks     address of the watermarks
         8     8  buffer         where the pool holds the current file
        16     8  begin          the position of its first byte
        24     8  end            and behind its last
        32     8  descriptor     of the file
        40     8  bell           the thread's
        48     8  follower_bell  of who waits for `appended`: dispatcher, or under SYNC_FLUSH the flush thread
        56     8  flusher_bell   of the flush thread, which may want to know that the log grows again
        64     8  wanted         1: Python has something to do
        72     8  least_bytes    fewer wait
        80     8  interval_ns    but no longer than this
        88    16  clock          scratch
       104     8  error          the system's error number, where a write failed
       112
"""

from typing import Final

from shmq.jit import entry, kernel
from shmq.memory.atomics import full_fence, load_acquire, load_relaxed, store_release
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.memory.syscalls import monotonic_ns, nap, write_file
from shmq.ring import doorbell
from shmq.store.watermarks import APPENDED, WROTE

LAYOUT: Final = layout(
    112,
    watermarks=(0, "<i8"),
    buffer=(8, "<i8"),
    begin=(16, "<i8"),
    end=(24, "<i8"),
    descriptor=(32, "<i8"),
    bell=(40, "<i8"),
    follower_bell=(48, "<i8"),
    flusher_bell=(56, "<i8"),
    wanted=(64, "<i8"),
    least_bytes=(72, "<i8"),
    interval_ns=(80, "<i8"),
    clock=(88, "(2,)<i8"),
    error=(104, "<i8"),
)
_WATERMARKS: Final = offset_of(LAYOUT, "watermarks")
_BUFFER: Final = offset_of(LAYOUT, "buffer")
_BEGIN: Final = offset_of(LAYOUT, "begin")
_FILE_END: Final = offset_of(LAYOUT, "end")
_DESCRIPTOR: Final = offset_of(LAYOUT, "descriptor")
_BELL: Final = offset_of(LAYOUT, "bell")
_FOLLOWER_BELL: Final = offset_of(LAYOUT, "follower_bell")
_FLUSHER_BELL: Final = offset_of(LAYOUT, "flusher_bell")
WANTED: Final = offset_of(LAYOUT, "wanted")
_LEAST_BYTES: Final = offset_of(LAYOUT, "least_bytes")
_INTERVAL_NS: Final = offset_of(LAYOUT, "interval_ns")
_CLOCK: Final = offset_of(LAYOUT, "clock")
_ERROR: Final = offset_of(LAYOUT, "error")

_HEAD_BYTES: Final = 8
_NAP_NS: Final = 1_000_000
_SLEEP_NS: Final = 60_000_000_000


@entry
def commit_pool(duty: int) -> None:
    """Write to the current file until it is full, the disk refuses, or Python is wanted."""
    marks = load_native_i64(duty + _WATERMARKS)
    file_end = load_native_i64(duty + _FILE_END)
    due_ns = monotonic_ns(duty + _CLOCK) + load_native_i64(duty + _INTERVAL_NS)
    while load_acquire(duty + WANTED) == 0:  # pairs with want_python()
        begin = load_relaxed(marks + APPENDED)
        end = min(load_acquire(marks + WROTE), file_end)  # pairs with the writer's release
        if begin == file_end:
            return
        if end == begin:
            _sleep(duty, begin)
            due_ns = monotonic_ns(duty + _CLOCK) + load_native_i64(duty + _INTERVAL_NS)
            continue
        left_ns = due_ns - monotonic_ns(duty + _CLOCK)
        if end - begin < load_native_i64(duty + _LEAST_BYTES) and end < file_end and left_ns > 0:
            nap(min(left_ns, _NAP_NS), duty + _CLOCK)
            continue
        if not _write(duty, begin, end):
            return
        due_ns = monotonic_ns(duty + _CLOCK) + load_native_i64(duty + _INTERVAL_NS)


@entry
def commit_rest(duty: int) -> None:
    """Write all of the current file that is placed, at once."""
    marks = load_native_i64(duty + _WATERMARKS)
    begin = load_relaxed(marks + APPENDED)
    end = min(load_acquire(marks + WROTE), load_native_i64(duty + _FILE_END))
    if end > begin:
        _write(duty, begin, end)


@entry
def want_python(duty: int) -> None:
    """Have the loop return, and wake it if it sleeps."""
    store_release(duty + WANTED, 1)
    doorbell.ring_bell(load_native_i64(duty + _BELL))


@kernel
def _sleep(duty: int, wrote: int) -> None:
    """Sleep until the writer has placed something, or Python is wanted."""
    bell = load_native_i64(duty + _BELL)
    doorbell.will_sleep(bell)
    word = load_native_i64(duty + _WATERMARKS) + WROTE
    if load_acquire(word) != wrote or load_acquire(duty + WANTED) != 0:
        doorbell.is_awake(bell)
    else:
        doorbell.sleep_at(bell, _SLEEP_NS, duty + _CLOCK)


@kernel
def _write(duty: int, begin: int, end: int) -> bool:
    """Write a range of the current file, its first bytes last, and publish it; False where the disk refuses."""
    descriptor = load_native_i64(duty + _DESCRIPTOR)
    offset = begin - load_native_i64(duty + _BEGIN)
    address = load_native_i64(duty + _BUFFER) + offset
    rest_bytes = end - begin - _HEAD_BYTES
    result = write_file(descriptor, address + _HEAD_BYTES, rest_bytes, offset + _HEAD_BYTES)
    if result == 0:
        result = write_file(descriptor, address, _HEAD_BYTES, offset)
    if result < 0:
        store_native_i64(duty + _ERROR, -result)
        return False
    store_release(load_native_i64(duty + _WATERMARKS) + APPENDED, end)  # pairs with every reader of the log
    full_fence()  # pairs with will_sleep() of both
    doorbell.ring_fenced(load_native_i64(duty + _FOLLOWER_BELL))
    doorbell.ring_fenced_for(load_native_i64(duty + _FLUSHER_BELL), doorbell.APPENDED)
    return True
