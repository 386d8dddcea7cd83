"""Layout: how far each group has consumed each queue, as (group id, queue slot) -> committed offset.

The one table whose words have several writers: whichever process gets a commit stores it, and the last store
wins, as the protocol has it. The conductor alone adds rows, and saves the table to its document; after a
crash of the broker the offsets come from that document, after one of a process they stand as they were.

    column      written by           what
    ----------  -------------------  -----------------------------------------------------------------------
    offset      who gets a commit    the committed offset, or NONE
    reset       the conductor        where an administrator wants the group to begin anew: the offset in the low
                                     47 bits, above it a serial that no reset before it had; 0 before the first
    reset_seen  who takes the reset  the word `reset` as it was taken

A reset is pending while the last two differ. Then it counts as the committed offset, whatever is committed meanwhile,
until who reads the queue takes it. Taken twice, by two processes at the same moment, it is told twice, which only makes
the group read again; a reset that follows on the heels of another is never lost, since its serial differs.
"""

from collections.abc import Iterator
from typing import Final

from shmq.jit import Bytes, entry, kernel
from shmq.memory.atomics import load_acquire
from shmq.memory.words import load_word, store_word
from shmq.store.key_table import KeyTable, column_address, find_key, format_key_table, key_of, key_table_bytes
from shmq.store.position import NONE

OFFSET: Final = 1
RESET: Final = 2
RESET_SEEN: Final = 3
COLUMNS: Final = 3

OFFSET_BITS: Final = 47
OFFSET_MAX: Final = (1 << OFFSET_BITS) - 1
_SERIAL_MAX: Final = (1 << (62 - OFFSET_BITS)) - 1


def offset_table_bytes(capacity: int) -> int:
    """How much memory so many (group, queue) pairs need."""
    return key_table_bytes(capacity, COLUMNS)


def format_offset_table(memory: Bytes, capacity: int) -> None:
    """Make zeroed memory an empty table."""
    format_key_table(memory, capacity, COLUMNS)


@kernel
def find_offset(table: int, group_id: int, slot: int) -> int:
    """The row of a group and a queue slot, or NONE."""
    return find_key(table, key_of(group_id, slot))


@entry
def offset_address(table: int, row: int) -> int:
    """Where a row's committed offset lies."""
    return column_address(table, OFFSET, row)


@entry
def pending_reset(table: int, row: int) -> int:
    """Where a row's group is to begin anew; NONE where no reset is pending."""
    reset = load_acquire(column_address(table, RESET, row))  # pairs with OffsetTable.reset()
    if reset == load_acquire(column_address(table, RESET_SEEN, row)):  # pairs with OffsetTable.take_reset()
        return NONE
    return reset & OFFSET_MAX


class OffsetTable:
    """The table as Python sees it.

    Attributes:
        address: where it begins, for kernels.
        capacity: how many (group, queue) pairs it can hold.
    """

    def __init__(self, memory: Bytes) -> None:
        """Attach to memory that `format_offset_table` has made up."""
        self._keys = KeyTable(memory, COLUMNS, "committed offset")
        self.address = self._keys.address
        self.capacity = self._keys.capacity

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._keys.count

    def row(self, group_id: int, slot: int) -> int:
        """The row of a group and a queue slot, or NONE."""
        return self._keys.find(group_id, slot)

    def add(self, group_id: int, slot: int, offset: int) -> int:
        """The row of a group and a queue slot; made with this offset where there was none.

        Raises:
            StoreError: the table is full, or an id is negative.
        """
        row = self._keys.find(group_id, slot)
        if row < 0:
            return self._keys.add(group_id, slot, {OFFSET: offset})
        self.store(row, offset)
        return row

    def load(self, row: int) -> int:
        """The committed offset of a row, or that of its pending reset; NONE where nothing was committed."""
        pending = self.pending_reset(row)
        return (
            load_word(offset_address(self.address, row)) if pending == NONE else pending
        )  # pairs with store()

    def store(self, row: int, offset: int) -> None:
        """Commit an offset; NONE forgets it."""
        store_word(offset_address(self.address, row), offset)  # pairs with load()

    def pending_reset(self, row: int) -> int:
        """Where a row's group is to begin anew; NONE where no reset is pending."""
        return pending_reset(self.address, row)

    def reset(self, row: int, offset: int) -> None:
        """Have a row's group begin anew at an offset; by the conductor alone."""
        assert 0 <= offset <= OFFSET_MAX, f"no queue has an offset of {offset}"
        at = column_address(self.address, RESET, row)
        serial = (load_word(at) >> OFFSET_BITS) % _SERIAL_MAX + 1
        store_word(
            at, serial << OFFSET_BITS | offset
        )  # pairs with pending_reset(); first, since it goes first
        self.store(row, offset)

    def take_reset(self, row: int) -> int:
        """Take a pending reset: it is committed, and pending no longer; NONE where there is none."""
        reset = load_word(column_address(self.address, RESET, row))
        seen = column_address(self.address, RESET_SEEN, row)
        if reset == load_word(seen):
            return NONE
        self.store(row, reset & OFFSET_MAX)  # what was committed while it was pending does not count
        store_word(seen, reset)  # pairs with pending_reset()
        return reset & OFFSET_MAX

    def forget(self, row: int) -> None:
        """Forget an offset, and a reset of it."""
        self.take_reset(row)
        self.store(row, NONE)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(group id, slot, committed offset) of every row, NONE included."""
        for row in range(self.count):
            group_id, slot = self._keys.ids(row)
            yield group_id, slot, self.load(row)
