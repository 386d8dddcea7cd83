"""A table in shared memory that gives each name a small number: topics, and groups, by their bytes.

    line 0     capacity, index mask, where the rows begin: never change once formatted
    line 1     count: names in use
    then       the index: one word an entry, id + 1; 0 where nothing is; linear probing, at most half full
    then       rows of 264 bytes: the name's size (a word), then up to 255 bytes of it, zeros behind

Names are only ever added and keep their id, so an id found once stays right. The conductor adds them
(recovery does, before it starts); any process may look them up.

A row is made in this order: its bytes, then the count, then its index entry. Whoever dies in between leaves
a row that is not published, or one that is counted and not yet in the index; the next `add` puts that right.
Memory of zeros, once formatted, is an empty table.
"""

from typing import Final

import numpy as np

from shmq.errors import StoreError
from shmq.jit import Bytes, entry, kernel
from shmq.memory.atomics import load_acquire, load_relaxed, store_relaxed, store_release
from shmq.memory.block import address_of, copy, equal
from shmq.memory.endian import load_native_i32, load_u8
from shmq.memory.layout import LINE_BYTES, round_up
from shmq.memory.words import load_word
from shmq.store.key_table import index_entries
from shmq.store.position import NONE

NAME_BYTES_MAX: Final = 255
ROW_BYTES: Final = 264

CAPACITY: Final = 0
INDEX_MASK: Final = 8
ROWS_AT: Final = 16
COUNT: Final = LINE_BYTES
INDEX_AT: Final = 2 * LINE_BYTES
ROW_NAME: Final = 8


def name_table_bytes(capacity: int) -> int:
    """How much memory so many names need."""
    return _rows_at(capacity) + ROW_BYTES * capacity


def format_name_table(memory: Bytes, capacity: int) -> None:
    """Make zeroed memory an empty table."""
    assert len(memory) >= name_table_bytes(capacity), "the memory is too short for the table"
    words = memory[: ROWS_AT + 8].view(np.int64)
    words[CAPACITY // 8] = capacity
    words[INDEX_MASK // 8] = index_entries(capacity) - 1
    words[ROWS_AT // 8] = _rows_at(capacity)


@entry
def find_name(table: int, name_address: int, name_size: int) -> int:
    """The id of a name, or NONE."""
    if name_size < 1 or name_size > NAME_BYTES_MAX:
        return NONE
    rows = table + load_relaxed(table + ROWS_AT)
    mask = load_relaxed(table + INDEX_MASK)
    at = _hash(name_address, name_size) & mask
    while True:
        entry = load_acquire(table + INDEX_AT + 8 * at)  # pairs with _index(): the row is whole
        if entry == 0:
            return NONE
        row = rows + ROW_BYTES * (entry - 1)
        if load_relaxed(row) == name_size and equal(row + ROW_NAME, name_address, name_size):
            return entry - 1
        at = (at + 1) & mask


@kernel
def is_name(table: int, name_id: int, name_address: int, name_size: int) -> bool:
    """Whether an id is that of a name: cheaper than to find it."""
    row = table + load_relaxed(table + ROWS_AT) + ROW_BYTES * name_id
    return load_relaxed(row) == name_size and equal(row + ROW_NAME, name_address, name_size)


@kernel
def name_at(table: int, name_id: int) -> tuple[int, int]:
    """Address and size of the name that has this id."""
    row = table + load_relaxed(table + ROWS_AT) + ROW_BYTES * name_id
    return row + ROW_NAME, load_relaxed(row)


class NameTable:
    """The table as Python sees it.

    Attributes:
        address: where it begins, for kernels.
        capacity: how many names it can hold.
    """

    def __init__(self, memory: Bytes) -> None:
        """Attach to memory that `format_name_table` has made up."""
        self._memory = memory
        self.address = address_of(memory)
        assert self.address % 8 == 0, "words must be aligned to be atomic"
        self.capacity = int(memory[:8].view(np.int64)[0])
        assert len(memory) >= name_table_bytes(self.capacity), "the memory is shorter than its table"
        self._rows_at = _rows_at(self.capacity)

    @property
    def count(self) -> int:
        """How many names there are; their ids are 0 .. count - 1."""
        return load_word(self.address + COUNT)  # pairs with _insert()

    def find(self, name: bytes) -> int:
        """The id of a name, or NONE."""
        if not name:
            return NONE
        text = np.frombuffer(name, dtype=np.uint8)
        return find_name(self.address, address_of(text), len(name))

    def name(self, name_id: int) -> bytes:
        """The name that has this id."""
        assert 0 <= name_id < self.count, "no name has this id"
        at = self._rows_at + ROW_BYTES * name_id
        size = int(self._memory[at : at + 8].view(np.int64)[0])
        return self._memory[at + ROW_NAME : at + ROW_NAME + size].tobytes()

    def add(self, name: bytes) -> int:
        """The id of a name; a new one where it had none.

        Raises:
            StoreError: the table is full, or the name is empty or too long.
        """
        if not 1 <= len(name) <= NAME_BYTES_MAX:
            raise StoreError(
                f"a name has 1 to {NAME_BYTES_MAX} bytes, this one has {len(name)}: {name[:40]!r}"
            )
        self._repair()
        name_id = self.find(name)
        if name_id != NONE:
            return name_id
        if self.count >= self.capacity:
            raise StoreError(f"no room for the name {name!r}: all {self.capacity} are taken")
        text = np.frombuffer(name, dtype=np.uint8)
        return _insert(self.address, address_of(text), len(name))

    def _repair(self) -> None:
        """Index the newest name if whoever added it died before it could."""
        newest = self.count - 1
        if newest >= 0 and self.find(self.name(newest)) == NONE:
            _index(self.address, newest)


def _rows_at(capacity: int) -> int:
    return INDEX_AT + round_up(8 * index_entries(capacity), LINE_BYTES)


@entry
def _insert(table: int, name_address: int, name_size: int) -> int:
    name_id = load_relaxed(table + COUNT)
    row = table + load_relaxed(table + ROWS_AT) + ROW_BYTES * name_id
    copy(row + ROW_NAME, name_address, name_size)
    store_relaxed(row, name_size)
    store_release(table + COUNT, name_id + 1)  # pairs with NameTable.count
    _index(table, name_id)
    return name_id


@entry
def _index(table: int, name_id: int) -> None:
    row = table + load_relaxed(table + ROWS_AT) + ROW_BYTES * name_id
    mask = load_relaxed(table + INDEX_MASK)
    at = _hash(row + ROW_NAME, load_relaxed(row)) & mask
    while load_relaxed(table + INDEX_AT + 8 * at) != 0:
        at = (at + 1) & mask
    store_release(table + INDEX_AT + 8 * at, name_id + 1)  # pairs with find_name()


@kernel
def _hash(address: int, size: int) -> int:
    """FNV-1a's idea, four bytes a step: 32 bits, so that nothing overflows."""
    mixed = 0x811C9DC5 ^ size
    at = 0
    while at + 4 <= size:
        product = (mixed ^ (load_native_i32(address + at) & 0xFFFF_FFFF)) * 0x01000193
        mixed = (product ^ (product >> 32)) & 0xFFFF_FFFF
        at += 4
    while at < size:
        product = (mixed ^ load_u8(address + at)) * 0x01000193
        mixed = (product ^ (product >> 32)) & 0xFFFF_FFFF
        at += 1
    return mixed ^ (mixed >> 15)
