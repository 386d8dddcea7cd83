"""The intrinsics as kernels see them do what their Python forms say."""

import struct

import numpy as np
import pytest

from shmq.memory.block import address_of
from tests.support.memory_kernels import copy_and_zero, load_each, store_all

FORMS = ["B", ">h", ">i", ">q", "=i", "=q", "=q", "=q"]


def narrowed(value, form):
    """What is left of a value in a form."""
    size = struct.calcsize(form)
    low = value & ((1 << (8 * size)) - 1)
    return low if form == "B" or low < 1 << (8 * size - 1) else low - (1 << (8 * size))


@pytest.mark.parametrize("value", [0, 1, -1, 0x7F, 0x80, 0x8001, -(2**31), 2**31, 2**63 - 1, -(2**63)])
def test_each_store_and_load_is_of_its_form(value):
    memory = np.full(64, 0xEE, dtype=np.uint8)
    store_all(address_of(memory), value)
    for number, form in enumerate(FORMS):
        size = struct.calcsize(form)
        lies = memory[8 * number : 8 * number + size].tobytes()
        assert lies == struct.pack(form, narrowed(value, form))
        assert (memory[8 * number + size : 8 * number + 8] == 0xEE).all()
        assert load_each(address_of(memory) + 8 * number, number) == narrowed(value, form)


def test_a_range_is_copied_and_zeroed_to_its_bounds():
    memory = np.arange(64, dtype=np.uint8)
    copy_and_zero(address_of(memory) + 33, address_of(memory) + 1, 13, 7)
    assert memory[33:46].tolist() == list(range(1, 14))
    assert memory[[32, 46]].tolist() == [32, 46]
    assert memory[:9].tolist() == [0] * 8 + [8]
