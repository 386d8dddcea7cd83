"""Ranges of the log in which no record can be read: each is one finding, and what follows from it is none.

A queue entry or index entry for a record in such a range is as it should be; a queue offset that is missing in the
log, whose entry points there, was that record's.
"""

import numpy as np

from shmq.jit import Words, entry
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i64

_WORD_BYTES = 8


class Damage:
    """The ranges, in the order of the log.

    Attributes:
        count: how many there are.
    """

    def __init__(self) -> None:
        self.count = 0
        self._words: Words = np.zeros(16, dtype=np.int64)

    @property
    def address(self) -> int:
        """Where they lie, for kernels; until the next one is added."""
        return address_of(self._words)

    def add(self, begin: int, end: int) -> None:
        """Add a range, from a position up to another; behind all that there are."""
        if 2 * self.count == len(self._words):
            self._words = np.concatenate((self._words, np.zeros_like(self._words)))
        self._words[2 * self.count : 2 * self.count + 2] = begin, end
        self.count += 1

    def holds(self, position: int) -> bool:
        """Whether a position lies in one of them."""
        return is_in_range(self.address, self.count, position)


@entry
def is_in_range(ranges: int, count: int, position: int) -> bool:
    """Whether a position lies in one of so many ranges, which are in order."""
    low = 0
    high = count
    while low < high:
        middle = (low + high) // 2
        if load_native_i64(ranges + 2 * _WORD_BYTES * middle + _WORD_BYTES) <= position:
            low = middle + 1
        else:
            high = middle
    return low < count and load_native_i64(ranges + 2 * _WORD_BYTES * low) <= position
