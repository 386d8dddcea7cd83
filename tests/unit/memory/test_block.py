import numpy as np
import pytest

from shmq.memory.block import address_of, copy, equal, view, zero


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 23])
def test_equal_ranges_are_equal_and_differ_in_any_byte(size):
    left = np.arange(32, dtype=np.uint8)
    right = left.copy()
    right[size:] += 1  # what lies behind does not count
    assert equal(address_of(left), address_of(right), size)
    for at in range(size):
        right[at] ^= 0x80
        assert not equal(address_of(left), address_of(right), size)
        right[at] ^= 0x80


def test_ranges_need_no_alignment():
    memory = np.frombuffer(b"?abcdefghijkabcdefghijk!", dtype=np.uint8)
    assert equal(address_of(memory) + 1, address_of(memory) + 12, 11)


def test_a_range_is_copied_and_zeroed():
    source, target = np.arange(10, dtype=np.uint8), np.full(10, 255, dtype=np.uint8)
    copy(address_of(target) + 2, address_of(source) + 3, 4)
    assert target.tolist() == [255, 255, 3, 4, 5, 6, 255, 255, 255, 255]
    zero(address_of(target) + 1, 3)
    assert target.tolist() == [255, 0, 0, 0, 5, 6, 255, 255, 255, 255]


def test_a_view_is_the_range_itself():
    memory = np.zeros(10, dtype=np.uint8)
    seen = view(address_of(memory) + 4, 3)
    seen[:] = 7
    assert memory.tolist() == [0, 0, 0, 0, 7, 7, 7, 0, 0, 0]
