"""Load-acquire, store-release, fence: the only memory orders, on 64-bit words at raw addresses.

Each word has one writer, so there is no swap and no add here. A release publishes: whoever sees the value
by an acquire also sees all that its writer stored before. `full_fence` stands between "I sleep" and the
last look at the queue, and between "here is work" and "does anybody sleep". The other two fences order plain loads
and stores, of words in files that are narrower than ours; on x86 they bind the compiler only.

With the JIT off the same names work through ctypes; x86 keeps the order, and such runs are single-process.
"""

import ctypes

from shmq.memory import intrinsics
from shmq.memory.intrinsics import inline_in_kernels


@inline_in_kernels(intrinsics.load_acquire_i64)
def load_acquire(address: int) -> int:
    """Read the word; what its writer stored before it is visible from here on."""
    return ctypes.c_int64.from_address(address).value


@inline_in_kernels(intrinsics.load_relaxed_i64)
def load_relaxed(address: int) -> int:
    """Read the word whole, in no order with others: for one's own words."""
    return ctypes.c_int64.from_address(address).value


@inline_in_kernels(intrinsics.store_release_i64)
def store_release(address: int, value: int) -> None:
    """Write the word after everything stored before it."""
    ctypes.c_int64.from_address(address).value = value


@inline_in_kernels(intrinsics.store_relaxed_i64)
def store_relaxed(address: int, value: int) -> None:
    """Write the word whole, in no order with others: for one's own words."""
    ctypes.c_int64.from_address(address).value = value


@inline_in_kernels(intrinsics.full_fence)
def full_fence() -> None:
    """No load behind it moves before a store ahead of it."""


@inline_in_kernels(intrinsics.release_fence)
def release_fence() -> None:
    """No store behind it is seen before a store or a load ahead of it."""


@inline_in_kernels(intrinsics.acquire_fence)
def acquire_fence() -> None:
    """No load or store behind it moves before a load ahead of it."""


@inline_in_kernels(intrinsics.pause)
def pause() -> None:
    """Let the processor know that this is a spin, between two looks at a word."""


@inline_in_kernels(intrinsics.prefetch)
def prefetch(address: int) -> None:
    """Fetch what lies at an address, mapped or not, before it is wanted."""


@inline_in_kernels(intrinsics.prefetch_to_write)
def prefetch_to_write(address: int) -> None:
    """Take the line at an address, mapped or not, from other processors before it is written."""
