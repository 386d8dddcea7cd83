"""The kernel's services that a nopython function calls for itself, through libc.

`futex_wait` and `futex_wake` act on the low half of a 64-bit word (the machine is little-endian, which is
checked at import). They take no FUTEX_PRIVATE flag: the word is shared between processes.
"""

import ctypes
import os
import platform
import sys
from typing import Any, Final

import numpy as np
from numba import types

from shmq.jit import JIT_ENABLED, kernel
from shmq.memory.block import address_of

_NUMBERS: Final = {"x86_64": (202, 1), "aarch64": (98, 64)}
_FUTEX: Final = _NUMBERS[platform.machine()][0]
_WRITE: Final = _NUMBERS[platform.machine()][1]
_FUTEX_WAIT: Final = 0
_FUTEX_WAKE: Final = 1

assert sys.byteorder == "little", "a futex word is the low half of a native 64-bit word"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_SYSCALL_WORDS = (types.int64,) * 7


def _syscall_from_python(*words: int) -> int:
    return int(_libc.syscall(*(ctypes.c_long(word) for word in words)))


_syscall: Any = (
    types.ExternalFunction("syscall", types.int64(*_SYSCALL_WORDS)) if JIT_ENABLED else _syscall_from_python
)


_libc.malloc.restype = _libc.realloc.restype = ctypes.c_void_p


def _allocate_from_python(size_bytes: int) -> int:
    return _libc.malloc(ctypes.c_size_t(size_bytes)) or 0


def _resize_from_python(address: int, size_bytes: int) -> int:
    return _libc.realloc(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes)) or 0


def _release_from_python(address: int) -> None:
    _libc.free(ctypes.c_void_p(address))


allocate: Any = (
    types.ExternalFunction("malloc", types.int64(types.int64)) if JIT_ENABLED else _allocate_from_python
)
"""Memory of this process alone, by its address; 0 where there is none left. For kernels."""
resize: Any = (
    types.ExternalFunction("realloc", types.int64(types.int64, types.int64))
    if JIT_ENABLED
    else _resize_from_python
)
"""The same memory with another size, perhaps elsewhere; 0, and nothing changed, where there is none left."""
release: Any = (
    types.ExternalFunction("free", types.void(types.int64)) if JIT_ENABLED else _release_from_python
)
"""Give allocated memory back; 0 is nothing."""


@kernel
def _futex(word: int, operation: int, value: int, timeout: int) -> int:
    return int(_syscall(_FUTEX, word, operation, value, timeout, 0, 0))


def futex_wait(word: int, expected: int, timeout_ns: int) -> None:
    """Sleep while the word holds `expected`, until woken, a signal arrives, or the time is over."""
    timespec = np.array(divmod(timeout_ns, 1_000_000_000), dtype=np.int64)
    _futex(word, _FUTEX_WAIT, expected, address_of(timespec))


@kernel
def futex_wake(word: int) -> None:
    """Wake one sleeper on the word."""
    _futex(word, _FUTEX_WAKE, 1, 0)


@kernel
def write_word(descriptor: int, word: int) -> None:
    """Write the eight bytes at an address, as an eventfd wants them; a full counter is a ring all the same."""
    _syscall(_WRITE, descriptor, word, 8, 0, 0, 0)


def preallocate(descriptor: int, offset_bytes: int, size_bytes: int) -> None:
    """Reserve blocks for a range of a file.

    Raises:
        OSError: ENOSPC on a full disk, instead of a SIGBUS at some later store into a mapping.
    """
    os.posix_fallocate(descriptor, offset_bytes, size_bytes)
