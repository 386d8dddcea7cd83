import ctypes
import mmap
import zlib

import numpy as np
import pytest

from shmq.memory.block import address_of
from shmq.memory.crc32 import by_tables, crc32

CONTENT = np.random.default_rng(32).integers(0, 256, 1 << 20, dtype=np.uint8)
FORMS = [crc32, by_tables]


@pytest.mark.parametrize("checksum", FORMS)
def test_the_checksum_is_zlibs_for_every_size_and_alignment(checksum):
    sizes = range(301) if checksum is crc32 else range(0, 301, 7)
    for size in sizes:
        for at in range(16):
            expected = zlib.crc32(CONTENT[at : at + size].tobytes())
            assert checksum(address_of(CONTENT) + at, size) == expected, (size, at)


@pytest.mark.parametrize("size", [1023, 1024, 4097, 65_536 + 13, (1 << 20) - 5])
@pytest.mark.parametrize("checksum", FORMS)
def test_the_checksum_of_much_is_zlibs(checksum, size):
    assert checksum(address_of(CONTENT) + 5, size) == zlib.crc32(CONTENT[5 : 5 + size].tobytes())


def test_the_checksum_of_the_standard_text():
    text = np.frombuffer(b"123456789", dtype=np.uint8)
    assert crc32(address_of(text), 9) == 0xCBF43926


def test_nothing_outside_the_range_is_read(unreadable_behind):
    """On either side of the page lies one that cannot be read: a load there would end this process."""
    begin, content = unreadable_behind
    for size in range(200):
        assert crc32(begin + mmap.PAGESIZE - size, size) == zlib.crc32(content[mmap.PAGESIZE - size :])
        assert crc32(begin, size) == zlib.crc32(content[:size])


@pytest.fixture
def unreadable_behind():
    """A page of random bytes between two that cannot be read: its address, and what it holds."""
    libc = ctypes.CDLL(None, use_errno=True)
    pages = mmap.mmap(-1, 3 * mmap.PAGESIZE)
    content = CONTENT[: mmap.PAGESIZE].tobytes()
    pages[mmap.PAGESIZE : 2 * mmap.PAGESIZE] = content
    address = address_of(np.frombuffer(pages, dtype=np.uint8))
    sides = (address, address + 2 * mmap.PAGESIZE)
    for side in sides:
        assert libc.mprotect(ctypes.c_void_p(side), mmap.PAGESIZE, 0) == 0
    yield address + mmap.PAGESIZE, content
    for side in sides:
        assert libc.mprotect(ctypes.c_void_p(side), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE) == 0
