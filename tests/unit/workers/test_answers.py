"""Answers of the conductor: held while anything of pops is not settled, and taken back where it cannot be."""

import orjson
import pytest

from shmq import logs
from shmq.broker.pop.flights import FlightStoreError
from shmq.wire.codes import ResponseCode
from shmq.workers.answers import Answers
from shmq.workers.letters import Kind
from tests.support.pop_ground import PopGround


class Sent:
    """Mail that keeps what it is given."""

    def __init__(self):
        self.answers = []

    def answer(self, worker, kind, serial, pieces=()):
        self.answers.append((worker, kind, serial, list(pieces)))


@pytest.fixture
def ground(tmp_path):
    return PopGround(tmp_path)


@pytest.fixture
def mail():
    return Sent()


@pytest.fixture
def answers(ground, mail):
    return Answers(mail, ground.state.pops, logs.get("test"))


def change(ground):
    ground.state.pops.is_changed = True
    ground.state.pops.store.set_order(("G", "T", 0), b"changed")


def test_an_answer_goes_at_once_where_nothing_is_open(answers, mail):
    answers.give(1, Kind.ANSWER, 7, [b"x"])
    assert mail.answers == [(1, Kind.ANSWER, 7, [b"x"])]


def test_an_answer_waits_for_what_it_tells_of(ground, answers, mail):
    change(ground)
    answers.give(0, Kind.ANSWERED, 1, [b"a"])
    answers.give(1, Kind.ANSWER, 2, [b"b"])
    assert mail.answers == []
    answers.settle()
    assert mail.answers == [(0, Kind.ANSWERED, 1, [b"a"]), (1, Kind.ANSWER, 2, [b"b"])]
    answers.settle()
    assert len(mail.answers) == 2


def test_who_was_to_hear_of_what_is_undone_hears_that(ground, answers, mail, monkeypatch):
    change(ground)
    answers.give(0, Kind.ANSWERED, 1, [b"a"])
    answers.give(1, Kind.ANSWER, 2, [b"b"])

    def fail():
        raise FlightStoreError("the disk is full")

    monkeypatch.setattr(ground.state.pops.store, "commit", fail)
    answers.settle()
    (worker, kind, serial, (said,)), other = mail.answers
    assert (worker, kind, serial) == (0, Kind.ANSWERED, 1)
    assert orjson.loads(said) == [ResponseCode.SYSTEM_ERROR, "the disk is full"]
    assert other == (1, Kind.ANSWER, 2, [b"b"])
    assert ground.state.pops.store.order(("G", "T", 0)) is None
