import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.fastpath.digits import DECIMAL_BYTES_MAX, put_decimal, put_hex
from shmq.memory.block import address_of

NUMBERS = st.one_of(
    st.integers(-(1 << 63) + 1, (1 << 63) - 1),
    st.integers(0, 18).flatmap(lambda power: st.integers(-(10**power) - 1, 10**power)),
)


@settings(deadline=None)  # the first call compiles
@given(NUMBERS)
def test_a_number_is_written_as_python_writes_it(number):
    room = np.full(DECIMAL_BYTES_MAX + 1, 0xFF, dtype=np.uint8)
    size = put_decimal(address_of(room), number) - address_of(room)
    assert room[:size].tobytes() == str(number).encode()
    assert set(room[size:].tolist()) == {0xFF}


@settings(deadline=None)  # the first call compiles
@given(st.binary(min_size=1, max_size=30))
def test_bytes_are_written_as_upper_hexadecimal_digits(content):
    source = np.frombuffer(content, dtype=np.uint8)
    room = np.full(2 * len(content) + 1, 0xFF, dtype=np.uint8)
    end = put_hex(address_of(room), address_of(source), len(content))
    assert end == address_of(room) + 2 * len(content)
    assert room[:-1].tobytes() == content.hex().upper().encode()
    assert room[-1] == 0xFF
