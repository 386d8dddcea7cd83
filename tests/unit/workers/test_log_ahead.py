import threading

import numpy as np
import pytest

from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.memory.words import load_word, store_word
from shmq.store.log import LogDirectory
from shmq.store.watermarks import APPENDED, SIZE, Watermarks
from shmq.workers.log_ahead import AHEAD_BYTES_MIN, LogAhead

FILE_BYTES = 1 << 26


class Ground:
    """A log of one file, and the thread that goes ahead of nobody."""

    def __init__(self, root):
        self._memory = np.zeros(SIZE, dtype=np.uint8)
        self.directory = LogDirectory(root / "commitlog", FILE_BYTES)
        self.directory.path.mkdir()
        self.segment = self.directory.create(0)
        self.ready = threading.Event()
        marks = Watermarks(address_of(self._memory), is_sync_flush=False)
        self.ahead = LogAhead(self.directory, marks, self.ready.set, is_sync=False)

    def append_to(self, position):
        store_word(address_of(self._memory) + APPENDED, position)

    def take(self, start=FILE_BYTES):
        while (found := self.ahead.take_next(start)) is None:
            assert self.ready.wait(30)
            self.ready.clear()
        return found


@pytest.fixture
def ground(tmp_path):
    made = Ground(tmp_path)
    yield made
    if made.ahead.is_running:
        made.ahead.stop()


def test_the_next_file_is_told_of_when_it_is_waited_for(ground):
    assert ground.ahead.take_next(0) is None  # nobody makes it yet
    ground.ahead.start(ground.segment)
    assert ground.ready.wait(30)
    found = ground.ahead.take_next(FILE_BYTES)
    assert found is not None
    assert found.start == FILE_BYTES


def test_a_file_that_cannot_be_made_is_an_error_and_is_tried_again(ground):
    ground.directory.file(FILE_BYTES).mkdir()
    ground.ahead.start(ground.segment)
    with pytest.raises(StoreError):
        ground.take()
    ground.directory.file(FILE_BYTES).rmdir()
    found = None
    while found is None:
        try:
            found = ground.take()
        except StoreError:
            continue  # of an attempt before the directory went
    assert found.start == FILE_BYTES


def test_pages_are_made_ready_ahead_of_the_logs_end(ground):
    """What is looked at are its own words: where it wants to be woken lies ahead, and moves with the end."""
    ground.ahead.start(ground.segment)
    ground.take()
    ground.ahead.stop()
    assert 0 < load_word(ground.ahead.wanted_at) < AHEAD_BYTES_MIN
    before = load_word(ground.ahead.wanted_at)
    ground.append_to(before + 1)
    ground.ahead._populate(before + 1, 0)
    assert load_word(ground.ahead.wanted_at) > before
    ground.ahead._populate(FILE_BYTES - 1, 0)
    assert load_word(ground.ahead.wanted_at) == FILE_BYTES


def test_after_a_stop_no_file_is_left_that_was_not_taken(ground):
    ground.ahead.start(ground.segment)
    ground.ahead.stop()
    assert ground.directory.starts() == [0]
    assert not ground.ahead.is_running
