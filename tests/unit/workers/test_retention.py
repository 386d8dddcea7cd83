"""Retention at work on a real store: what goes, in which order, and what is left wherever it is killed."""

import os
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from shmq import logs
from shmq.broker.effects import Cleaning
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell
from shmq.shared import broker_memory, gates, plan
from shmq.store.position import NONE
from shmq.store.queue_directory import QueueDirectory, queue_path
from shmq.store.recover import Tables, recover
from shmq.store.store_files import was_left_open
from shmq.store.watermarks import FLUSHED
from shmq.workers import retention as retention_module
from shmq.workers import sweeping
from shmq.workers.retention import MANUAL_LOOKS, Retention
from shmq.workers.sweeping import used_percent
from tests.support.store_on_disk import (
    LOG_BYTES,
    NOW_MS,
    QUEUE_BYTES,
    QUEUES,
    Outcome,
    check,
    crash,
    made_store,
)
from tests.support.waiting import eventually
from tests.support.writer_ground import small_config

HOUR_S = 3600
PIECES = 8
"""Of a run that lets three files go: a look, the files, all queues, the files of three queues."""
NO_PAUSES = {"delete_log_interval_ms": 0, "delete_queue_interval_ms": 0, "delete_hours": ()}


@dataclass
class Ground:
    """A store of five full files and a bit, and the memory of its broker.

    Attributes:
        told: what `trimmed` was each time that everybody was told.
    """

    root: object
    told: list = field(default_factory=list)
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        self.store = made_store(self.root)
        self.open()

    def open(self):
        """As a start of the broker does."""
        self.config = small_config(
            self.root,
            commit_log_file_bytes=LOG_BYTES,
            consume_queue_file_bytes=QUEUE_BYTES,
            **(NO_PAUSES | self.settings),
        )
        self.memory = memory = broker_memory.create_unnamed(self.config)
        for number in range(plan.BELL_FIRST_WORKER + memory.plan.workers):
            doorbell.initialise(memory.bell(number))
        tables = Tables(memory.topic_names, memory.queues, [1000, 5000])
        paths, sizes = self.store.paths, self.store.sizes
        clean = not was_left_open(paths)
        recovered = recover(paths, sizes, tables, clean, NOW_MS, lambda _: None)
        memory.watermarks.begin(recovered.trimmed, recovered.end, recovered.store_ms, recovered.end)
        self.outcome = Outcome(recovered, memory.topic_names, memory.queues, [])

    def retention(self, **settings):
        config = small_config(self.root, **(vars(self.config) | settings)) if settings else self.config
        return Retention(
            config,
            self.memory,
            self.store.paths,
            lambda: self.told.append(self.marks.trimmed),
            logs.get("test"),
        )

    @property
    def marks(self):
        return self.memory.watermarks

    @property
    def log_starts(self):
        return sorted(int(path.name) for path in self.store.paths.commitlog.iterdir())  # some may be going

    def age(self, hours):
        """Let files of the log, the oldest first, be so many hours old."""
        for start, each in zip(self.log_starts, hours, strict=False):
            seconds = self.store.paths.root.stat().st_mtime - each * HOUR_S - 1
            os.utime(self.store.log.file(start), (seconds, seconds))

    def queue_starts(self, queue):
        return QueueDirectory(queue_path(self.store.paths.consumequeue, *queue), QUEUE_BYTES).starts()

    def bounds(self, queue):
        slot = self.outcome.slot(queue)
        return int(self.memory.queues.min[slot]), int(self.memory.queues.max[slot])

    def check_trimmed(self, position):
        """Log, queues and tables begin at a position, and nothing else has changed."""
        assert self.marks.trimmed == self.log_starts[0] == position
        for queue in QUEUES:
            left = [
                each.offset
                for each in self.store.messages
                if each.queue == queue and each.position >= position
            ]
            maximum = self.store.next[queue]
            minimum = left[0] if left else maximum
            assert self.bounds(queue) == (minimum, maximum)
            first = min(minimum // 10 * QUEUE_BYTES, (maximum - 1) // 10 * QUEUE_BYTES)
            assert self.queue_starts(queue)[0] == first


@pytest.fixture
def ground(tmp_path):
    return Ground(tmp_path)


def looked(retention):
    """Look once, with the thread, and wait until all that follows is done."""
    retention.start()
    retention.look()
    finish(retention)
    retention.close()


def finish(retention):
    def is_done():
        retention.poll()
        return retention.is_at_rest

    eventually(is_done)


def stepped(retention, steps):
    """As the thread and the conductor, one piece after the other; return whether there were so many."""
    retention._is_look_due = True
    for _ in range(steps):
        job = retention._next_job()
        if job is None:
            return False
        job()()
    return True


def test_nothing_goes_by_itself_while_nothing_is_expired(ground):
    before = ground.log_starts
    looked(ground.retention())
    assert ground.log_starts == before
    assert ground.told == []
    ground.check_trimmed(0)


def test_no_file_goes_that_others_need(ground):
    ground.age([100, 100, 100, 100])
    retention = ground.retention()
    retention.keep_for(lambda: [NONE, 2 * LOG_BYTES - 1, 3 * LOG_BYTES])
    retention.start()
    retention.clean(Cleaning.EXPIRED)
    finish(retention)
    retention.close()
    ground.check_trimmed(LOG_BYTES)


def test_a_request_deletes_what_is_expired_and_no_more(ground):
    ground.age([100, 73, 71, 100])
    retention = ground.retention()
    retention.start()
    retention.clean(Cleaning.EXPIRED)
    finish(retention)
    ground.check_trimmed(2 * LOG_BYTES)
    assert ground.told == [2 * LOG_BYTES] * 2, "before the log's files go, and before the queues' do"
    for _ in range(MANUAL_LOOKS - 1):
        assert retention.is_eager
        retention.look()
        finish(retention)
    ground.age([100])
    retention.look()
    finish(retention)
    ground.check_trimmed(2 * LOG_BYTES)
    retention.close()


def test_in_its_hour_it_deletes_what_is_expired(ground):
    ground.age([100, 100])
    looked(ground.retention(delete_hours=tuple(f"{hour:02d}" for hour in range(24))))
    ground.check_trimmed(2 * LOG_BYTES)


def test_what_is_needed_stays(ground):
    ground.age([100] * 9)
    store_word(ground.marks.address + FLUSHED, 3 * LOG_BYTES - 1)
    retention = ground.retention()
    retention.start()
    retention.clean(Cleaning.EXPIRED)
    finish(retention)
    ground.check_trimmed(2 * LOG_BYTES)
    store_word(ground.marks.address + FLUSHED, ground.marks.appended)
    retention.look()
    finish(retention)
    ground.check_trimmed(ground.log_starts[-1])
    assert ground.log_starts == [(ground.store.end - 1) // LOG_BYTES * LOG_BYTES]
    retention.close()


def test_a_queue_whose_last_message_is_gone_keeps_its_offset(ground):
    last = {queue: max(m.position for m in ground.store.messages if m.queue == queue) for queue in QUEUES}
    while min(last.values()) >= (ground.store.end - 1) // LOG_BYTES * LOG_BYTES:
        for _ in range(20):
            ground.store.append(QUEUES[0])
    ground.open()
    ground.age([100] * 20)
    retention = ground.retention()
    retention.start()
    retention.clean(Cleaning.EXPIRED)
    finish(retention)
    retention.close()
    ground.check_trimmed(ground.log_starts[-1])
    assert ground.bounds(QUEUES[1])[0] == ground.bounds(QUEUES[1])[1] > 0
    crash(ground.store)
    ground.open()
    ground.check_trimmed(ground.log_starts[-1])


def test_a_queue_that_was_hidden_stays_hidden(ground):
    slot = ground.outcome.slot(QUEUES[0])
    table = ground.memory.queues
    table.min[slot] = table.max[slot]  # as a deleted topic's
    ground.age([100])
    retention = ground.retention()
    retention.start()
    retention.clean(Cleaning.EXPIRED)
    finish(retention)
    retention.close()
    assert table.min[slot] == table.max[slot]


@pytest.mark.parametrize("steps", range(PIECES + 1))
def test_a_successor_of_a_killed_conductor_finishes_what_was_begun(ground, steps):
    ground.age([100, 100, 100])
    retention = ground.retention()
    retention._manual_looks = 1
    stepped(retention, steps)
    begun = ground.marks.trimmed
    assert begun == (3 * LOG_BYTES if steps else 0)
    ground.told.clear()
    looked(ground.retention())
    ground.check_trimmed(begun)
    assert ground.told or not begun, "whoever has files mapped that are gone hears of it"


@pytest.mark.parametrize("steps", range(PIECES + 1))
def test_a_store_whose_broker_was_killed_while_it_cleaned_up_is_whole(ground, steps):
    ground.age([100, 100, 100])
    retention = ground.retention()
    retention._manual_looks = 1
    stepped(retention, steps)
    crash(ground.store)
    ground.open()
    begin = ground.marks.trimmed
    assert begin == ground.log_starts[0] <= 3 * LOG_BYTES
    ground.store.messages = [each for each in ground.store.messages if each.position >= begin]
    check(ground.store, ground.outcome)
    looked(ground.retention())
    ground.check_trimmed(begin)


def test_a_whole_run_has_as_many_pieces_as_are_tried(ground):
    ground.age([100, 100, 100])
    retention = ground.retention()
    retention._manual_looks = 1
    assert stepped(retention, PIECES)
    assert retention._next_job() is None
    ground.check_trimmed(3 * LOG_BYTES)


def test_queues_are_swept_when_that_is_asked_for(ground):
    ground.age([100, 100, 100])
    retention = ground.retention()
    retention._manual_looks = 1
    stepped(retention, 4)  # the look, and three files of the log
    successor = ground.retention()
    successor._swept = ground.marks.trimmed  # as one that has swept, and missed something
    successor.start()
    successor.look()
    finish(successor)
    assert ground.bounds(QUEUES[0])[0] == 0
    successor.clean(Cleaning.QUEUES)
    finish(successor)
    ground.check_trimmed(3 * LOG_BYTES)
    successor.close()


def test_many_queues_are_swept_in_pieces(ground, monkeypatch):
    monkeypatch.setattr(retention_module, "SWEEP_QUEUES", 1)
    ground.age([100, 100])
    retention = ground.retention()
    retention.start()
    retention.clean(Cleaning.EXPIRED)
    finish(retention)
    retention.close()
    ground.check_trimmed(2 * LOG_BYTES)
    assert len(ground.told) == 2


def test_a_full_disk_closes_the_gate_until_there_is_room(ground, monkeypatch):
    percent = {"now": 50}
    monkeypatch.setattr(sweeping, "used_percent", lambda _path: percent["now"])
    word = ground.memory.place("gates") + gates.DISK_FULL
    retention = ground.retention(clean_forcibly_enable=False)
    retention.start()
    seen = []
    with capture_logs() as lines:
        for percent["now"] in (90, 91, 99, 90, 86, 85, 86):
            retention.look()
            finish(retention)
            seen.append(load_word(word))
    retention.close()
    assert seen == [0, 1, 1, 1, 1, 0, 0]
    said = [line["event"] for line in lines if line["log_level"] in {"error", "warning"}]
    assert said == [
        "the disk fills up, and nothing may be deleted",
        "a disk is full: refusing messages",
        "the disks have room: taking messages again",
    ]


def test_a_successor_goes_on_with_the_gate_as_it_was(ground, monkeypatch):
    percent = {"now": 95}
    monkeypatch.setattr(sweeping, "used_percent", lambda _path: percent["now"])
    word = ground.memory.place("gates") + gates.DISK_FULL
    for percent["now"], expected in ((95, 1), (88, 1), (80, 0), (88, 0)):
        looked(ground.retention(clean_forcibly_enable=False))
        assert load_word(word) == expected


def test_the_oldest_files_go_whatever_their_age_where_room_is_short(ground, monkeypatch):
    monkeypatch.setattr(sweeping, "used_percent", lambda _path: 88)
    looked(ground.retention(delete_batch_max=2))
    ground.check_trimmed(2 * LOG_BYTES)


def test_the_writer_is_woken_when_the_gate_moves(ground, monkeypatch):
    bell = ground.memory.bell(plan.BELL_WRITER)
    doorbell.will_sleep(bell)
    monkeypatch.setattr(sweeping, "used_percent", lambda _path: 99)
    looked(ground.retention(clean_forcibly_enable=False))
    assert load_word(bell + doorbell.SLEEPING) == 0


def test_what_cannot_be_deleted_is_said_once_and_tried_again(ground, monkeypatch):
    ground.age([100, 100])
    retention = ground.retention()
    retention.start()
    with capture_logs() as lines, monkeypatch.context() as refusing:

        def refuse(*_):
            raise PermissionError(1, "Operation not permitted")

        refusing.setattr(retention_module, "remove_log_file", refuse)
        retention.clean(Cleaning.EXPIRED)
        finish(retention)
        retention.look()
        finish(retention)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["cannot clean up"]
    assert ground.marks.trimmed == 2 * LOG_BYTES
    assert ground.log_starts[0] == 0
    retention.look()
    finish(retention)
    ground.check_trimmed(2 * LOG_BYTES)
    retention.close()


def test_a_stop_ends_a_pause(ground):
    ground.age([100, 100])
    retention = ground.retention(delete_log_interval_ms=3_600_000)
    retention.start()
    retention.clean(Cleaning.EXPIRED)
    eventually(
        lambda: (retention.poll() and ground.log_starts[0] == LOG_BYTES) or ground.log_starts[0] == LOG_BYTES
    )
    retention.close()
    assert ground.log_starts[0] == LOG_BYTES


def test_a_thread_that_dies_is_the_end_of_the_conductor(ground, monkeypatch):
    monkeypatch.setattr("threading.excepthook", lambda _args: None)
    monkeypatch.delattr(retention_module, "look_at")
    retention = ground.retention()
    retention.start()
    retention.look()
    eventually(lambda: retention.has_news)
    with pytest.raises(AssertionError, match="retention thread"):
        retention.poll()
    retention.close()


def test_how_full_a_disk_is_is_known_before_there_are_queues(tmp_path):
    assert used_percent(tmp_path / "not" / "there") == used_percent(tmp_path)
    assert 0 < used_percent(tmp_path) <= 100
