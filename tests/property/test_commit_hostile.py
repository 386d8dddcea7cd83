"""A sender may write to its rings while they are read: it spoils what it sent, and nothing else."""

import ctypes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shmq.ring import header, spsc
from shmq.shared import commit
from tests.support.killing import Killer
from tests.support.writer_ground import QUEUES, WriterGround, encode, message
from tests.support.writer_lives import BareWriter

HELD = [HealthCheck.function_scoped_fixture]
RING_BYTES = 256 * 1024


class Meddler(Killer):
    """Instead of killing at a store, writes to the sender's memory there."""

    def meddle_before(self, store, change):
        self._change = change
        self.kill_before(store)

    def _counted(self, function):
        def counted(*args):
            if self._left == 0:
                self._change()
            self._left -= 1
            return function(*args)

        return counted


def poke(at, content):
    ctypes.memmove(at, content, len(content))


def check_log(ground):
    """Whatever is stored is whole, for a queue that there is, and nothing lies behind it."""
    counts = {}
    stored = ground.stored()
    for each in stored:
        queue = (each.topic, each.queue_id)
        assert queue in QUEUES
        assert each.queue_offset == counts.get(queue, 0)
        counts[queue] = each.queue_offset + 1
    assert not any(ground.bytes_behind())
    return stored


words = st.sampled_from(
    [0, 1, 7, 8, -1, -8, 1 << 31, 1 << 62, -(1 << 63), (1 << 63) - 1, 0x7FFFFFFF, RING_BYTES]
)
changes = st.one_of(
    st.tuples(st.just("word"), st.integers(0, 90), words),
    st.tuples(st.just("byte"), st.integers(0, 700), st.integers(0, 255)),
    st.tuples(st.sampled_from(["produced", "consumed", "capacity"]), st.just(0), words),
)


@given(
    store=st.integers(0, 45),
    change=st.lists(changes, min_size=1, max_size=3),
    ring=st.sampled_from(["submit", "completions"]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=HELD)
def test_changes_at_any_store_spoil_only_what_its_sender_sent(tmp_path_factory, store, change, ring):
    ground = WriterGround(tmp_path_factory.mktemp("store"))
    memory = ground.memory
    place = memory.place(f"{ring}/0")

    def meddle():
        for kind, at, value in change:
            if kind == "word":
                poke(place + header.SIZE + 8 * at, (value & (1 << 64) - 1).to_bytes(8, "little"))
            elif kind == "byte":
                poke(place + header.SIZE + at, bytes([value]))
            else:
                word = {"produced": header.PRODUCED, "consumed": header.CONSUMED, "capacity": header.CAPACITY}
                poke(place + word[kind], (value & (1 << 64) - 1).to_bytes(8, "little"))

    with pytest.MonkeyPatch.context() as monkeypatch:
        meddler = Meddler(monkeypatch)
        for queue in QUEUES:
            ground.submit(message(queue, b"one"), message(queue, b"two"))
        writer = BareWriter(ground)
        meddler.meddle_before(store, meddle)
        for _ in range(4):
            writer.turn()
        check_log(ground)
        tag = ground.submit(message(body=b"another's"), sender=1)
        writer.turn(1)
    assert [(each.tag, each.status) for each in ground.completions(1)] == [(tag, 0)]
    assert bytes(check_log(ground)[-1].body) == b"another's"


def test_what_is_changed_behind_the_copy_changes_nothing(tmp_path, monkeypatch):
    """The records are read once: a size that grows when it has been judged is not believed."""
    meddler = Meddler(monkeypatch)
    ground = WriterGround(tmp_path)
    ring = ground.memory.place("submit/0")
    content = encode([message(body=b"as it was")])
    ground.submit(message(body=b"as it was"))
    payload = spsc.payload_address(ring, 0)
    meddler.meddle_before(2, lambda: poke(payload + 16, b"\x7f" * len(content)))  # behind the copy
    writer = BareWriter(ground)
    writer.turn()
    statuses = [each.status for each in ground.completions()]
    stored = [bytes(each.body) for each in check_log(ground)]
    assert (statuses, stored) in (([0], [b"as it was"]), ([3], []))


def test_a_ring_that_cannot_be_is_noted_and_goes_on(tmp_path):
    ground = WriterGround(tmp_path)
    ring = ground.memory.place("submit/0")
    spsc.publish(ring, RING_BYTES + 8)
    writer = BareWriter(ground)
    assert writer.turn() == commit.COMMITTED
    assert [each.status for each in ground.completions()] == [3]
    assert ground._rows[0]["is_broken"] == 1
    tag = ground.submit(message())
    writer.turn()
    assert [(each.tag, each.status) for each in ground.completions()] == [(tag, 0)]
