import ctypes
import struct

import numpy as np
import pytest

from shmq.memory import endian
from shmq.memory.block import address_of

CASES = [
    (endian.load_i16, endian.store_i16, ">h"),
    (endian.load_i32, endian.store_i32, ">i"),
    (endian.load_i64, endian.store_i64, ">q"),
    (endian.load_native_i32, endian.store_native_i32, "=i"),
    (endian.load_native_i64, endian.store_native_i64, "=q"),
]
NAMES = ["i16", "i32", "i64", "native i32", "native i64"]


@pytest.fixture
def memory():
    return np.zeros(32, dtype=np.uint8)


@pytest.mark.parametrize(("load", "store", "form"), CASES, ids=NAMES)
@pytest.mark.parametrize("at", [0, 1, 7])
def test_what_is_stored_lies_as_its_form_says_and_is_loaded_again(memory, load, store, form, at):
    size = struct.calcsize(form)
    for value in (0, 1, -1, 0x0102, -(1 << (8 * size - 1)), (1 << (8 * size - 1)) - 1):
        memory[:] = 0xAA
        store(address_of(memory) + at, value)
        assert memory[at : at + size].tobytes() == struct.pack(form, value)
        assert (memory[:at] == 0xAA).all()
        assert (memory[at + size :] == 0xAA).all()
        assert load(address_of(memory) + at) == value


@pytest.mark.parametrize(("load", "store", "form"), CASES[:2], ids=NAMES[:2])
def test_only_the_low_bytes_of_a_value_are_stored(memory, load, store, form):
    bits = 8 * struct.calcsize(form)
    store(address_of(memory), (0x55 << bits) + 3)
    assert load(address_of(memory)) == 3


def test_a_byte_is_unsigned(memory):
    endian.store_u8(address_of(memory), 0x1FF)
    assert endian.load_u8(address_of(memory)) == 255
    assert memory[:2].tolist() == [255, 0]
    assert ctypes.c_uint8.from_address(address_of(memory)).value == 255
