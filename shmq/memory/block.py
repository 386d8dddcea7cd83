"""Ranges of bytes at raw addresses: copy, zero, compare, and where an array's bytes lie."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shmq.jit import kernel
from shmq.memory import intrinsics
from shmq.memory.endian import load_native_i64, load_u8
from shmq.memory.intrinsics import inline_in_kernels


@inline_in_kernels(intrinsics.copy_bytes)
def copy(target: int, source: int, size_bytes: int) -> None:
    """Copy between ranges that do not overlap."""
    ctypes.memmove(target, source, size_bytes)


@inline_in_kernels(intrinsics.zero_bytes)
def zero(target: int, size_bytes: int) -> None:
    """Set a range to zero."""
    ctypes.memset(target, 0, size_bytes)


@inline_in_kernels(intrinsics.array_address)
def address_of(array: NDArray[Any]) -> int:
    """Where an array's first byte lies; the array must outlive every use of the address."""
    return int(array.ctypes.data)


@kernel
def equal(left: int, right: int, size_bytes: int) -> bool:
    """Whether two ranges hold the same bytes."""
    at = 0
    while at + 8 <= size_bytes:
        if load_native_i64(left + at) != load_native_i64(right + at):
            return False
        at += 8
    while at < size_bytes:
        if load_u8(left + at) != load_u8(right + at):
            return False
        at += 1
    return True


def view(address: int, size_bytes: int) -> NDArray[np.uint8]:
    """The range as an array, for Python; whoever owns the mapping must keep it alive."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))
