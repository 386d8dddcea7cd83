"""What the machine itself can do: the bounds beside which the broker's figures stand.

    copy          memcpy of records, from a small hot source to a large target
    write         pwrite of one record at a time into the page cache
    flush         fdatasync after each write of one block
    group commit  N records with one write, then one fdatasync, again and again: nobody who makes each of N waiters'
                  records durable before he answers can answer faster
    ping-pong     a flag's way to another core and back, both awake (`perf/probe.py`)
    wake-ups      the same with both asleep, by futex and by eventfd: two wake-ups

Each runs in compiled code, so that no interpreter is in it. Directories should be those of the store: flushing is a
property of a disk.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from perf.histogram import Histogram, record
from perf.libc import make_durable, now_ns, read_eventfd, sleep_while, wake, write_at, write_eventfd
from shmq.jit import Bytes, Words, kernel
from shmq.memory.atomics import load_acquire, store_release
from shmq.memory.block import address_of, copy

GROUP_COMMIT: Final = "write and fdatasync"
"""The name of that limit where it stands beside contestants."""
NEW_BLOCKS: Final = "the same, new blocks"
"""And into blocks that are reserved and were never written, as those of a log are."""

FILE_BYTES: Final = 1 << 26
HOT_BYTES: Final = 1 << 16
NS: Final = 1_000_000_000

_FAILED: Final = -1


def copy_bytes_per_s(size_bytes: int, total_bytes: int = 1 << 28) -> float:
    """How many bytes a second memcpy moves in pieces of a size."""
    source, target = np.zeros(max(HOT_BYTES, size_bytes), np.uint8), np.ones(FILE_BYTES, np.uint8)
    _copy_pieces(source, target, size_bytes, 1)
    pieces = max(1, total_bytes // size_bytes)
    begin_ns = time.perf_counter_ns()
    _copy_pieces(source, target, size_bytes, pieces)
    return pieces * size_bytes / (time.perf_counter_ns() - begin_ns) * NS


def writes_per_s(directory: Path, size_bytes: int, count: int = 20_000) -> float:
    """How many records a second pwrite puts into the page cache of a file whose blocks are there."""
    with _LimitFile(directory) as descriptor:
        record_bytes = np.zeros(size_bytes, np.uint8)
        _require(_write_records(descriptor, record_bytes, 1))  # compiled, and the first page at hand
        begin_ns = time.perf_counter_ns()
        _require(_write_records(descriptor, record_bytes, count))
        return count / (time.perf_counter_ns() - begin_ns) * NS


def flush(directory: Path, count: int = 200, block_bytes: int = 4096) -> Histogram:
    """How long one write of a block and its fdatasync take, in nanoseconds."""
    latencies = Histogram()
    with _LimitFile(directory) as descriptor:
        _require(_commit_groups(descriptor, np.zeros(block_bytes, np.uint8), count, 0, latencies.counts))
    return latencies


def group_commits_per_s(
    directory: Path, waiters: int, record_bytes: int, seconds: float = 0.5, *, is_new: bool = False
) -> float:
    """How many records a second are durable where so many wait for each fdatasync.

    Args:
        directory: where.
        waiters: how many.
        record_bytes: the size of a record.
        seconds: for how long.
        is_new: whether no block has been written before; it ends earlier where all have.
    """
    group = np.zeros(waiters * record_bytes, np.uint8)
    latencies = Histogram()
    done = 0
    room = FILE_BYTES // (16 * len(group)) - 1 if is_new else sys.maxsize
    with _LimitFile(directory, is_new=is_new) as descriptor:
        at = _commit_groups(descriptor, group, 1, 0, latencies.counts)
        begin_ns = time.perf_counter_ns()
        while room > 0 and time.perf_counter_ns() - begin_ns < seconds * NS:
            at = _require(_commit_groups(descriptor, group, 16, at, latencies.counts))
            done += 16 * waiters
            room -= 1
        return done / (time.perf_counter_ns() - begin_ns) * NS


def futex_round_trip(count: int = 2000, *, own_cores: bool = True) -> Histogram:
    """How long a wake-up of another thread and its wake-up of this one take by futex, in nanoseconds."""
    words = np.zeros(64, np.int64)
    return _round_trips(
        count, own_cores, lambda: _answer_futex(words, count), lambda c: _call_futex(words, count, c)
    )


def eventfd_round_trip(count: int = 2000, *, own_cores: bool = True) -> Histogram:
    """The same by two eventfds."""
    there, back = os.eventfd(0), os.eventfd(0)
    words, answers = np.ones(4, np.int64), np.ones(4, np.int64)
    try:
        return _round_trips(
            count,
            own_cores,
            lambda: _answer_eventfd(there, back, answers, count),
            lambda counts: _call_eventfd(there, back, words, count, counts),
        )
    finally:
        os.close(there)
        os.close(back)


def _round_trips(
    count: int, own_cores: bool, answer: Callable[[], None], call: Callable[[Words], None]
) -> Histogram:
    """Let another thread answer what this one calls, each on a core of its own unless the scheduler is to choose."""
    latencies = Histogram()
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    pins = own_cores and len(cores) > 1

    def answer_elsewhere() -> None:
        if pins:
            os.sched_setaffinity(0, {cores[1]})
        answer()

    other = threading.Thread(target=answer_elsewhere)
    try:
        if pins:
            os.sched_setaffinity(0, {cores[0]})
        other.start()
        call(latencies.counts)
        other.join()
    finally:
        os.sched_setaffinity(0, before)
    assert latencies.count == count
    return latencies


class _LimitFile:
    """A file of `FILE_BYTES` whose blocks were written, unless they are to be new; durable, and gone afterwards."""

    def __init__(self, directory: Path, *, is_new: bool = False) -> None:
        self._is_new = is_new
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> int:
        os.posix_fallocate(self._file.fileno(), 0, FILE_BYTES)
        block = bytes(1 << 20)
        for _ in range(0 if self._is_new else FILE_BYTES // len(block)):
            self._file.write(block)
        os.fdatasync(self._file.fileno())
        return self._file.fileno()

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _require(result: int) -> int:
    if result == _FAILED:
        raise OSError("a write or a flush of the limit's file failed")
    return result


@kernel
def _copy_pieces(source: Bytes, target: Bytes, size_bytes: int, count: int) -> None:
    source_at = target_at = 0
    for _ in range(count):
        copy(address_of(target) + target_at, address_of(source) + source_at, size_bytes)
        source_at += size_bytes
        target_at += size_bytes
        if source_at + size_bytes > len(source):
            source_at = 0
        if target_at + size_bytes > len(target):
            target_at = 0


@kernel
def _write_records(descriptor: int, record_bytes: Bytes, count: int) -> int:
    size, at = len(record_bytes), 0
    for _ in range(count):
        if write_at(descriptor, address_of(record_bytes), size, at) != size:
            return _FAILED
        at += size
        if at + size > FILE_BYTES:
            at = 0
    return count


@kernel
def _commit_groups(descriptor: int, group: Bytes, count: int, at: int, counts: Words) -> int:
    """Write so many groups, each for itself, from an offset on; return the next one's offset, or _FAILED."""
    timespec = np.zeros(2, np.int64)
    size = len(group)
    for _ in range(count):
        begin_ns = now_ns(address_of(timespec))
        if write_at(descriptor, address_of(group), size, at) != size or make_durable(descriptor) != 0:
            return _FAILED
        record(counts, now_ns(address_of(timespec)) - begin_ns)
        at += size
        if at + size > FILE_BYTES:
            at = 0
    return at


@kernel
def _call_futex(words: Words, count: int, counts: Words) -> None:
    timespec = np.zeros(2, np.int64)
    turn = address_of(words)
    for _ in range(count):
        begin_ns = now_ns(address_of(timespec))
        store_release(turn, 1)  # pairs with _answer_futex
        wake(turn)
        while load_acquire(turn) == 1:  # pairs with _answer_futex
            sleep_while(turn, 1)
        record(counts, now_ns(address_of(timespec)) - begin_ns)


@kernel
def _answer_futex(words: Words, count: int) -> None:
    turn = address_of(words)
    for _ in range(count):
        while load_acquire(turn) == 0:  # pairs with _call_futex
            sleep_while(turn, 0)
        store_release(turn, 0)  # pairs with _call_futex
        wake(turn)


@kernel
def _call_eventfd(there: int, back: int, words: Words, count: int, counts: Words) -> None:
    timespec = np.zeros(2, np.int64)
    for _ in range(count):
        begin_ns = now_ns(address_of(timespec))
        words[0] = 1
        write_eventfd(there, address_of(words))
        read_eventfd(back, address_of(words))
        record(counts, now_ns(address_of(timespec)) - begin_ns)


@kernel
def _answer_eventfd(there: int, back: int, words: Words, count: int) -> None:
    for _ in range(count):
        read_eventfd(there, address_of(words))
        words[0] = 1
        write_eventfd(back, address_of(words))
