"""CRC-32 (IEEE, as zlib's) of a byte range, from inside a kernel: eight bytes a step, by eight tables."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from shmq.jit import kernel
from shmq.memory.endian import load_native_i32, load_u8

_POLYNOMIAL: Final = 0xEDB88320


def _tables() -> NDArray[np.int64]:
    first = np.arange(256, dtype=np.int64)
    for _ in range(8):
        first = (first >> 1) ^ (_POLYNOMIAL * (first & 1))
    tables = [first]
    for _ in range(7):
        tables.append((tables[-1] >> 8) ^ first[tables[-1] & 0xFF])
    return np.concatenate(tables)


_TABLES: Final = _tables()  # table k, entry b: at 256 * k + b


@kernel
def crc32(address: int, size_bytes: int) -> int:
    """The checksum of the range, 0..2**32-1; RocketMQ keeps its low 31 bits."""
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
