import os

import numpy as np

from shmq.memory import atomics, region
from shmq.memory.block import address_of
from shmq.memory.words import load_word, store_word


def test_a_word_holds_what_was_stored():
    words = np.zeros(3, dtype=np.int64)
    for value in (1, -1, 2**63 - 1, -(2**63)):
        store_word(address_of(words) + 8, value)
        assert load_word(address_of(words) + 8) == value
        assert words.tolist() == [0, value, 0]


def test_python_forms_of_the_orders_touch_the_same_word():
    words = np.zeros(1, dtype=np.int64)
    address = address_of(words)
    atomics.store_relaxed(address, 5)
    atomics.full_fence()
    assert (atomics.load_acquire(address), atomics.load_relaxed(address)) == (5, 5)
    atomics.store_release(address, -6)
    assert words[0] == -6


def test_a_fork_sees_the_words_of_shared_memory():
    shared = region.anonymous(4096)
    pid = os.fork()
    if pid == 0:
        store_word(shared.address + 8, 42)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert load_word(shared.address + 8) == 42
