"""Layout: each queue's slot, and the numbers that processes want of it.

A queue is (topic id, queue id); its slot is a small number that never changes while the broker runs. Beside
the keys lie columns, one word a slot, each with one writer:

    column        written by    meaning
    ------------  ------------  ------------------------------------------------------------------
    next          writer        queue offset of the next message; may run ahead of max
    max           dispatcher    queue offset after the last entry: what consumers can see
    end_position  dispatcher    end of the last dispatched record of the queue in the log
    min           conductor     queue offset of the first message that is still there
    dropped       conductor     the queue's max when its files were given up; 0: they are kept

`max` is released after the entry it covers; whoever acquires it may read the entry. `end_position` follows it,
so a dispatcher killed in between finds the record not dispatched and its offset taken, which it puts right. `min`
is the dispatcher's once: for the first entry of a queue that does not begin at 0. The conductor adds queues
(recovery does, before it starts). After a crash of any of them the words stand as they were; when the store is
opened they are derived again from log and queue files.
"""

from typing import Final

from shmq.jit import Bytes, Words, entry, kernel
from shmq.memory.atomics import load_acquire, load_relaxed
from shmq.store.key_table import (
    COUNT,
    KEYS,
    KeyTable,
    column_address,
    find_key,
    format_key_table,
    key_of,
    key_table_bytes,
)

NEXT: Final = 1
MAX: Final = 2
END_POSITION: Final = 3
MIN: Final = 4
DROPPED: Final = 5
COLUMNS: Final = 5


def queue_table_bytes(capacity: int) -> int:
    """How much memory so many queues need."""
    return key_table_bytes(capacity, COLUMNS)


def format_queue_table(memory: Bytes, capacity: int) -> None:
    """Make zeroed memory an empty table."""
    format_key_table(memory, capacity, COLUMNS)


@kernel
def find_queue(table: int, topic_id: int, queue_id: int) -> int:
    """The queue's slot, or NONE."""
    return find_key(table, key_of(topic_id, queue_id))


@kernel
def queue_count(table: int) -> int:
    """How many queues there are; their slots are below it."""
    return load_acquire(table + COUNT)  # pairs with insert()


@kernel
def queue_key(table: int, slot: int) -> int:
    """The topic id (high half) and queue id (low half) of a slot in use."""
    return load_relaxed(column_address(table, KEYS, slot))


@kernel
def next_address(table: int, slot: int) -> int:
    """Where the slot's next queue offset lies."""
    return column_address(table, NEXT, slot)


@entry
def max_address(table: int, slot: int) -> int:
    """Where the slot's max offset lies."""
    return column_address(table, MAX, slot)


@kernel
def end_position_address(table: int, slot: int) -> int:
    """Where the end of the slot's last dispatched record lies."""
    return column_address(table, END_POSITION, slot)


@entry
def min_address(table: int, slot: int) -> int:
    """Where the slot's min offset lies."""
    return column_address(table, MIN, slot)


@entry
def queue_bounds(table: int, slot: int) -> tuple[int, int]:
    """The slot's min and max offset, as consumers may see them."""
    max_offset = load_acquire(max_address(table, slot))  # pairs with the dispatcher's release
    return load_relaxed(min_address(table, slot)), max_offset


class QueueTable:
    """The table as Python sees it.

    Attributes:
        address: where it begins, for kernels.
        capacity: how many queues it can hold.
        next: the next queue offset, by slot.
        max: the max offset, by slot.
        end_position: the end of the last dispatched record, by slot.
        min: the min offset, by slot.
        dropped: the max offset at which its files were given up, by slot; or 0.
    """

    def __init__(self, memory: Bytes) -> None:
        """Attach to memory that `format_queue_table` has made up."""
        self._keys = KeyTable(memory, COLUMNS, "queue")
        self.address = self._keys.address
        self.capacity = self._keys.capacity
        self.next: Words = self._keys.column(NEXT)
        self.max: Words = self._keys.column(MAX)
        self.end_position: Words = self._keys.column(END_POSITION)
        self.min: Words = self._keys.column(MIN)
        self.dropped: Words = self._keys.column(DROPPED)

    @property
    def count(self) -> int:
        """How many queues there are; their slots are 0 .. count - 1."""
        return self._keys.count

    def find(self, topic_id: int, queue_id: int) -> int:
        """The queue's slot, or NONE."""
        return self._keys.find(topic_id, queue_id)

    def add(self, topic_id: int, queue_id: int) -> int:
        """The queue's slot; a new one, all its numbers 0, where it had none.

        Raises:
            StoreError: the table is full, or an id is negative.
        """
        return self._keys.add(topic_id, queue_id, {NEXT: 0, MAX: 0, END_POSITION: 0, MIN: 0, DROPPED: 0})

    def topic_and_queue(self, slot: int) -> tuple[int, int]:
        """The topic id and queue id that a slot is for."""
        return self._keys.ids(slot)
