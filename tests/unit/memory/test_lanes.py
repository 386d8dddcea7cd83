import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.jit import kernel
from shmq.memory import lanes
from shmq.memory.block import address_of

CONTENT = st.lists(
    st.one_of(st.integers(0, 255), st.sampled_from(b'"\\\x00\x1f\x20\x7f\x80\xff')), min_size=32, max_size=32
)


@kernel
def stops_of(address: int) -> int:
    return lanes.json_stops(address)


@kernel
def small_ones_of(address: int, limit: int) -> int:
    return lanes.bytes_up_to(address, limit)


@kernel
def lowest_of(bits: int) -> int:
    return lanes.lowest_bit(bits)


def indexes(bits):
    return [index for index in range(64) if bits >> index & 1]


@settings(deadline=None)  # the first call compiles
@given(CONTENT)
def test_a_json_string_stops_at_what_is_no_plain_character(content):
    array = np.array([0x41, *content], dtype=np.uint8)
    stops = [index for index, byte in enumerate(content) if not 0x20 <= byte < 0x80 or byte in b'"\\']
    assert indexes(stops_of(address_of(array) + 1)) == stops
    assert lanes.json_stops(address_of(array) + 1) == stops_of(address_of(array) + 1)


@settings(deadline=None)
@given(CONTENT, st.integers(0, 255))
def test_bytes_up_to_a_limit_are_found(content, limit):
    array = np.array(content, dtype=np.uint8)
    found = small_ones_of(address_of(array), limit)
    assert indexes(found) == [index for index, byte in enumerate(content) if byte <= limit]
    assert lanes.bytes_up_to(address_of(array), limit) == found


@settings(deadline=None)
@given(st.integers(0, 63))
def test_the_lowest_bit_is_numbered_from_0(number):
    bits = np.uint64((1 << number) | (1 << 63)).astype(np.int64)
    assert lowest_of(int(bits)) == number
    assert lanes.lowest_bit(int(bits)) == number


def test_no_bit_is_the_64th():
    assert lowest_of(0) == lanes.lowest_bit(0) == 64
