"""A writer may die at any store, again and again: what was submitted is stored once and answered."""

import itertools
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shmq.shared import commit
from tests.support.killing import KilledError, Killer
from tests.support.writer_ground import QUEUES, WriterGround, encode, message
from tests.support.writer_lives import BareWriter, check, succeed

HELD = [HealthCheck.function_scoped_fixture]


def live(ground, writer, answers):
    """Commit until nothing is left, reading answers now and then, as a sender does."""
    while writer.turn() != commit.IDLE:
        answers += ground.completions()


def submit_some(ground, batches):
    """Submit records of these sizes and queues; return them by tag."""
    sent = {}
    serial = itertools.count()
    for queue, sizes in batches:
        records = tuple(message(queue, bytes([next(serial)]) * size) for size in sizes)
        sent[ground.submit(*records)] = records
    return sent


BATCHES = [
    (QUEUES[0], [10]),
    (QUEUES[1], [20, 30]),
    (QUEUES[0], [40, 0, 1]),
    (QUEUES[2], [3000]),
]
ACROSS_FILES = [(QUEUES[0], [3000]), (QUEUES[1], [200, 3000]), (QUEUES[0], [3500]), (QUEUES[2], [8])]


@pytest.mark.parametrize(
    "pool", [{}, {"transient_pool": True, "transient_pool_buffers": 5}], ids=["", "pool"]
)
@pytest.mark.parametrize("batches", [BATCHES, ACROSS_FILES], ids=["one file", "across files"])
def test_killed_at_any_store_nothing_is_lost_or_doubled(tmp_path, monkeypatch, batches, pool):
    killer = Killer(monkeypatch)
    store = 0
    while True:
        ground = WriterGround(tmp_path / str(store), **pool)
        sent = submit_some(ground, batches)
        writer, answers = BareWriter(ground), []
        killer.kill_before(store)
        try:
            live(ground, writer, answers)
            break
        except KilledError:
            killer.kill_before(-1)
        succeed(ground)
        check(ground, sent, answers + ground.completions())
        store += 1
    assert killer.stores == store > 40, "each store was one to die before"


def test_a_successor_killed_at_any_store_is_made_good_by_the_next(tmp_path, monkeypatch):
    killer = Killer(monkeypatch)
    ground = WriterGround(tmp_path / "whole")
    submit_some(ground, BATCHES)
    killer.kill_before(-1)
    BareWriter(ground).turn()
    unanswered = killer.stores - 3  # answers, ring's cursor and intent are the last three
    for store in itertools.count():
        ground = WriterGround(tmp_path / str(store))
        sent = submit_some(ground, BATCHES)
        writer = BareWriter(ground)
        killer.kill_before(unanswered)
        with pytest.raises(KilledError):
            writer.turn()
        assert ground.completions() == []
        killer.kill_before(store)
        successor = ground.writer()
        try:
            successor.start()
        except KilledError:
            killer.kill_before(-1)
            succeed(ground)
            check(ground, sent, ground.completions())
        else:
            successor.close()
            assert store == killer.stores == 3
            return


def test_what_a_killed_writer_refused_is_not_stored_by_its_successor(tmp_path, monkeypatch):
    """The client was told, and may send it again; or it was not told, and is now."""
    killer = Killer(monkeypatch)
    for store in itertools.count():
        ground = WriterGround(tmp_path / str(store))
        tags = [ground.submit(message(queue)) for queue in QUEUES]
        places = ground.places(BareWriter(ground).segment)
        killer.kill_before(store)
        try:
            commit.refuse(places, ground.sender(), 2)
        except KilledError:
            killer.kill_before(-1)
        else:
            assert killer.stores == store > len(tags)
            return
        told = {each.tag: each for each in ground.completions()}
        succeed(ground)
        answers = ground.completions()
        if told:
            assert all(told.get(each.tag, each) == each for each in answers)
            assert ground.stored() == []
        else:
            assert [each.tag for each in answers] == tags
            assert len(ground.stored()) in (0, len(tags))


def test_killed_at_any_store_a_bad_submission_leaves_nothing(tmp_path, monkeypatch):
    killer = Killer(monkeypatch)
    for store in itertools.count():
        ground = WriterGround(tmp_path / str(store))
        sent = submit_some(ground, BATCHES[:2])
        content = encode([message(body=b"good"), message(QUEUES[1], b"of another queue")])
        bad = ground.submit_bytes(struct.pack("<iiii", 0, 2, len(content), 0) + content)
        sent |= submit_some(ground, BATCHES[2:3])
        writer, answers = BareWriter(ground), []
        killer.kill_before(store)
        try:
            live(ground, writer, answers)
        except KilledError:
            killer.kill_before(-1)
        else:
            assert killer.stores == store > 40
            return
        succeed(ground)
        answers += ground.completions()
        assert {each.status for each in answers if each.tag == bad} == {3}
        check(ground, sent, [each for each in answers if each.tag != bad])


@given(
    batches=st.lists(
        st.tuples(st.sampled_from(QUEUES), st.lists(st.integers(0, 1500), min_size=1, max_size=3)),
        min_size=1,
        max_size=8,
    ),
    deaths=st.lists(st.integers(0, 60), max_size=4),
)
@settings(max_examples=40, deadline=None, suppress_health_check=HELD)
def test_any_series_of_deaths_neither_loses_nor_doubles(tmp_path_factory, batches, deaths):
    with pytest.MonkeyPatch.context() as monkeypatch:
        killer = Killer(monkeypatch)
        ground = WriterGround(tmp_path_factory.mktemp("store"))
        sent = submit_some(ground, batches)
        first, answers = BareWriter(ground), []
        for number, store in enumerate(deaths):
            killer.kill_before(store)
            try:
                if number == 0:
                    live(ground, first, answers)
                else:
                    succeed(ground)
            except KilledError:
                answers += ground.completions()
        killer.kill_before(-1)
        succeed(ground)
        check(ground, sent, answers + ground.completions())
