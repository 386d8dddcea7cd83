import errno
import os
import time

import numpy as np
import pytest

from shmq.memory import region
from shmq.memory.block import address_of
from shmq.memory.syscalls import (
    NUMBERS,
    futex_wait,
    futex_wake,
    monotonic_ns,
    preallocate,
    system_call,
    wall_ns,
    write_word,
    yield_processor,
)
from shmq.memory.words import load_word, store_word

FOR_LONG_NS = 60_000_000_000


def test_a_word_that_holds_something_else_is_not_slept_on():
    words = np.array([2], dtype=np.int64)
    futex_wait(address_of(words), 1, FOR_LONG_NS)
    assert words[0] == 2


def test_a_sleep_ends_when_its_time_is_over():
    words = np.array([1], dtype=np.int64)
    begun = time.monotonic_ns()
    futex_wait(address_of(words), 1, 20_000_000)
    assert 15_000_000 <= time.monotonic_ns() - begun < FOR_LONG_NS


def test_a_sleeper_in_another_process_is_woken():
    shared = region.anonymous(4096)
    store_word(shared.address, 1)
    pid = os.fork()
    if pid == 0:
        while load_word(shared.address) == 1:
            futex_wait(shared.address, 1, FOR_LONG_NS)
        os._exit(7)
    store_word(shared.address, 0)
    futex_wake(shared.address)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_nobody_needs_to_sleep_to_be_woken():
    words = np.zeros(1, dtype=np.int64)
    futex_wake(address_of(words))
    assert words[0] == 0


def test_a_word_is_written_to_an_eventfd_which_may_be_full():
    words = np.array([1, (1 << 64) - 2 - (1 << 64)], dtype=np.int64)
    descriptor = os.eventfd(0, os.EFD_NONBLOCK)
    write_word(descriptor, address_of(words))
    write_word(descriptor, address_of(words))
    assert os.eventfd_read(descriptor) == 2
    write_word(descriptor, address_of(words) + 8)
    write_word(descriptor, address_of(words))
    assert os.eventfd_read(descriptor) == (1 << 64) - 2
    os.close(descriptor)


def test_blocks_are_reserved_or_there_is_an_error(tmp_path):
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    preallocate(descriptor, 0, 1 << 16)
    assert os.fstat(descriptor).st_size == 1 << 16
    with pytest.raises(OSError, match=r"space|large") as caught:
        preallocate(descriptor, 0, 1 << 62)
    assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
    os.close(descriptor)


def test_a_failed_call_answers_its_error_negated():
    assert system_call(NUMBERS["write"], -1, 0, 0, 0, 0, 0) == -errno.EBADF


def test_clocks_agree_with_those_of_python():
    timespec = np.zeros(2, dtype=np.int64)
    for read, clock in ((monotonic_ns, time.monotonic_ns), (wall_ns, time.time_ns)):
        before = clock()
        assert before <= read(address_of(timespec)) <= clock()


def test_whoever_yields_goes_on():
    assert yield_processor() is None
