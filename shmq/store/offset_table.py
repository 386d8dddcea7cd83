"""Layout: how far each group has consumed each queue, as (group id, queue slot) -> committed offset.

The one table whose words have several writers: whichever process gets a commit stores it, and the last store
wins, as the protocol has it. The conductor alone adds rows, and saves the table to its document; after a
crash of the broker the offsets come from that document, after one of a process they stand as they were.
"""

from collections.abc import Iterator
from typing import Final

from shmq.jit import Bytes, entry, kernel
from shmq.memory.words import load_word, store_word
from shmq.store.key_table import KeyTable, column_address, find_key, format_key_table, key_of, key_table_bytes

OFFSET: Final = 1
COLUMNS: Final = 1


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
        """The committed offset of a row; NONE where nothing was committed."""
        return load_word(offset_address(self.address, row))  # pairs with store()

    def store(self, row: int, offset: int) -> None:
        """Commit an offset; NONE forgets it."""
        store_word(offset_address(self.address, row), offset)  # pairs with load()

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(group id, slot, committed offset) of every row, NONE included."""
        for row in range(self.count):
            group_id, slot = self._keys.ids(row)
            yield group_id, slot, self.load(row)
