"""Requests of the broker's own: each is gone on with once, by its client's answer or without one."""

import pytest

from shmq.broker.outcome import Call, Channel
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.workers.calls import Calls

CHANNEL = Channel(0, 1, 7)
OTHER = Channel(1, 1, 7)
NOW_MS = 1_000_000
PATIENCE_MS = 3000


class Wire:
    """Where the calls go, and what came back."""

    def __init__(self):
        self.sent = []
        self.heard = []
        self.is_anybody_there = True
        self.calls = Calls(self.push)

    def push(self, channel, command):
        if not self.is_anybody_there:
            return None
        self.sent.append((channel, command))
        return len(self.sent)

    def begin(self, channel=CHANNEL):
        command = Command(RequestCode.GET_CONSUMER_RUNNING_INFO)
        self.calls.begin(Call(channel, command, PATIENCE_MS, lambda _: None), self.heard.append, NOW_MS)
        return len(self.sent)


@pytest.fixture
def wire():
    return Wire()


def answer(opaque):
    made = Command(ResponseCode.SUCCESS)
    made.opaque = opaque
    return made


def test_a_clients_answer_is_gone_on_with_once(wire):
    made = answer(wire.begin())
    assert wire.calls.take(CHANNEL, made)
    assert not wire.calls.take(CHANNEL, made)
    assert wire.heard == [made]


def test_another_clients_answer_is_none(wire):
    opaque = wire.begin()
    assert not wire.calls.take(OTHER, answer(opaque))
    assert not wire.calls.take(CHANNEL, answer(opaque + 1))
    assert wire.heard == []


def test_where_nobody_is_there_it_goes_on_at_once(wire):
    wire.is_anybody_there = False
    wire.begin()
    assert wire.heard == [None]


def test_it_goes_on_when_the_time_is_over(wire):
    wire.begin()
    assert wire.calls.wait_ms(NOW_MS, 10_000) == PATIENCE_MS
    assert wire.calls.expire(NOW_MS + PATIENCE_MS - 1) == 0
    assert wire.calls.expire(NOW_MS + PATIENCE_MS) == 1
    assert wire.heard == [None]
    assert wire.calls.wait_ms(NOW_MS, 10_000) == 10_000
    assert not wire.calls.take(CHANNEL, answer(1))


def test_it_goes_on_when_the_client_goes(wire):
    wire.begin()
    wire.begin(OTHER)
    wire.calls.forget(lambda channel: channel == CHANNEL)
    assert wire.heard == [None]
    assert wire.calls.take(OTHER, answer(2))
