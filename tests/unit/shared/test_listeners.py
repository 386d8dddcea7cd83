"""Whom news of the log wakes: those who want it, sessions that came later included."""

import pytest

from shmq.config.settings import Config
from shmq.memory.words import load_word
from shmq.ring import doorbell
from shmq.shared import broker_memory, plan
from shmq.shared.listeners import Listeners, is_wanted
from shmq.shared.local_sessions import ATTACHED, FREE


@pytest.fixture
def memory():
    return broker_memory.create_unnamed(Config(network_workers=2, local_sessions_max=2))


def sleep_for(bell, news):
    doorbell.want(bell, news)
    doorbell.will_sleep(bell)


def is_asleep(bell):
    return load_word(bell + doorbell.SLEEPING) == 1


def test_those_who_want_the_news_are_woken_and_no_others(memory):
    first, second = (memory.bell(plan.BELL_FIRST_WORKER + worker) for worker in range(2))
    conductor = memory.bell(plan.BELL_CONDUCTOR)
    for bell, news in (
        (first, doorbell.FLUSHED),
        (second, doorbell.DISPATCHED),
        (conductor, doorbell.FLUSHED),
    ):
        sleep_for(bell, news)
    Listeners(memory).wake(doorbell.FLUSHED)
    assert [is_asleep(bell) for bell in (first, second, conductor)] == [False, True, False]


def test_a_session_that_attached_later_is_woken_and_one_that_is_gone_is_not(memory):
    listeners = Listeners(memory)
    bell = memory.sessions.bell(1)
    sleep_for(bell, doorbell.DISPATCHED)
    listeners.wake(doorbell.DISPATCHED)
    assert is_asleep(bell)
    memory.sessions.change(1, ATTACHED)
    listeners.wake(doorbell.DISPATCHED)
    assert not is_asleep(bell)
    memory.sessions.change(1, FREE)
    sleep_for(bell, doorbell.DISPATCHED)
    listeners.wake(doorbell.DISPATCHED)
    assert is_asleep(bell)
    assert listeners.changes == memory.sessions.changes


def test_news_are_wanted_while_anybody_wants_them(memory):
    listeners = Listeners(memory)
    assert not is_wanted(listeners.address, doorbell.DISPATCHED)
    doorbell.want(memory.bell(plan.BELL_FIRST_WORKER + 1), doorbell.FLUSHED)
    assert not is_wanted(listeners.address, doorbell.DISPATCHED)
    doorbell.want(memory.bell(plan.BELL_FIRST_WORKER), doorbell.DISPATCHED | doorbell.FLUSHED)
    assert is_wanted(listeners.address, doorbell.DISPATCHED)
