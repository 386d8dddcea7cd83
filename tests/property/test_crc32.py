"""The checksum that kernels reckon is zlib's, of any bytes at any place."""

import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.memory.block import address_of
from shmq.memory.crc32 import by_tables, crc32


@given(content=st.binary(max_size=2000), at=st.integers(0, 70))
@settings(max_examples=200, deadline=None)
def test_any_bytes_have_zlibs_checksum(content, at):
    held = np.frombuffer(bytes(at) + content + b"\xff" * 64, dtype=np.uint8)
    expected = zlib.crc32(content)
    assert crc32(address_of(held) + at, len(content)) == expected
    assert by_tables(address_of(held) + at, len(content)) == expected
