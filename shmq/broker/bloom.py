"""The bloom filter of RocketMQ: which bits of a message's bit map stand for a group's expression.

Each group and topic has a few positions in a bit map. Where bit maps are kept, those positions are set for a message
that the group's expression matches, so that a message of which one is not set need not be looked at. Two groups may
share positions: a bit map says "no" for certain, "yes" only perhaps.
"""

import math
from dataclasses import dataclass
from typing import Final

from shmq.config.settings import Config

_MASK_64: Final = (1 << 64) - 1
_MASK_32: Final = (1 << 32) - 1
_FIRST: Final = 0x87C37B91114253D5
_SECOND: Final = 0x4CF5AD432745937F


@dataclass(frozen=True, slots=True)
class BloomBits:
    """The positions of one group's expression.

    Attributes:
        positions: the bits that are set.
        bit_count: how many bits a bit map has.
    """

    positions: tuple[int, ...]
    bit_count: int

    def may_match(self, bit_map: bytes) -> bool:
        """Whether a bit map lets a message through: all positions are set, or it is no bit map of this filter."""
        if 8 * len(bit_map) != self.bit_count:
            return True
        return all(bit_map[at // 8] >> (at % 8) & 1 for at in self.positions)


@dataclass(frozen=True, slots=True)
class BloomFilter:
    """How many bits there are, and how many each expression sets.

    Attributes:
        hash_count: positions of one expression.
        bit_count: bits of a bit map, whole bytes.
    """

    hash_count: int
    bit_count: int

    @classmethod
    def of(cls, error_percent: int, expected_count: int) -> "BloomFilter":
        """The filter that errs so often with so many expressions."""
        error_rate = error_percent / 100
        hash_count = math.ceil(math.log(error_rate) / math.log(0.5))
        bits = math.ceil(
            expected_count * (math.log(1 / error_rate) / math.log(2)) * (math.log(math.e) / math.log(2))
        )
        return cls(hash_count, 8 * math.ceil(bits / 8))

    def bits_of(self, group: str, topic: str) -> BloomBits:
        """The positions of a group's expression for a topic."""
        low = murmur3_low(f"{group}#{topic}".encode())
        first, second = low & _MASK_32, low >> 32
        hashes = ((first + number * second) & _MASK_32 for number in range(1, self.hash_count + 1))
        positions = ((each ^ _MASK_32 if each >> 31 else each) % self.bit_count for each in hashes)
        return BloomBits(tuple(positions), self.bit_count)


def bloom_of(settings: Config) -> BloomFilter:
    """The filter that the settings ask for."""
    return BloomFilter.of(settings.bloom_error_percent, settings.bloom_expected_count)


def murmur3_low(text: bytes) -> int:
    """The low 64 bits of MurmurHash3 of 128 bits, for 64-bit machines, with the seed 0."""
    low = high = 0
    whole = len(text) // 16 * 16
    for at in range(0, whole, 16):
        low ^= _mix_first(int.from_bytes(text[at : at + 8], "little"))
        low = (_rotate(low, 27) + high) & _MASK_64
        low = (5 * low + 0x52DCE729) & _MASK_64
        high ^= _mix_second(int.from_bytes(text[at + 8 : at + 16], "little"))
        high = (_rotate(high, 31) + low) & _MASK_64
        high = (5 * high + 0x38495AB5) & _MASK_64
    low ^= _mix_first(int.from_bytes(text[whole : whole + 8], "little"))
    high ^= _mix_second(int.from_bytes(text[whole + 8 :], "little"))
    low ^= len(text)
    high ^= len(text)
    low = (low + high) & _MASK_64
    high = (high + low) & _MASK_64
    return (_finish(low) + _finish(high)) & _MASK_64


def _mix_first(word: int) -> int:
    return (_rotate((word * _FIRST) & _MASK_64, 31) * _SECOND) & _MASK_64


def _mix_second(word: int) -> int:
    return (_rotate((word * _SECOND) & _MASK_64, 33) * _FIRST) & _MASK_64


def _rotate(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (64 - bits))) & _MASK_64


def _finish(word: int) -> int:
    word ^= word >> 33
    word = (word * 0xFF51AFD7ED558CCD) & _MASK_64
    word ^= word >> 33
    word = (word * 0xC4CEB9FE1A85EC53) & _MASK_64
    return word ^ (word >> 33)
