"""Kernels: numbers as text, in decimal and in upper hexadecimal digits, two at a time out of a table."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from shmq.jit import kernel
from shmq.memory.endian import load_u8, store_i16, store_u8

DECIMAL_BYTES_MAX: Final = 20
"""The longest number of 64 bits, its sign included."""

_ZERO, _MINUS = b"0-"
_LIMIT: Final = 10**18


def _pairs(form: str, count: int) -> NDArray[np.int64]:
    return np.array([int.from_bytes(format(each, form).encode()) for each in range(count)], dtype=np.int64)


_DECIMAL: Final = _pairs("02d", 100)
_HEX: Final = _pairs("02X", 256)


@kernel
def put_decimal(at: int, number: int) -> int:
    """Write a number above -2**63; return where it ends."""
    if number < 0:
        store_u8(at, _MINUS)
        at += 1
        number = -number
    digits = 1
    limit = 10
    while number >= limit and digits < DECIMAL_BYTES_MAX - 1:
        digits += 1
        limit = limit * 10 if limit < _LIMIT else (1 << 63) - 1
    end = at + digits
    back = end
    while number >= 10:
        quotient = number // 100
        back -= 2
        store_i16(back, int(_DECIMAL[number - 100 * quotient]))
        number = quotient
    if back > at:
        store_u8(at, _ZERO + number)
    return end


@kernel
def put_hex(at: int, source: int, size_bytes: int) -> int:
    """Write each byte of a range as two digits; return where they end."""
    for index in range(size_bytes):
        store_i16(at + 2 * index, int(_HEX[load_u8(source + index)]))
    return at + 2 * size_bytes
