"""Where files are mapped in this process: a table from a file's two numbers to an address, for kernels to look up.

    offset  size  field    meaning
    ------  ----  -------  --------------------------------------------------------------------
         0     8  mask     how many entries there can be, less one
         8     8  tick     counts the uses of all mappings
        64     8  entries  the first of them
        72

An entry is four words, at the index that its key hashes to, or at the next that was free:

    offset  field    meaning
    ------  -------  --------------------------------------------------------------------
         0  high     the key
         8  low
        16  address  0 where the entry is free
        24  used     the tick of its last use
        32

Private to one process and one thread, which maps files in Python and looks them up in kernels. A mapping is entered
once it is there and taken out before it goes, so a kernel, which never runs at that time, finds only what is mapped.
Every look-up is a use, whoever makes it, and the mapping that was used longest ago is the one to let go of. The table
is at most half full; what follows a removed entry moves up, so no mark of a removed one stays behind.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from shmq.jit import Words, entry, kernel
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.store.position import NONE

LAYOUT: Final = layout(72, mask=(0, "<i8"), tick=(8, "<i8"), entries=(64, "<i8"))
MASK: Final = offset_of(LAYOUT, "mask")
TICK: Final = offset_of(LAYOUT, "tick")
ENTRIES: Final = offset_of(LAYOUT, "entries")

ENTRY_LAYOUT: Final = layout(32, high=(0, "<i8"), low=(8, "<i8"), address=(16, "<i8"), used=(24, "<i8"))
ENTRY_SIZE: Final = ENTRY_LAYOUT.itemsize
HIGH: Final = offset_of(ENTRY_LAYOUT, "high")
LOW: Final = offset_of(ENTRY_LAYOUT, "low")
ADDRESS: Final = offset_of(ENTRY_LAYOUT, "address")
USED: Final = offset_of(ENTRY_LAYOUT, "used")


@kernel
def _hash(high: int, low: int) -> int:
    mixed = ((high ^ (high >> 32)) & 0xFFFF_FFFF) * 0x45D9F3B ^ (
        (low ^ (low >> 32)) & 0xFFFF_FFFF
    ) * 0x2545F49
    return mixed ^ (mixed >> 29)


@kernel
def _find(table: int, high: int, low: int) -> int:
    """Where the entry of a key lies, or the free one that ends the search for it."""
    mask = load_native_i64(table + MASK)
    index = _hash(high, low) & mask
    while True:
        entry = table + ENTRIES + ENTRY_SIZE * index
        if load_native_i64(entry + ADDRESS) == 0 or (
            load_native_i64(entry + LOW) == low and load_native_i64(entry + HIGH) == high
        ):
            return entry
        index = (index + 1) & mask


@entry
def find_mapping(table: int, high: int, low: int) -> int:
    """Where the file of a key is mapped, or NONE; a use of the mapping."""
    entry = _find(table, high, low)
    address = load_native_i64(entry + ADDRESS)
    if address == 0:
        return NONE
    tick = load_native_i64(table + TICK) + 1
    store_native_i64(table + TICK, tick)
    store_native_i64(entry + USED, tick)
    return address


@entry
def _enter(table: int, high: int, low: int, address: int) -> None:
    entry = _find(table, high, low)
    store_native_i64(entry + HIGH, high)
    store_native_i64(entry + LOW, low)
    store_native_i64(entry + ADDRESS, address)
    find_mapping(table, high, low)


@entry
def _remove(table: int, high: int, low: int) -> None:
    """Free the entry of a key, and move those up that were put behind it because it was taken."""
    free = _find(table, high, low)
    if load_native_i64(free + ADDRESS) == 0:
        return
    mask = load_native_i64(table + MASK)
    hole = (free - table - ENTRIES) // ENTRY_SIZE
    index = (hole + 1) & mask
    while True:
        entry = table + ENTRIES + ENTRY_SIZE * index
        if load_native_i64(entry + ADDRESS) == 0:
            break
        home = _hash(load_native_i64(entry + HIGH), load_native_i64(entry + LOW)) & mask
        if (index - home) & mask >= (index - hole) & mask:
            target = table + ENTRIES + ENTRY_SIZE * hole
            word = 0
            while word < ENTRY_SIZE:
                store_native_i64(target + word, load_native_i64(entry + word))
                word += 8
            hole = index
        index = (index + 1) & mask
    store_native_i64(table + ENTRIES + ENTRY_SIZE * hole + ADDRESS, 0)


class MappingTable:
    """The table as Python sees it.

    Attributes:
        address: where it begins, for kernels.
    """

    def __init__(self, mappings_max: int) -> None:
        """Make an empty table for so many mappings."""
        entries = 1 << (2 * max(mappings_max, 1) - 1).bit_length()
        self._mappings_max = mappings_max
        self._words: Words = np.zeros((ENTRIES + ENTRY_SIZE * entries) // 8, dtype=np.int64)
        self._entries: Words = self._words[ENTRIES // 8 :].reshape(-1, ENTRY_SIZE // 8)
        self._words[MASK // 8] = entries - 1
        self.address = address_of(self._words)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The keys, in no order."""
        taken = self._entries[self._entries[:, ADDRESS // 8] != 0]
        return iter([(high, low) for high, low, _, _ in taken.tolist()])

    def find(self, high: int, low: int) -> int:
        """Where the file of a key is mapped, or NONE; a use of the mapping."""
        return find_mapping(self.address, high, low)

    def enter(self, high: int, low: int, address: int) -> None:
        """Note where the file of a new key is mapped."""
        assert self._count < self._mappings_max, "a mapping more than the table was made for"
        assert address != 0, "nothing is mapped there"
        _enter(self.address, high, low, address)
        self._count += 1

    def remove(self, high: int, low: int) -> None:
        """Forget a mapping that is there, before it goes."""
        _remove(self.address, high, low)
        self._count -= 1

    def oldest(self) -> tuple[int, int]:
        """The key of the mapping that was used longest ago; there must be one."""
        assert self._count, "no mapping is there"
        used = self._entries[:, USED // 8].copy()
        used[self._entries[:, ADDRESS // 8] == 0] = np.iinfo(np.int64).max
        high, low = self._entries[int(used.argmin()), :2].tolist()
        return high, low
