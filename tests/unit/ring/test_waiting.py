import threading

import numpy as np
import pytest

from shmq.memory.block import address_of
from shmq.memory.words import store_word
from shmq.ring import doorbell, waiting

FOR_LONG_NS = 30_000_000_000
FOR_EVER_NS = 1 << 62


@pytest.fixture
def words():
    """A bell, a word that is waited for, and two for the clock."""
    made = np.zeros(32, dtype=np.int64)
    doorbell.initialise(address_of(made))
    return made


def how(words, strategy, spins=3):
    return waiting.Waiting(address_of(words), strategy, spins, address_of(words[20:]))


@pytest.mark.parametrize("strategy", waiting.STRATEGIES.values(), ids=waiting.STRATEGIES)
def test_whoever_waits_goes_on_when_the_word_has_grown(words, strategy):
    word = address_of(words[16:])
    waiter = threading.Thread(target=waiting.wait_beyond, args=(how(words, strategy), word, 7, FOR_LONG_NS))
    waiter.start()
    store_word(word, 8)
    while waiter.is_alive():
        doorbell.ring_bell(address_of(words))
        waiter.join(0.001)


@pytest.mark.parametrize("strategy", waiting.STRATEGIES.values(), ids=waiting.STRATEGIES)
def test_the_wait_ends_with_its_time(words, strategy):
    waiting.wait_beyond(how(words, strategy), address_of(words[16:]), 0, 1_000_000)
    assert words[0] == 0  # no sleep is announced any more


@pytest.mark.parametrize("strategy", [waiting.YIELD, waiting.BUSY_SPIN])
def test_whoever_does_not_sleep_comes_back_from_a_long_wait_to_heed_signals(words, strategy):
    waiting.wait_beyond(how(words, strategy), address_of(words[16:]), 0, FOR_EVER_NS)


@pytest.mark.parametrize("strategy", waiting.STRATEGIES.values(), ids=waiting.STRATEGIES)
def test_what_has_come_already_is_not_waited_for(words, strategy):
    words[16] = 1
    waiting.wait_beyond(how(words, strategy, spins=0), address_of(words[16:]), 0, FOR_LONG_NS)


def test_with_a_single_processor_nobody_spins_before_a_sleep(monkeypatch):
    for count, least in ((1, 0), (2, 1), (64, 2)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _pid, count=count: set(range(count)))
        assert waiting.spins_before_sleep() >= least
        assert count > 1 or waiting.spins_before_sleep() == 0
