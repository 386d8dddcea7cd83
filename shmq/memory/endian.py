"""Integers of 1 to 8 bytes at raw addresses: big-endian for files and wire, native for our own layouts.

The only byte swaps of the project's kernels. Every load gives an int64, sign-extended but for `load_u8`;
every store takes the low bits of one. Addresses need no alignment.
"""

import ctypes

from shmq.memory import intrinsics
from shmq.memory.intrinsics import inline_in_kernels


@inline_in_kernels(intrinsics.load_u8)
def load_u8(address: int) -> int:
    """One unsigned byte."""
    return ctypes.c_uint8.from_address(address).value


@inline_in_kernels(intrinsics.load_be_i16)
def load_i16(address: int) -> int:
    """Two bytes, big-endian, signed."""
    return int.from_bytes(ctypes.string_at(address, 2), "big", signed=True)


@inline_in_kernels(intrinsics.load_be_i32)
def load_i32(address: int) -> int:
    """Four bytes, big-endian, signed."""
    return int.from_bytes(ctypes.string_at(address, 4), "big", signed=True)


@inline_in_kernels(intrinsics.load_be_i64)
def load_i64(address: int) -> int:
    """Eight bytes, big-endian, signed."""
    return int.from_bytes(ctypes.string_at(address, 8), "big", signed=True)


@inline_in_kernels(intrinsics.load_native_i32)
def load_native_i32(address: int) -> int:
    """Four bytes in the machine's order, signed."""
    return ctypes.c_int32.from_address(address).value


@inline_in_kernels(intrinsics.load_native_i64)
def load_native_i64(address: int) -> int:
    """Eight bytes in the machine's order, signed."""
    return ctypes.c_int64.from_address(address).value


@inline_in_kernels(intrinsics.store_u8)
def store_u8(address: int, value: int) -> None:
    """Write the low byte."""
    ctypes.c_uint8.from_address(address).value = value & 0xFF


@inline_in_kernels(intrinsics.store_be_i16)
def store_i16(address: int, value: int) -> None:
    """Write the low two bytes, big-endian."""
    ctypes.memmove(address, (value & 0xFFFF).to_bytes(2, "big"), 2)


@inline_in_kernels(intrinsics.store_be_i32)
def store_i32(address: int, value: int) -> None:
    """Write the low four bytes, big-endian."""
    ctypes.memmove(address, (value & 0xFFFF_FFFF).to_bytes(4, "big"), 4)


@inline_in_kernels(intrinsics.store_be_i64)
def store_i64(address: int, value: int) -> None:
    """Write eight bytes, big-endian."""
    ctypes.memmove(address, (value & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "big"), 8)


@inline_in_kernels(intrinsics.store_native_i32)
def store_native_i32(address: int, value: int) -> None:
    """Write the low four bytes in the machine's order."""
    ctypes.c_int32.from_address(address).value = value


@inline_in_kernels(intrinsics.store_native_i64)
def store_native_i64(address: int, value: int) -> None:
    """Write eight bytes in the machine's order."""
    ctypes.c_int64.from_address(address).value = value
