"""Reviving as the conductor's chore: batches, failures, and when it wants to be asked again."""

from types import SimpleNamespace

import pytest

from shmq import logs
from shmq.broker.outcome import Appended, PutStatus
from shmq.broker.pop.flights import FlightStoreError
from shmq.store.record import PROPERTIES_BYTES_MAX
from shmq.workers.reviving import AGAIN_HOPELESS_MS, AGAIN_MS, QUIET_MS, Reviving
from tests.support.pop_ground import PopGround
from tests.support.popping import ack, pop


class Writer:
    """Takes appends, and answers when it is told to."""

    def __init__(self, ground):
        self.ground = ground
        self.waiting = []

    def store(self, _slot, records, then, _now_ms):
        self.waiting.append((records, then))

    def answer(self, status=PutStatus.PUT_OK):
        waiting, self.waiting = self.waiting, []
        for records, then in waiting:
            if status is PutStatus.PUT_OK:
                for record in records:
                    self.ground.put(record)
            then(Appended(status, 0, (), 0))
        self.ground.state.pops.settle()
        self.ground.publish()
        return len(waiting)


@pytest.fixture
def parts(tmp_path):
    ground = PopGround(tmp_path)
    writer = Writer(ground)
    return SimpleNamespace(
        ground=ground,
        writer=writer,
        chore=Reviving(ground.state, writer, lambda: ground.now_ms, logs.get("test")),
    )


def take(ground, *bodies, invisible_ms=100):
    ground.send(*bodies)
    return pop(ground, "T", "G", bornTime=ground.now_ms, invisibleTime=invisible_ms)


def test_with_nothing_out_it_is_quiet(parts):
    assert parts.chore.look(parts.ground.now_ms) == QUIET_MS
    assert not parts.chore.is_waiting
    assert not parts.chore.is_roused


def test_it_is_roused_by_a_pop_and_looks_when_the_first_is_due(parts):
    parts.chore.look(parts.ground.now_ms)
    take(parts.ground, b"a")
    assert parts.chore.is_roused
    assert parts.chore.look(parts.ground.now_ms) == 100
    assert parts.chore.is_waiting
    assert not parts.chore.is_roused


def test_what_is_due_is_written_and_then_forgotten(parts):
    take(parts.ground, b"a", b"b")
    parts.ground.now_ms += 100
    assert parts.chore.look(parts.ground.now_ms) == QUIET_MS
    assert len(parts.ground.flights) == 2
    assert not parts.chore.is_roused  # one batch at a time
    assert parts.writer.answer() == 2
    assert parts.ground.flights == []
    assert parts.chore.is_roused
    parts.chore.look(parts.ground.now_ms)
    assert [bytes(message.body) for message in parts.ground.stored("%RETRY%G_T")] == [b"a", b"b"]


def test_a_message_that_is_acknowledged_while_it_is_written_is_over(parts):
    (message,) = take(parts.ground, b"a")
    parts.ground.now_ms += 100
    parts.chore.look(parts.ground.now_ms)
    ack(parts.ground, "G", message)
    parts.writer.answer()
    assert parts.ground.flights == []


@pytest.mark.parametrize(
    ("status", "wait_ms"),
    [(PutStatus.SERVICE_NOT_AVAILABLE, AGAIN_MS), (PutStatus.MESSAGE_ILLEGAL, AGAIN_HOPELESS_MS)],
)
def test_what_is_not_stored_is_tried_again_later(parts, status, wait_ms):
    take(parts.ground, b"a")
    parts.ground.now_ms += 100
    parts.chore.look(parts.ground.now_ms)
    parts.writer.answer(status)
    assert parts.chore.look(parts.ground.now_ms) == min(wait_ms, QUIET_MS)
    assert parts.writer.waiting == []
    parts.ground.now_ms += wait_ms
    parts.chore.look(parts.ground.now_ms)
    assert parts.writer.answer() == 1
    assert parts.ground.flights == []


def test_what_cannot_be_written_as_it_is_is_kept(parts):
    text = b"a\x01" + b"x" * (PROPERTIES_BYTES_MAX - 3) + b"\x02"
    parts.ground.append("T", properties=text)
    take(parts.ground)
    parts.ground.now_ms += 100
    assert parts.chore.look(parts.ground.now_ms) == QUIET_MS
    assert len(parts.ground.flights) == 1


def test_it_goes_on_when_the_store_fails(parts, monkeypatch):
    take(parts.ground, b"a")
    parts.ground.now_ms += 100

    def fail(*_):
        raise FlightStoreError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(parts.ground.state.pops.store, "due", fail)
        assert parts.chore.look(parts.ground.now_ms) == AGAIN_MS
    parts.chore.look(parts.ground.now_ms)
    assert parts.writer.answer() == 1


def test_stopped_it_begins_nothing(parts):
    take(parts.ground, b"a")
    parts.ground.now_ms += 100
    parts.chore.stop()
    assert parts.chore.look(parts.ground.now_ms) == QUIET_MS
    assert not parts.chore.is_roused
    assert parts.writer.waiting == []
