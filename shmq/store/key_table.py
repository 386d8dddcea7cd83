"""A table in shared memory from a 64-bit key to a dense row, and columns of 64-bit words beside it.

    line 0     capacity, index mask, where the columns begin, bytes of a column: never change once formatted
    line 1     count: rows in use
    then       the index: one word an entry, row + 1; 0 where nothing is; linear probing, at most half full
    then       column 0, the keys; column 1, 2, ...: whatever the rows are about

Rows are only ever added, so a row found once stays right. One process adds rows; any may look them up, and
each column has its own writer, which is why columns start on lines of their own.

A row is made in this order: its words, then the count, then its index entry. Whoever dies in between leaves
a row that is not published, or one that is counted and not yet in the index; the next `add` puts that right.
Memory of zeros, once formatted, is an empty table.
"""

from typing import Final

import numpy as np

from shmq.errors import StoreError
from shmq.jit import Bytes, Words, entry, kernel
from shmq.memory.atomics import load_acquire, load_relaxed, store_relaxed, store_release
from shmq.memory.block import address_of
from shmq.memory.layout import LINE_BYTES, round_up
from shmq.memory.words import load_word
from shmq.store.position import NONE

CAPACITY: Final = 0
INDEX_MASK: Final = 8
COLUMNS_AT: Final = 16
COLUMN_BYTES: Final = 24
COUNT: Final = LINE_BYTES
INDEX_AT: Final = 2 * LINE_BYTES

KEYS: Final = 0
"""The column that holds the keys."""


def key_table_bytes(capacity: int, columns: int) -> int:
    """How much memory so many rows need, with so many columns beside the keys."""
    return _columns_at(capacity) + (columns + 1) * round_up(8 * capacity, LINE_BYTES)


@entry
def key_of(high: int, low: int) -> int:
    """One key of two ids; NONE where either is negative."""
    if high < 0 or low < 0:
        return NONE
    return (high << 32) | low


@entry
def find_key(table: int, key: int) -> int:
    """The key's row, or NONE."""
    if key < 0:
        return NONE
    keys = column_address(table, KEYS, 0)
    mask = load_relaxed(table + INDEX_MASK)
    at = _hash(key) & mask
    while True:
        entry = load_acquire(table + INDEX_AT + 8 * at)  # pairs with insert(): the row's words are there
        if entry == 0:
            return NONE
        if load_relaxed(keys + 8 * (entry - 1)) == key:
            return entry - 1
        at = (at + 1) & mask


@entry
def column_address(table: int, column: int, row: int) -> int:
    """Where a row's word of a column lies."""
    stride = load_relaxed(table + COLUMN_BYTES)
    return table + load_relaxed(table + COLUMNS_AT) + column * stride + 8 * row


@entry
def insert(table: int, key: int) -> None:
    """Publish the next row under a key; its words must be in place."""
    row = load_relaxed(table + COUNT)
    store_relaxed(column_address(table, KEYS, row), key)
    store_release(table + COUNT, row + 1)  # pairs with KeyTable.count
    _index(table, row)


class KeyTable:
    """The table as Python sees it.

    Attributes:
        address: where it begins, for kernels.
        capacity: how many rows it can hold.
    """

    def __init__(self, memory: Bytes, columns: int, what: str) -> None:
        """Attach to memory that `format_key_table` has made up.

        Args:
            memory: the table's bytes, on a line boundary.
            columns: how many columns lie beside the keys.
            what: the name of its rows, for errors.
        """
        self._memory = memory
        self._what = what
        self.address = address_of(memory)
        assert self.address % 8 == 0, "words must be aligned to be atomic"
        self.capacity = int(memory[:8].view(np.int64)[0])
        assert len(memory) >= key_table_bytes(self.capacity, columns), "the memory is shorter than its table"

    @property
    def count(self) -> int:
        """How many rows are in use."""
        return load_word(self.address + COUNT)  # pairs with insert()

    def find(self, high: int, low: int) -> int:
        """The row of two ids, or NONE."""
        return find_key(self.address, key_of(high, low))

    def add(self, high: int, low: int, first: dict[int, int]) -> int:
        """The row of two ids; made, with these words in its columns, where there was none.

        Raises:
            StoreError: the table is full, or an id is negative.
        """
        key = key_of(high, low)
        if key < 0:
            raise StoreError(f"no {self._what} can be for the ids {high} and {low}")
        self._repair()
        row = find_key(self.address, key)
        if row != NONE:
            return row
        row = self.count
        if row >= self.capacity:
            raise StoreError(f"no room for another {self._what}: all {self.capacity} are taken")
        for column, value in first.items():
            store_relaxed(column_address(self.address, column, row), value)
        insert(self.address, key)
        return row

    def column(self, number: int) -> Words:
        """A column as an array over all rows, used or not."""
        at = column_address(self.address, number, 0) - self.address
        words: Words = self._memory[at : at + 8 * self.capacity].view(np.int64)
        return words

    def ids(self, row: int) -> tuple[int, int]:
        """The two ids that a row is for."""
        key = load_relaxed(column_address(self.address, KEYS, row))
        return key >> 32, key & 0xFFFF_FFFF

    def _repair(self) -> None:
        """Index the newest row if whoever made it died before it could."""
        newest = self.count - 1
        if newest >= 0 and find_key(self.address, key_of(*self.ids(newest))) == NONE:
            _index(self.address, newest)


def format_key_table(memory: Bytes, capacity: int, columns: int) -> None:
    """Make zeroed memory an empty table."""
    assert len(memory) >= key_table_bytes(capacity, columns), "the memory is too short for the table"
    words = memory[: COLUMN_BYTES + 8].view(np.int64)
    words[CAPACITY // 8] = capacity
    words[INDEX_MASK // 8] = index_entries(capacity) - 1
    words[COLUMNS_AT // 8] = _columns_at(capacity)
    words[COLUMN_BYTES // 8] = round_up(8 * capacity, LINE_BYTES)


def index_entries(capacity: int) -> int:
    """The power of two that leaves at least half of an index empty."""
    return 1 << (2 * max(capacity, 1) - 1).bit_length()


def _columns_at(capacity: int) -> int:
    return INDEX_AT + round_up(8 * index_entries(capacity), LINE_BYTES)


@kernel
def _hash(key: int) -> int:
    mixed = ((key >> 32) * 0x9E3779B1) ^ ((key & 0xFFFF_FFFF) * 0x45D9F3B)
    return mixed ^ (mixed >> 29)


@entry
def _index(table: int, row: int) -> None:
    mask = load_relaxed(table + INDEX_MASK)
    at = _hash(load_relaxed(column_address(table, KEYS, row))) & mask
    while load_relaxed(table + INDEX_AT + 8 * at) != 0:
        at = (at + 1) & mask
    store_release(table + INDEX_AT + 8 * at, row + 1)  # pairs with find_key()
