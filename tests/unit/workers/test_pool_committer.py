"""A writer with a transient pool: what it places comes to the log behind it, whole, and once."""

import errno
import os
import struct
import threading
from contextlib import closing

import pytest

from shmq.ring import doorbell
from shmq.shared import commit, plan, pool_commit
from shmq.store import record
from shmq.workers import pool_committer
from tests.support.waiting import eventually
from tests.support.writer_ground import QUEUES, WriterGround, message, message_of_size, until_idle
from tests.support.writer_lives import BareWriter, check, succeed

STORED, UNAVAILABLE = 0, 2
FILE_BYTES = 8192
POOL = {"transient_pool": True, "transient_pool_buffers": 2}
AT_ONCE = {"commit_least_pages": 0}
NEVER = {"commit_least_pages": 1_000_000, "commit_interval_ms": 3_600_000}


def new_ground(root, **settings):
    return WriterGround(root, **(POOL | AT_ONCE | settings))


def started(ground):
    writer = ground.writer()
    writer.start()
    return closing(writer)


def send(ground, writer, *sizes):
    """Submit a record of each size, and let the writer take them; return what was submitted, by tag."""
    sent = {}
    for size_bytes in sizes:
        records = (message_of_size(size_bytes),)
        sent[ground.submit(*records)] = records
        until_idle(writer)
    return sent


def test_what_is_placed_comes_into_the_log(tmp_path):
    ground = new_ground(tmp_path)
    with started(ground) as writer:
        sent = send(ground, writer, 300, 400)
        marks = ground.memory.watermarks
        eventually(lambda: marks.appended == marks.wrote == 700)
        check(ground, sent, ground.completions())


def test_what_is_placed_is_answered_before_it_can_be_seen(tmp_path):
    ground = new_ground(tmp_path, **NEVER)
    with started(ground) as writer:
        sent = send(ground, writer, 300)
        marks = ground.memory.watermarks
        answers = ground.completions()
        assert [each.status for each in answers] == [STORED]
        assert (marks.wrote, marks.appended, marks.confirmed) == (300, 0, 0)
    assert marks.wrote == marks.appended == marks.flushed == 300
    check(ground, sent, answers)


def test_little_is_written_when_it_has_waited_long_enough(tmp_path):
    ground = new_ground(tmp_path, commit_least_pages=1_000_000, commit_interval_ms=1)
    with started(ground) as writer:
        send(ground, writer, 300)
        eventually(lambda: ground.memory.watermarks.appended == 300)


def test_so_many_pages_are_written_at_once(tmp_path):
    ground = new_ground(tmp_path, commit_least_pages=1, commit_interval_ms=3_600_000)
    with started(ground) as writer:
        send(ground, writer, 4000)
        assert ground.memory.watermarks.appended == 0
        send(ground, writer, 300)
        eventually(lambda: ground.memory.watermarks.appended == 4300)


@pytest.mark.parametrize("buffers", [2, 5])
def test_the_log_goes_on_from_file_to_file(tmp_path, buffers):
    ground = new_ground(tmp_path, transient_pool_buffers=buffers)
    with started(ground) as writer:
        sent = send(ground, writer, 3000, 5000, 8184, 100, 8000, 200, 7000, 7000, 500)
    check(ground, sent, ground.completions())
    assert len(ground.log.starts()) == 5
    assert blanks_are_zeros(ground) == 4, "what another file left in a buffer is nowhere"


def blanks_are_zeros(ground):
    """Check that nothing lies behind the head of a blank; return how many there are."""
    blanks, position = 0, 0
    while position < ground.memory.watermarks.appended:
        start = position - position % FILE_BYTES
        content = ground.log.file(start).read_bytes()
        size_bytes, magic = struct.unpack_from(">ii", content, position - start)
        if magic == record.BLANK_MAGIC:
            assert not any(content[position - start + 8 :])
            blanks += 1
        position += size_bytes
    return blanks


def test_under_sync_flush_nothing_waits_for_more_to_come(tmp_path):
    ground = new_ground(tmp_path, flush_disk_type="SYNC_FLUSH", **NEVER)
    with started(ground) as writer:
        send(ground, writer, 300)
        ground.wait_flushed(300)
        assert ground.memory.watermarks.confirmed == 300


def test_who_follows_the_log_is_woken(tmp_path):
    ground = new_ground(tmp_path)
    with started(ground) as writer:
        ground.sleep_at(plan.BELL_DISPATCHER)
        send(ground, writer, 300)
        eventually(lambda: not ground.is_asleep(plan.BELL_DISPATCHER))


def test_a_file_whose_buffer_is_not_free_is_waited_for(tmp_path, monkeypatch):
    held, kernel = threading.Event(), pool_commit.commit_pool

    def hold(duty):
        held.wait()
        kernel(duty)

    monkeypatch.setattr(pool_commit, "commit_pool", hold)
    ground = new_ground(tmp_path)
    with started(ground) as writer:
        sent = send(ground, writer, 8000, 8000)
        records = (message_of_size(300),)
        sent[ground.submit(*records)] = records
        writer.do_work(0)
        assert writer.waits_for_file
        assert writer.do_work(0) == 0
        held.set()
        until_idle(writer)
    check(ground, sent, ground.completions())


def test_a_successor_brings_to_the_log_what_lies_in_the_pool(tmp_path):
    ground = new_ground(tmp_path)
    bare, sent = BareWriter(ground), {}
    for queue in (QUEUES[0], QUEUES[1], QUEUES[0], QUEUES[0]):
        records = (message(queue, b"x" * 3000),)
        sent[ground.submit(*records)] = records
    while bare.turn() != commit.IDLE:
        pass
    marks = ground.memory.watermarks
    assert marks.appended == 0
    assert marks.wrote > FILE_BYTES
    ground.memory.queues.next[:3] = [77, 0, -5]
    succeed(ground)
    assert marks.appended == marks.wrote == marks.flushed
    check(ground, sent, ground.completions())


def test_while_the_disk_refuses_messages_are_refused_and_none_is_lost(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(pool_committer, "RETRY_S", 0.001)
    ground = new_ground(tmp_path, **NEVER)
    with started(ground) as writer:
        failing = FailingOpen(monkeypatch)
        sent = send(ground, writer, 300)
        ground.ring(plan.BELL_WRITER)
        writer._end._duty["least_bytes"] = 0
        pool_commit.want_python(writer._end._duty_at)
        eventually(lambda: writer._end.is_stuck)
        assert os.strerror(errno.EBADF) in capfd.readouterr().err
        ground.submit(message())
        writer.do_work(0)
        answers = ground.completions()
        assert [each.status for each in answers] == [STORED, UNAVAILABLE]
        failing.is_failing = False
        eventually(lambda: not writer._end.is_stuck)
        assert ground.memory.watermarks.appended == 300
        sent |= send(ground, writer, 400)
    check(ground, sent, [answers[0], *ground.completions()])


class FailingOpen:
    """Descriptors that nobody can write to, for as long as it is to fail."""

    def __init__(self, monkeypatch):
        self.is_failing = True
        self._open = os.open
        monkeypatch.setattr(pool_committer.os, "open", self.open)

    def open(self, path, flags, *rest):
        return self._open(path, os.O_RDONLY if self.is_failing and flags & os.O_WRONLY else flags, *rest)


def test_where_the_disk_refuses_to_the_end_the_rest_stays_unwritten(tmp_path, monkeypatch):
    monkeypatch.setattr(pool_committer, "RETRY_S", 0.001)
    ground = new_ground(tmp_path, **NEVER)
    with started(ground) as writer:
        send(ground, writer, 300)
        FailingOpen(monkeypatch)
    marks = ground.memory.watermarks
    assert (marks.wrote, marks.appended) == (300, 0), "the supervisor sees that the store is not whole"


def test_the_head_of_what_is_written_comes_last(tmp_path, monkeypatch):
    ground = new_ground(tmp_path, **NEVER)
    bare = BareWriter(ground)
    ground.submit(message_of_size(300))
    bare.turn()
    calls = []
    monkeypatch.setattr(
        pool_commit, "write_file", lambda _file, _at, size, offset: calls.append((offset, size)) or 0
    )
    monkeypatch.setattr(pool_commit, "_write", getattr(pool_commit._write, "py_func", pool_commit._write))
    end = ground.writer()._end
    end._duty["begin"], end._duty["end"] = 0, FILE_BYTES
    getattr(pool_commit.commit_rest, "py_func", pool_commit.commit_rest)(end._duty_at)
    assert calls == [(8, 292), (0, 8)]
    assert ground.memory.watermarks.appended == 300


def test_asleep_it_is_woken_by_what_is_placed(tmp_path):
    ground = new_ground(tmp_path)
    with started(ground) as writer:
        send(ground, writer, 300)
        eventually(lambda: ground.memory.watermarks.appended == 300)
        bell = writer._end.bell
        eventually(lambda: doorbell.load_native_i64(bell + doorbell.SLEEPING) == 1)
        send(ground, writer, 300)
        eventually(lambda: ground.memory.watermarks.appended == 600)
