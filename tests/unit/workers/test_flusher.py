import contextlib
import errno
import os
import threading

import pytest

from shmq.errors import StoreError
from shmq.memory.pages import populate_for_writing
from shmq.ring import doorbell
from shmq.shared import commit, plan
from shmq.shared.gates import Closed, closed
from shmq.store import segment as segment_module
from shmq.store.checkpoint import read_checkpoint
from shmq.store.segment import list_starts
from shmq.store.watermarks import FULL_KEYS_MS, QUEUES_MS
from shmq.workers import flusher, log_ahead
from shmq.workers.flusher import Flusher
from tests.support.waiting import eventually
from tests.support.writer_ground import WriterGround, message, message_of_size
from tests.support.writer_lives import NOW_MS, BareWriter

FILE_BYTES = 8192
AT_ONCE = {"flush_interval_ms": 1, "flush_least_pages": 0}
FOR_LONG_MS = 3_600_000


class Ground(WriterGround):
    """A writer without its thread, and the thread by itself."""

    def __init__(self, root, **settings):
        super().__init__(root, **(AT_ONCE | settings))
        self.writer_part = BareWriter(self)
        self.flusher = Flusher(self.config, self.memory, self.paths, self.log)

    def start(self):
        self.flusher.start(self.writer_part.segment)

    def append(self, *sizes):
        for size_bytes in sizes:
            self.submit(message_of_size(size_bytes) if size_bytes else message())
            while self.writer_part.turn() != commit.IDLE:
                continue
            doorbell.ring_for(self.memory.bell(plan.BELL_FLUSHER), doorbell.APPENDED)

    @property
    def marks(self):
        return self.memory.watermarks


@pytest.fixture
def ground(tmp_path):
    made = Ground(tmp_path)
    yield made
    if made.flusher.is_running:
        made.flusher.stop()


def test_what_is_appended_is_flushed_and_told(ground):
    ground.start()
    ground.append(300)
    ground.wait_flushed(300)
    assert ground.marks.flushed == 300
    assert not ground.flusher.has_failed


@pytest.mark.parametrize("disk_type", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_all_are_woken_for_what_a_dead_one_had_flushed_and_not_rung_for(tmp_path, disk_type):
    ground = Ground(tmp_path, flush_disk_type=disk_type)
    bells = [plan.BELL_FIRST_WORKER] + [plan.BELL_DISPATCHER] * (disk_type == "SYNC_FLUSH")
    doorbell.want(ground.memory.bell(plan.BELL_FIRST_WORKER), doorbell.FLUSHED)
    for number in bells:
        ground.sleep_at(number)
    ground.start()
    eventually(lambda: not any(ground.is_asleep(number) for number in bells))
    ground.flusher.stop()


def test_a_few_dirty_pages_are_left_for_later(tmp_path):
    ground = Ground(tmp_path, flush_least_pages=1, flush_thorough_interval_ms=FOR_LONG_MS)
    ground.append(300)
    ground.start()
    ground.append(3000)
    assert ground.marks.flushed == 0  # the first page is not full
    ground.append(1000)
    ground.wait_flushed(4300)
    ground.flusher.stop()


def test_a_few_dirty_pages_are_flushed_when_they_have_waited_long_enough(tmp_path):
    ground = Ground(tmp_path, flush_least_pages=1000, flush_thorough_interval_ms=1)
    ground.append(300)
    ground.start()
    ground.wait_flushed(300)
    ground.flusher.stop()


def test_under_sync_flush_the_dispatcher_is_woken_too(tmp_path):
    ground = Ground(tmp_path, flush_disk_type="SYNC_FLUSH", flush_interval_ms=FOR_LONG_MS)
    ground.start()
    ground.sleep_at(plan.BELL_DISPATCHER)
    ground.append(300)
    ground.flusher.wake()
    ground.wait_flushed(300)
    ground.flusher.stop()
    assert not ground.is_asleep(plan.BELL_DISPATCHER)


def test_who_wants_no_such_news_is_not_woken(ground):
    ground.start()
    ground.append(300)
    ground.wait_flushed(300)
    ground.sleep_at(plan.BELL_WRITER)
    ground.append(300)
    ground.wait_flushed(600)
    assert ground.is_asleep(plan.BELL_WRITER)


def test_the_end_flushes_everything_and_says_so_in_the_checkpoint(tmp_path):
    ground = Ground(tmp_path, flush_interval_ms=FOR_LONG_MS)
    ground.start()
    ground.append(300, 400)
    ground.flusher.stop()
    checkpoint = read_checkpoint(ground.paths.checkpoint)
    assert ground.marks.flushed == 700
    assert (checkpoint.log_timestamp_ms, checkpoint.confirmed_position) == (NOW_MS, 700)
    assert not ground.flusher.is_running


def test_the_checkpoint_says_how_far_queues_and_full_index_files_are_on_disk(ground):
    ground.marks.move(QUEUES_MS, 70)
    ground.marks.move(FULL_KEYS_MS, 60)
    ground.start()
    ground.append(300)
    ground.flusher.stop()
    checkpoint = read_checkpoint(ground.paths.checkpoint)
    assert (checkpoint.queues_timestamp_ms, checkpoint.index_timestamp_ms) == (70, 60)


def test_without_a_record_the_checkpoint_stays_as_it_was(tmp_path):
    ground = Ground(tmp_path)
    ground.start()
    ground.flusher.stop()
    assert read_checkpoint(ground.paths.checkpoint).log_timestamp_ms == 0


def test_the_next_file_is_made_ready_and_goes_again_if_it_is_not_needed(ground):
    ground.start()
    segment = take(ground)
    assert (segment.start, segment.end) == (FILE_BYTES, 2 * FILE_BYTES)
    ground.flusher.retire(segment)
    ground.flusher.stop()
    assert list_starts(ground.paths.commitlog, FILE_BYTES) == [0, FILE_BYTES]


def test_a_file_may_be_closed_while_its_pages_are_made_ready(ground, monkeypatch):
    current, is_entered, is_closed = ground.writer_part.segment, threading.Event(), threading.Event()

    def populate_late(address, size_bytes):
        if address == current.address:
            is_entered.set()
            assert is_closed.wait(30)
        return populate_for_writing(address, size_bytes)

    monkeypatch.setattr(segment_module, "populate_for_writing", populate_late)
    ground.start()
    assert is_entered.wait(30)
    current.close()
    is_closed.set()
    take(ground)
    ground.flusher.stop()  # an error in the thread fails the test


def test_a_next_file_that_is_there_already_is_taken(ground):
    ground.log.create(FILE_BYTES).close()
    ground.start()
    assert take(ground).start == FILE_BYTES


def test_a_file_that_cannot_be_made_is_an_error_and_is_tried_again(ground):
    ground.log.file(FILE_BYTES).mkdir()
    ground.start()
    with pytest.raises(StoreError):
        take(ground)
    ground.log.file(FILE_BYTES).rmdir()
    assert take_in_the_end(ground).start == FILE_BYTES


def take(ground, start=FILE_BYTES):
    """Take the next file, asleep as the writer is until it is made."""
    while (found := ground.flusher.take_next(start)) is None:
        ground.sleep_at(plan.BELL_WRITER)
        if not ground.flusher.has_news:
            doorbell.sleep(ground.memory.bell(plan.BELL_WRITER), 30_000_000_000)
        ground.flusher.heed()
    return found


def take_in_the_end(ground):
    """Take the next file; it may be refused as long as an earlier attempt is still told of."""
    while True:
        with contextlib.suppress(StoreError):
            return take(ground)


def test_only_the_file_that_comes_next_can_be_taken(ground):
    ground.start()
    with pytest.raises(AssertionError):
        ground.flusher.take_next(2 * FILE_BYTES)


def test_a_successor_flushes_the_files_that_its_predecessor_did_not(ground):
    ground.append(8000, 8000, 8000, 300)
    assert ground.marks.appended > 3 * FILE_BYTES
    ground.start()
    ground.wait_flushed(ground.marks.appended)
    assert ground.marks.flushed == ground.marks.appended


def test_files_are_flushed_as_the_log_goes_on_in_the_next(ground):
    ground.start()
    for start in range(0, 4 * FILE_BYTES, FILE_BYTES):
        ground.append(8000)
        following = take(ground, start + FILE_BYTES)
        ground.writer_part.close_file()
        ground.flusher.retire(following)
        ground.writer_part.segment = following
    ground.append(100)
    ground.wait_flushed(4 * FILE_BYTES + 100)
    ground.flusher.stop()
    assert ground.log.starts() == [start * FILE_BYTES for start in range(5)]


def test_a_failed_sync_is_final(tmp_path, monkeypatch):
    ground = Ground(tmp_path, flush_disk_type="SYNC_FLUSH")
    monkeypatch.setattr(segment_module, "sync_mapped", lambda *_: -errno.EIO)
    ground.append(300)
    ground.start()
    ground.flusher.stop()
    assert closed(ground.memory.place("gates")) == Closed.SYNC_FAILED
    assert "cannot sync" in ground.paths.sync_failed.read_text()
    assert ground.marks.flushed == 0
    assert read_checkpoint(ground.paths.checkpoint).log_timestamp_ms == 0


@pytest.mark.parametrize("flush_disk_type", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_what_could_not_be_synced_is_not_promised_by_a_successor(tmp_path, monkeypatch, flush_disk_type):
    ground = Ground(tmp_path, flush_disk_type=flush_disk_type)
    with monkeypatch.context() as patched:
        patched.setattr(segment_module, "sync_mapped", lambda *_: -errno.EIO)
        ground.append(300)
        ground.start()
        eventually(lambda: ground.flusher.has_failed)
        ground.flusher.stop()
    successor = Flusher(ground.config, ground.memory, ground.paths, ground.log)
    successor.start(ground.log.open(0, writable=True))
    successor.stop()
    assert ground.marks.flushed == 0, "the system would call another sync a success"


def test_where_nobody_can_be_told_of_a_failed_sync_the_log_is_closed_all_the_same(
    tmp_path, monkeypatch, capfd
):
    ground = Ground(tmp_path, flush_disk_type="SYNC_FLUSH")
    monkeypatch.setattr(segment_module, "sync_mapped", lambda *_: -errno.EIO)
    ground.paths.sync_failed.mkdir()
    ground.append(300)
    ground.start()
    ground.flusher.stop()
    assert closed(ground.memory.place("gates")) == Closed.SYNC_FAILED
    assert "recovery will not know of it" in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("part", ["flusher.flush_range", "log_ahead.store_word"])
def test_a_thread_that_ends_by_an_error_wakes_the_writer(ground, monkeypatch, part):
    module, name = part.split(".")
    monkeypatch.setattr({"flusher": flusher, "log_ahead": log_ahead}[module], name, lambda *_: 1 / 0)
    ground.sleep_at(plan.BELL_WRITER)
    ground.append(300)
    ground.start()
    while ground.is_asleep(plan.BELL_WRITER):
        doorbell.sleep(ground.memory.bell(plan.BELL_WRITER), 30_000_000_000)
    assert ground.flusher.has_news
    assert not ground.flusher.is_running
    ground.flusher.stop()


def test_the_age_of_a_full_file_counts_from_when_it_is_on_disk(ground):
    ground.start()
    ground.append(8000)
    following = take(ground, FILE_BYTES)
    first = ground.log.file(0)
    os.utime(first, (1, 1))  # as on a system that does not note when a mapping is written
    ground.writer_part.close_file()
    ground.flusher.retire(following)
    ground.writer_part.segment = following
    ground.append(100)
    eventually(lambda: first.stat().st_mtime > 1)
