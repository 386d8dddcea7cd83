"""What the conductor makes of the letters of workers; requests and their answers are tests of `broker`."""

import os

import orjson
import pytest
from structlog.testing import capture_logs

from shmq.broker.questions import ask_group
from shmq.memory.block import address_of
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell
from shmq.shared import gates, plan, roster
from shmq.store.store_files import StorePaths
from shmq.store.watermarks import TRIMMED
from shmq.workers import conductor as conductor_module
from shmq.workers.agenda import ALONE_AFTER_MS, ALONE_MS
from shmq.workers.conductor import Conductor
from shmq.workers.letters import Inbox, Kind, Outbox
from tests.support.ports import free_port
from tests.support.writer_ground import WriterGround


class Ground(WriterGround):
    """A conductor, and the ends of its rings that belong to a network worker."""

    def __init__(self, root):
        super().__init__(root, namesrv_listen="off", listen=f"127.0.0.1:{free_port()}")
        self.paths.config.mkdir(parents=True)
        memory = self.memory
        down = memory.bytes_of("down/0")
        self.outbox = self.outbox_of(0)
        self.inbox = Inbox(down, address_of(down))
        self.bell = os.eventfd(0, os.EFD_NONBLOCK)
        self.conductor = Conductor(self.config, memory, StorePaths.of(self.config), self.bell)

    def outbox_of(self, worker):
        up = self.memory.bytes_of(f"up/{worker}")
        bell = self.memory.bell(plan.BELL_CONDUCTOR)
        return Outbox(up, address_of(up), self.config.letter_ring_bytes, bell)

    def kinds(self):
        return [each.kind for each in self.inbox.letters(10_000)]


@pytest.fixture
def ground(tmp_path):
    made = Ground(tmp_path)
    made.conductor.start()
    yield made
    made.conductor.close()
    os.close(made.bell)


def test_a_new_conductor_asks_everybody_to_say_it_again(ground):
    assert ground.kinds() == [Kind.RESTARTED]
    assert not ground.conductor.is_ready


def test_a_worker_that_says_hello_is_told_everything(ground):
    ground.kinds()
    ground.outbox.post(Kind.HELLO, 4)
    ground.conductor.do_work(0)
    kinds = ground.kinds()
    assert (kinds[0], kinds[-1]) == (Kind.WELCOME, Kind.COMPLETE)
    assert set(kinds[1:-1]) == {Kind.UPDATE}


def test_what_a_worker_says_before_its_hello_was_meant_for_a_predecessor(ground):
    """It may even be the end of a letter whose beginning the predecessor had read."""
    ground.kinds()
    ground.outbox.post(Kind.REQUEST, 1, [b"the end of a frame"])
    ground.outbox.post(Kind.ASK, 2, [b"question}"])
    ground.conductor.do_work(0)
    assert ground.kinds() == []
    ground.outbox.post(Kind.HELLO, 1)
    ground.conductor.do_work(0)
    assert ground.kinds()[-1] == Kind.COMPLETE


def test_it_is_done_when_the_workers_are_gone_and_their_letters_read(ground):
    rows = ground.memory.roster
    roster.note_start(rows[plan.FIRST_WORKER], os.getpid())
    ground.conductor.stop()
    assert not ground.conductor.is_done
    rows[plan.FIRST_WORKER]["pid"] = 0
    assert ground.conductor.is_done
    ground.outbox.post(Kind.HELLO, 1)
    assert not ground.conductor.is_done
    ground.conductor.do_work(0)
    assert ground.conductor.is_done


def test_requests_wait_until_every_worker_has_announced_its_clients(tmp_path):
    ground = Ground(tmp_path)
    ground.conductor.start()
    other = ground.outbox_of(1)
    for number, outbox in enumerate((ground.outbox, other)):
        outbox.post(Kind.HELLO, number + 1)
    ground.outbox.post(Kind.ANNOUNCED, 1)
    ground.outbox.post(Kind.ASK, 7, [orjson.dumps(ask_group("readers"))])
    for _ in range(3):
        ground.conductor.do_work(0)
    assert Kind.ANSWERED not in ground.kinds()
    other.post(Kind.ANNOUNCED, 2)
    for _ in range(2):
        ground.conductor.do_work(0)
    assert ground.kinds()[-1] == Kind.ANSWERED
    ground.conductor.close()
    os.close(ground.bell)


def test_a_document_that_cannot_be_saved_is_tried_again_later(ground):
    ground.outbox.post(Kind.HELLO, 1)
    ground.outbox.post(Kind.ANNOUNCED, 1)
    other = ground.outbox_of(1)
    other.post(Kind.HELLO, 1)
    other.post(Kind.ANNOUNCED, 1)
    path = ground.paths.config / "subscriptionGroup.json"
    path.with_name(path.name + ".new").mkdir()  # what is to be written there cannot be
    ground.outbox.post(Kind.ASK, 7, [orjson.dumps(ask_group("readers"))])
    with capture_logs() as lines:
        for _ in range(20):
            ground.conductor.do_work(0)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == [
        "a document could not be saved"
    ]
    path.with_name(path.name + ".new").rmdir()
    ground.conductor.stop()  # does not wait for the time to come
    ground.conductor.do_work(0)
    assert "readers" in path.read_text()


def test_while_nobody_is_there_it_looks_seldom(tmp_path, monkeypatch):
    clock = [1_000_000]
    monkeypatch.setattr(conductor_module, "wall_ms", lambda: clock[0])
    ground = Ground(tmp_path)
    conductor, interval_ms = ground.conductor, ground.config.consumer_offset_flush_interval_ms
    conductor.start()
    for number, outbox in enumerate((ground.outbox, ground.outbox_of(1))):
        outbox.post(Kind.HELLO, number + 1)
        outbox.post(Kind.ANNOUNCED, number + 1)

    def wait_ms():
        conductor.do_work(0)
        return conductor._agenda.wait_ms(clock[0], ALONE_MS)

    assert wait_ms() <= interval_ms
    clock[0] += ALONE_AFTER_MS
    wait_ms()
    clock[0] += 1
    assert wait_ms() > interval_ms
    ground.outbox.post(Kind.ASK, 7, [orjson.dumps(ask_group("readers"))])
    assert wait_ms() <= interval_ms  # who asks may change something
    clock[0] += ALONE_AFTER_MS - 1
    assert wait_ms() <= interval_ms
    clock[0] += 2 * ALONE_AFTER_MS
    wait_ms()  # what is due is done once more at the old pace
    clock[0] += ALONE_AFTER_MS
    assert wait_ms() > interval_ms
    monkeypatch.setattr(type(conductor._state.delays), "is_anything_waiting", property(lambda _: True))
    wait_ms()
    due_ms = conductor._agenda._due_ms[conductor._upkeep._save_delays] - clock[0]
    assert (
        due_ms <= ground.config.delay_offset_flush_interval_ms
    )  # what waits moves offsets when it is delivered
    conductor.close()
    os.close(ground.bell)


def test_what_was_trimmed_is_told_to_everybody_who_may_have_it_mapped(ground):
    ground.outbox.post(Kind.HELLO, 4)
    ground.conductor.do_work(0)
    ground.kinds()
    memory = ground.memory
    cleanups = memory.place("gates") + gates.CLEANUPS
    before = load_word(cleanups)
    for number in (plan.BELL_DISPATCHER, plan.BELL_INDEXER):
        doorbell.will_sleep(memory.bell(number))
    store_word(memory.watermarks.address + TRIMMED, 8192)
    ground.conductor._retention.tell_all()
    ground.conductor.do_work(0)
    assert [(each.kind, each.tag) for each in ground.inbox.letters(10)] == [(Kind.TRIMMED, 8192)]
    assert load_word(cleanups) == before + 1
    for number in (plan.BELL_DISPATCHER, plan.BELL_INDEXER):
        assert load_word(memory.bell(number) + doorbell.SLEEPING) == 0


def test_it_looks_at_the_disk_when_it_starts_and_in_rounds(ground, monkeypatch):
    looks = []
    monkeypatch.setattr(ground.conductor._retention, "look", lambda: looks.append(1))
    clock = {"now_ms": 1_000_000_000_000_000}
    monkeypatch.setattr(conductor_module, "wall_ms", lambda: clock["now_ms"])
    for passed_ms in (0, ALONE_MS - 1, 1, 2 * ALONE_MS):
        clock["now_ms"] += passed_ms
        ground.conductor.do_work(0)
    assert len(looks) == 3
