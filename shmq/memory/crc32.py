"""CRC-32 (IEEE, as zlib's) of a byte range, from inside a kernel.

Where the processor multiplies without carry, 64 bytes a step are folded into four lanes, these into one, and
that is reduced (V. Gopal and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", 2009). What is
left over when the size is divided by 16 is taken at the front: zeros before a message change nothing, so the first
step takes those bytes alone, shifted up behind zeros. Every load so lies within the range. Elsewhere, and below 16
bytes, eight tables take eight bytes a step. With the JIT off it is zlib's.
"""

import ctypes
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shmq.jit import JIT_ENABLED, entry, kernel
from shmq.memory import intrinsics
from shmq.memory.endian import load_native_i32, load_u8
from shmq.memory.intrinsics import HAS_CARRYLESS

_POLYNOMIAL: Final = 0xEDB88320
_MASK_32: Final = 0xFFFF_FFFF
_LANES_BYTES: Final = 64
_VECTOR_BYTES: Final = 16

# Powers of x modulo the polynomial, bits reversed: what it takes to move a vector up by so many bytes.
_BY_64_LOW: Final = 0x1_5444_2BD4
_BY_64_HIGH: Final = 0x1_C6E4_1596
_BY_16_LOW: Final = 0x1_7519_97D0
_BY_16_HIGH: Final = 0x0_CCAA_009E
_BY_8: Final = 0x1_63CD_6124
# Barrett's reduction: the polynomial, and x**64 divided by it.
_MODULUS: Final = 0x1_DB71_0641
_QUOTIENT: Final = 0x1_F701_1641


def _tables() -> NDArray[np.int64]:
    first = np.arange(256, dtype=np.int64)
    for _ in range(8):
        first = (first >> 1) ^ (_POLYNOMIAL * (first & 1))
    tables = [first]
    for _ in range(7):
        tables.append((tables[-1] >> 8) ^ first[tables[-1] & 0xFF])
    return np.concatenate(tables)


# Nothing but the machine code exists of these: what stands in for them with the JIT off is zlib, as a whole.
_vector_at: Any = intrinsics.vector_at
_fold: Any = intrinsics.fold_vector
_join: Any = intrinsics.join_vectors
_words: Any = intrinsics.words_of
_multiply: Any = intrinsics.multiply_carryless

_TABLES: Final = _tables()  # table k, entry b: at 256 * k + b


@entry
def by_tables(address: int, size_bytes: int) -> int:
    """The checksum on any processor."""
    crc = 0xFFFFFFFF
    at = address
    end = address + size_bytes
    while at + 8 <= end:
        low = (load_native_i32(at) & 0xFFFFFFFF) ^ crc
        high = load_native_i32(at + 4) & 0xFFFFFFFF
        crc = (
            _TABLES[1792 + (low & 0xFF)]
            ^ _TABLES[1536 + ((low >> 8) & 0xFF)]
            ^ _TABLES[1280 + ((low >> 16) & 0xFF)]
            ^ _TABLES[1024 + (low >> 24)]
            ^ _TABLES[768 + (high & 0xFF)]
            ^ _TABLES[512 + ((high >> 8) & 0xFF)]
            ^ _TABLES[256 + ((high >> 16) & 0xFF)]
            ^ _TABLES[high >> 24]
        )
        at += 8
    while at < end:
        crc = (crc >> 8) ^ _TABLES[(crc ^ load_u8(at)) & 0xFF]
        at += 1
    return int(crc ^ 0xFFFFFFFF)


def _by_folding(address: int, size_bytes: int) -> int:
    """The checksum on a processor that multiplies without carry."""
    if size_bytes < _VECTOR_BYTES:
        return by_tables(address, size_bytes)
    at = address
    end = address + size_bytes
    front = size_bytes % _VECTOR_BYTES
    vector = _vector_at(at, _MASK_32, 8 * (_VECTOR_BYTES - front) % 128)
    at += front if front > 0 else _VECTOR_BYTES
    if 0 < front < 4:  # the checksum begins as 32 bits of one: some of them meet the next bytes
        vector = _join(vector, _BY_16_LOW, _BY_16_HIGH, _vector_at(at, _MASK_32 >> (8 * front), 0))
        at += _VECTOR_BYTES
    if end - at >= _LANES_BYTES + 3 * _VECTOR_BYTES:
        second = _vector_at(at, 0, 0)
        third = _vector_at(at + 16, 0, 0)
        fourth = _vector_at(at + 32, 0, 0)
        at += 48
        while end - at >= _LANES_BYTES:
            vector = _fold(vector, _BY_64_LOW, _BY_64_HIGH, at)
            second = _fold(second, _BY_64_LOW, _BY_64_HIGH, at + 16)
            third = _fold(third, _BY_64_LOW, _BY_64_HIGH, at + 32)
            fourth = _fold(fourth, _BY_64_LOW, _BY_64_HIGH, at + 48)
            at += _LANES_BYTES
        vector = _join(vector, _BY_16_LOW, _BY_16_HIGH, second)
        vector = _join(vector, _BY_16_LOW, _BY_16_HIGH, third)
        vector = _join(vector, _BY_16_LOW, _BY_16_HIGH, fourth)
    while at < end:
        vector = _fold(vector, _BY_16_LOW, _BY_16_HIGH, at)
        at += _VECTOR_BYTES
    low, high = _words(vector)
    product_low, product_high = _multiply(low, _BY_16_HIGH)
    low = high ^ product_low
    high = product_high
    product_low, product_high = _multiply(low & _MASK_32, _BY_8)
    low = product_low ^ ((low >> 32) & _MASK_32) ^ (high << 32)
    product_low, product_high = _multiply(low & _MASK_32, _QUOTIENT)
    product_low, product_high = _multiply(product_low & _MASK_32, _MODULUS)
    return int((((low ^ product_low) >> 32) & _MASK_32) ^ _MASK_32)


def _by_zlib(address: int, size_bytes: int) -> int:
    return zlib.crc32(ctypes.string_at(address, size_bytes))


if not JIT_ENABLED:
    crc32 = _by_zlib
elif HAS_CARRYLESS:
    crc32 = kernel(_by_folding)
else:
    crc32 = by_tables
