"""Kernels that do nothing but call the intrinsics of `shmq.memory`, which Python never reaches otherwise."""

from shmq.jit import kernel
from shmq.memory.atomics import full_fence, load_acquire, load_relaxed, store_relaxed, store_release
from shmq.memory.block import copy, zero
from shmq.memory.endian import (
    load_i16,
    load_i32,
    load_i64,
    load_native_i32,
    load_native_i64,
    load_u8,
    store_i16,
    store_i32,
    store_i64,
    store_native_i32,
    store_native_i64,
    store_u8,
)


@kernel
def store_all(address: int, value: int) -> None:
    """Store a value in each form, eight bytes apart."""
    store_u8(address, value)
    store_i16(address + 8, value)
    store_i32(address + 16, value)
    store_i64(address + 24, value)
    store_native_i32(address + 32, value)
    store_native_i64(address + 40, value)
    store_relaxed(address + 48, value)
    full_fence()
    store_release(address + 56, value)


@kernel
def load_each(address: int, form: int) -> int:
    """Load what lies at an address, in the form of this number in `store_all`."""
    loaded = 0
    if form == 0:
        loaded = load_u8(address)
    elif form == 1:
        loaded = load_i16(address)
    elif form == 2:
        loaded = load_i32(address)
    elif form == 3:
        loaded = load_i64(address)
    elif form == 4:
        loaded = load_native_i32(address)
    elif form == 5:
        loaded = load_native_i64(address)
    elif form == 6:
        loaded = load_relaxed(address)
    else:
        loaded = load_acquire(address)
    return loaded


@kernel
def copy_and_zero(target: int, source: int, size_bytes: int, zero_bytes: int) -> None:
    """Copy a range, then set the beginning of the source to zero."""
    copy(target, source, size_bytes)
    zero(source, zero_bytes)
