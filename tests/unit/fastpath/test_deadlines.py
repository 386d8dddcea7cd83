"""The heap of deadlines."""

import random

import numpy as np

from shmq.fastpath.deadlines import (
    ENTRY_BYTES,
    add_deadline,
    first_deadline_ms,
    first_waiter,
    remove_deadline,
)
from shmq.memory.block import address_of

INDEX_WORD = 8


def test_the_first_is_the_earliest_whatever_is_added_and_removed():
    chance = random.Random(5)
    waiters = np.zeros((50, 2), dtype=np.int64)
    entries = np.zeros(50 * ENTRY_BYTES // 8, dtype=np.int64)
    heap = address_of(entries)
    model = {}
    for _ in range(5000):
        waiter = address_of(waiters) + 16 * chance.randrange(50)
        if waiter in model:
            remove_deadline(heap, len(model), waiter, INDEX_WORD)
            del model[waiter]
        else:
            deadline_ms = chance.randrange(100)
            add_deadline(heap, len(model), deadline_ms, waiter, INDEX_WORD)
            model[waiter] = deadline_ms
        if model:
            assert first_deadline_ms(heap) == min(model.values())
            assert model[first_waiter(heap)] == first_deadline_ms(heap)
        for each in model:
            index = waiters[(each - address_of(waiters)) // 16, 1]
            assert entries[2 * index + 1] == each
