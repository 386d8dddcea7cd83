"""Thirty-two bytes at once: which of them are of a kind, as bits, the lowest bit for the first byte.

All 32 must be readable, whatever they are: who scans to the end of a buffer has so many spare bytes behind it.
"""

import ctypes
from collections.abc import Callable
from typing import Final

from shmq.memory import intrinsics
from shmq.memory.intrinsics import inline_in_kernels

LANES: Final = 32


@inline_in_kernels(intrinsics.json_stops)
def json_stops(address: int) -> int:
    """The bytes that are no plain character of a JSON string: quotes, backslashes, controls, what is not ASCII."""
    return _bits(address, lambda byte: byte < 0x20 or byte >= 0x80 or byte in b'"\\')


@inline_in_kernels(intrinsics.bytes_up_to)
def bytes_up_to(address: int, limit: int) -> int:
    """The bytes of at most this value."""
    return _bits(address, lambda byte: byte <= limit)


@inline_in_kernels(intrinsics.lowest_bit)
def lowest_bit(bits: int) -> int:
    """The number of the lowest bit that is set; 64 where none is."""
    return (bits & -bits).bit_length() - 1 if bits else 64


def _bits(address: int, is_one: Callable[[int], bool]) -> int:
    return sum(1 << index for index, byte in enumerate(ctypes.string_at(address, LANES)) if is_one(byte))
