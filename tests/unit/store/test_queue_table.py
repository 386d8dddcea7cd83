"""The table of queues."""

import numpy as np

from shmq.memory.atomics import load_acquire, store_release
from shmq.store.position import NONE
from shmq.store.queue_table import (
    QueueTable,
    end_position_address,
    find_queue,
    format_queue_table,
    max_address,
    min_address,
    next_address,
    queue_table_bytes,
)


def new_table(capacity=8):
    memory = np.zeros(queue_table_bytes(capacity), dtype=np.uint8)
    format_queue_table(memory, capacity)
    return memory, QueueTable(memory)


def test_queues_of_one_topic_have_slots_of_their_own():
    _, table = new_table()
    assert [table.add(0, queue_id) for queue_id in range(4)] == [0, 1, 2, 3]
    assert table.add(1, 0) == 4
    assert table.find(0, 2) == 2
    assert table.find(2, 0) == NONE
    assert table.topic_and_queue(4) == (1, 0)
    assert table.count == 5


def test_a_new_queue_starts_at_zero():
    _, table = new_table()
    slot = table.add(3, 1)
    assert (table.next[slot], table.max[slot], table.end_position[slot], table.min[slot]) == (0, 0, 0, 0)


def test_kernels_and_arrays_see_the_same_words():
    memory, table = new_table()
    slot = table.add(3, 1)
    assert find_queue(table.address, 3, 1) == slot
    store_release(next_address(table.address, slot), 10)
    store_release(max_address(table.address, slot), 9)
    store_release(end_position_address(table.address, slot), 4096)
    store_release(min_address(table.address, slot), 2)
    other = QueueTable(memory)
    assert (other.next[slot], other.max[slot], other.end_position[slot], other.min[slot]) == (10, 9, 4096, 2)
    other.max[slot] = 11
    assert load_acquire(max_address(table.address, slot)) == 11


def test_an_unknown_topic_has_no_queues():
    _, table = new_table()
    assert find_queue(table.address, NONE, 0) == NONE
