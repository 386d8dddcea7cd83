"""A sleeper and those who wake it, in every order: no wake-up is lost."""

import numpy as np
import pytest

from shmq.memory.block import address_of
from shmq.ring import doorbell
from tests.support.interleaving import World, explore, stepping

NEWS = doorbell.SIZE  # the word of news lies behind the bell
EVENTFD = 7
FOR_EVER = 0
STATES_MIN = 40
"""Fewer would mean that hardly anything was tried."""


class Bell:
    """A bell with its news, in memory that is the same at each try."""

    def __init__(self, descriptor=doorbell.NONE, without=()):
        self.memory = np.zeros(2 * doorbell.SIZE, dtype=np.uint8)
        self.address = address_of(self.memory)
        self.descriptor = descriptor
        self.functions = stepping(doorbell, without=without)

    def world(self, **actors):
        self.memory[:] = 0
        doorbell.initialise(self.address, self.descriptor)
        return World(self.memory, **{name: actor(self) for name, actor in actors.items()})


def waiter(wanted, *, news=0):
    """Sleeps until the news has reached a number, as a role's rest() does."""

    def run(bell):
        functions = bell.functions
        if news:
            yield from functions.want(bell.address, news)
        while True:
            yield from functions.will_sleep(bell.address)
            if (yield ("load_acquire", bell.address + NEWS)) >= wanted:
                yield from functions.is_awake(bell.address)
                return
            if bell.descriptor >= 0:
                yield ("eventfd_wait", bell.descriptor)
                yield from functions.is_awake(bell.address)
            else:
                yield from functions.sleep(bell.address, FOR_EVER)

    return run


def waker(*values, news=0):
    """Publishes news and rings, once for each value."""

    def run(bell):
        for value in values:
            yield ("store_release", bell.address + NEWS, value)
            if news:
                yield from bell.functions.ring_for(bell.address, news)
            else:
                yield from bell.functions.ring_bell(bell.address)

    return run


def late(value):
    """Rings for news of somebody else's: its own word is another one."""

    def run(bell):
        yield ("store_release", bell.address + NEWS + 8, value)
        yield from bell.functions.ring_bell(bell.address)

    return run


def nobody_is_stuck(world):
    assert world.stuck == []


@pytest.mark.parametrize("descriptor", [doorbell.NONE, EVENTFD], ids=["futex", "eventfd"])
def test_who_sleeps_is_woken_by_news(descriptor):
    bell = Bell(descriptor)
    assert explore(lambda: bell.world(sleeper=waiter(1), waker=waker(1)), nobody_is_stuck) > STATES_MIN


@pytest.mark.parametrize("descriptor", [doorbell.NONE, EVENTFD], ids=["futex", "eventfd"])
def test_news_after_news_wakes_again(descriptor):
    bell = Bell(descriptor)
    assert explore(lambda: bell.world(sleeper=waiter(2), waker=waker(1, 2)), nobody_is_stuck) > STATES_MIN


@pytest.mark.parametrize("descriptor", [doorbell.NONE, EVENTFD], ids=["futex", "eventfd"])
def test_of_two_wakers_at_once_none_hinders_the_other(descriptor):
    bell = Bell(descriptor)
    actors = {"sleeper": waiter(1), "one": waker(1), "two": late(1)}
    assert explore(lambda: bell.world(**actors), nobody_is_stuck) > STATES_MIN


def test_who_wants_such_news_is_woken():
    bell = Bell()
    actors = {
        "sleeper": waiter(1, news=doorbell.DISPATCHED),
        "waker": waker(1, news=doorbell.DISPATCHED | doorbell.FLUSHED),
    }
    assert explore(lambda: bell.world(**actors), nobody_is_stuck) > STATES_MIN


def test_who_wants_other_news_sleeps_on():
    bell = Bell()
    actors = {
        "sleeper": waiter(1, news=doorbell.FLUSHED),
        "waker": waker(1, news=doorbell.DISPATCHED),
    }
    stuck = []
    explore(lambda: bell.world(**actors), lambda world: stuck.append(world.stuck))
    assert ["sleeper"] in stuck


@pytest.mark.parametrize("function", ["will_sleep", "ring_bell"])
def test_without_either_fence_a_wake_up_is_lost(function):
    """The search itself has teeth: take a fence away, and it finds the order that loses the wake-up."""
    bell = Bell()
    bare = stepping(doorbell, without=("full_fence",))
    setattr(bell.functions, function, getattr(bare, function))
    stuck = []
    explore(
        lambda: bell.world(sleeper=waiter(1), waker=waker(1)),
        lambda world: stuck.append(world.stuck),
    )
    assert ["sleeper"] in stuck
