import zlib

import numpy as np
import pytest

from shmq.memory.block import address_of
from shmq.memory.crc32 import crc32


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 15, 16, 17, 1000])
@pytest.mark.parametrize("at", [0, 3])
def test_the_checksum_is_zlibs(size, at):
    content = np.random.default_rng(size).integers(0, 256, size + at, dtype=np.uint8)
    assert crc32(address_of(content) + at, size) == zlib.crc32(content[at:].tobytes())


def test_the_checksum_of_the_standard_text():
    text = np.frombuffer(b"123456789", dtype=np.uint8)
    assert crc32(address_of(text), 9) == 0xCBF43926
