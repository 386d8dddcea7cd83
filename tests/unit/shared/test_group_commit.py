"""The loop that syncs groups: what it syncs, whom it wakes, when it gives way to Python."""

import errno
import mmap
import threading

import numpy as np
import pytest

from shmq.memory.block import address_of
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell
from shmq.shared import commit, group_commit, listeners
from shmq.store import watermarks
from tests.support.waiting import eventually

FAR_NS = 1 << 62
FILE_BYTES = 1 << 20
UNMAPPED = 1 << 12  # the system maps nothing there: it cannot be synced
BELLS = 4  # the flush thread's, the dispatcher's, a worker's, a stranger's
NOTHING_MS, STORE_MS = 0, 77


class Ground:
    """The words of a broker that has nothing else, and a file."""

    def __init__(self, path):
        self.memory = np.zeros(4096, dtype=np.uint8)
        base = self.base = address_of(self.memory)
        self.marks = base + 1024
        self.bells = [base + 2048 + doorbell.SIZE * number for number in range(BELLS)]
        for bell in self.bells:
            doorbell.initialise(bell)
        self.told = np.array(self.bells[2:], dtype=np.int64)
        self.listeners = np.array((address_of(self.told), 2, 1), dtype=listeners.LAYOUT)
        with path.open("w+b") as file:
            file.truncate(FILE_BYTES)
            self.mapping = mmap.mmap(file.fileno(), FILE_BYTES)
        self.duty = np.zeros((), dtype=group_commit.LAYOUT)
        given = {
            "watermarks": self.marks,
            "page": base,
            "address": address_of(np.frombuffer(self.mapping, dtype=np.uint8)),
            "end": FILE_BYTES,
            "listeners": int(self.listeners.ctypes.data),
            "dispatcher_bell": self.bells[1],
            "bell": self.bells[0],
            "changes": base + 512,
            "until_ns": FAR_NS,
        }
        for name, value in given.items():
            self.duty[name] = value
        self.at = int(self.duty.ctypes.data)

    def append_to(self, position, store_ms=STORE_MS):
        store_word(self.base + commit.STORE_MS, store_ms)
        store_word(self.marks + watermarks.APPENDED, position)
        doorbell.ring_bell(self.bells[0])  # once: rung with nothing to sync, the loop ends

    @property
    def flushed(self):
        return load_word(self.marks + watermarks.FLUSHED)

    def run(self):
        thread = threading.Thread(target=group_commit.flush_groups, args=(self.at,))
        thread.start()
        return thread


@pytest.fixture
def ground(tmp_path):
    made = Ground(tmp_path / "log")
    yield made
    made.mapping.close()


def finish(ground, thread):
    group_commit.want_python(ground.at)
    thread.join()


def test_what_is_appended_is_synced_and_told_of(ground):
    for bell in ground.bells[2:]:
        doorbell.want(bell, doorbell.FLUSHED)
    for bell in ground.bells[1:]:
        doorbell.will_sleep(bell)
    thread = ground.run()
    ground.append_to(500)
    eventually(lambda: ground.flushed == 500)
    eventually(lambda: not any(load_word(bell + doorbell.SLEEPING) for bell in ground.bells[1:]))
    ground.append_to(900, STORE_MS + 1)
    eventually(lambda: ground.flushed == 900)
    finish(ground, thread)
    assert ground.duty["store_ms"] == STORE_MS + 1
    assert ground.duty["error"] == 0
    assert (ground.duty["group_bytes"], ground.duty["sync_ns"] > 0) == (400, True)


def test_who_wants_no_such_news_is_not_woken(ground):
    doorbell.will_sleep(ground.bells[2])
    ground.append_to(500)
    thread = ground.run()
    eventually(lambda: ground.flushed == 500)
    finish(ground, thread)
    assert load_word(ground.bells[2] + doorbell.SLEEPING) == 1


def test_a_sync_that_fails_says_why_and_moves_nothing(ground):
    ground.duty["address"] = UNMAPPED
    ground.append_to(500)
    group_commit.flush_groups(ground.at)
    assert ground.duty["error"] == errno.ENOMEM
    assert ground.flushed == 0


def test_it_ends_where_the_file_does(ground):
    ground.append_to(FILE_BYTES + 700)
    group_commit.flush_groups(ground.at)
    assert ground.flushed == FILE_BYTES


def test_a_range_that_begins_in_another_file_is_pythons(ground):
    ground.duty["begin"] = 4096
    ground.append_to(5000)
    group_commit.flush_groups(ground.at)
    assert ground.flushed == 0


def test_news_and_the_clock_end_it_too(ground):
    store_word(ground.base + 512, 1)
    group_commit.flush_groups(ground.at)
    ground.duty["changes_seen"], ground.duty["until_ns"] = 1, 0
    group_commit.flush_groups(ground.at)
    assert ground.flushed == NOTHING_MS
