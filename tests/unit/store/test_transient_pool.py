"""Which buffer of the pool is whose, and for how long."""

import ctypes
import os
from pathlib import Path

import pytest

from shmq.memory import pages
from shmq.store import transient_pool
from shmq.store.transient_pool import TransientPool

FILE_BYTES = 8192


def test_files_take_turns_at_the_buffers():
    pool = TransientPool(2, FILE_BYTES)
    first, second = pool.address_of(0), pool.address_of(FILE_BYTES)
    assert abs(second - first) == FILE_BYTES
    assert pool.address_of(2 * FILE_BYTES) == first
    assert pool.address_of(3 * FILE_BYTES + 7) == second + 7


@pytest.mark.parametrize(
    ("count", "start", "committed", "is_free"),
    [
        (2, FILE_BYTES, 0, True),
        (2, 2 * FILE_BYTES, FILE_BYTES - 1, False),
        (2, 2 * FILE_BYTES, FILE_BYTES, True),
        (5, 4 * FILE_BYTES, 0, True),
        (5, 5 * FILE_BYTES, 0, False),
    ],
)
def test_a_buffer_is_free_when_what_it_held_is_in_its_file(count, start, committed, is_free):
    assert TransientPool(count, FILE_BYTES).is_free_for(start, committed) is is_free


def test_what_a_process_places_is_there_for_its_successor():
    pool = TransientPool(2, FILE_BYTES)
    child = os.fork()
    if child == 0:
        ctypes.memmove(pool.address_of(FILE_BYTES + 1), b"placed", 6)
        os._exit(0)
    os.waitpid(child, 0)
    assert ctypes.string_at(pool.address_of(FILE_BYTES + 1), 6) == b"placed"


def test_a_buffer_is_locked_in_memory():
    pool = TransientPool(2, FILE_BYTES)
    before = locked_kib()
    assert pool.lock(FILE_BYTES)
    assert locked_kib() == before + FILE_BYTES // 1024


def test_without_the_right_to_lock_it_the_pool_works_all_the_same(monkeypatch):
    monkeypatch.setattr(transient_pool, "lock_pages", lambda *_: False)
    pool = TransientPool(1, FILE_BYTES)
    assert not pool.lock(0)
    ctypes.memmove(pool.address_of(0), b"placed", 6)
    assert ctypes.string_at(pool.address_of(0), 6) == b"placed"


def test_memory_that_is_not_there_cannot_be_locked():
    assert not pages.lock_pages(4096, 4096)


def locked_kib():
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmLck:"))
