import os
import threading
import time

import numpy as np
import pytest

from shmq.memory.block import address_of
from shmq.memory.words import load_word
from shmq.ring import doorbell

FOR_LONG_NS = 60_000_000_000


class Bell:
    def __init__(self, descriptor=doorbell.NONE):
        self._memory = np.zeros(doorbell.SIZE, dtype=np.uint8)
        self.address = address_of(self._memory)
        self.descriptor = descriptor
        doorbell.initialise(self.address, descriptor)

    @property
    def is_sleeping(self):
        return load_word(self.address + doorbell.SLEEPING) == 1

    @property
    def rung(self):
        """How often the eventfd was written to since the last look."""
        try:
            return os.eventfd_read(self.descriptor)
        except BlockingIOError:
            return 0


@pytest.fixture
def bell():
    descriptor = os.eventfd(0, os.EFD_NONBLOCK)
    yield Bell(descriptor)
    os.close(descriptor)


def test_who_is_awake_is_not_called(bell):
    doorbell.ring_bell(bell.address)
    assert bell.rung == 0


def test_who_sleeps_is_called_once(bell):
    doorbell.will_sleep(bell.address)
    doorbell.ring_bell(bell.address)
    doorbell.ring_bell(bell.address)
    assert not bell.is_sleeping
    assert bell.rung == 1


def test_who_woke_by_itself_is_not_called(bell):
    doorbell.will_sleep(bell.address)
    assert bell.is_sleeping
    doorbell.is_awake(bell.address)
    doorbell.ring_bell(bell.address)
    assert bell.rung == 0


@pytest.mark.parametrize(
    ("wanted", "news", "rung"),
    [
        (0, doorbell.DISPATCHED, 0),
        (doorbell.DISPATCHED, doorbell.FLUSHED, 0),
        (doorbell.DISPATCHED, doorbell.DISPATCHED, 1),
        (doorbell.DISPATCHED | doorbell.FLUSHED, doorbell.FLUSHED, 1),
    ],
)
def test_only_wanted_news_wake(bell, wanted, news, rung):
    doorbell.want(bell.address, wanted)
    doorbell.will_sleep(bell.address)
    doorbell.ring_for(bell.address, news)
    assert bell.rung == rung
    assert bell.is_sleeping == (rung == 0)


def test_a_sleep_ends_when_its_time_is_over():
    bell = Bell()
    doorbell.will_sleep(bell.address)
    doorbell.sleep(bell.address, 1_000_000)
    assert not bell.is_sleeping


def test_a_bell_rung_before_the_sleep_prevents_it():
    bell = Bell()
    doorbell.will_sleep(bell.address)
    doorbell.ring_bell(bell.address)
    begun = time.monotonic_ns()
    doorbell.sleep(bell.address, FOR_LONG_NS)
    assert time.monotonic_ns() - begun < FOR_LONG_NS


def test_a_sleeper_on_a_futex_is_woken():
    bell = Bell()
    doorbell.will_sleep(bell.address)
    sleeper = threading.Thread(target=doorbell.sleep, args=(bell.address, FOR_LONG_NS))
    sleeper.start()
    doorbell.ring_bell(bell.address)
    sleeper.join(30)
    assert not sleeper.is_alive()
