"""The C library for kernels of the suite: a clock, files, eventfds, and what time they take.

The broker's kernels read no clock; those that measure have to. Descriptors are opened by Python and passed as
integers, buffers as addresses.
"""

import platform
from typing import Any, Final

from numba import types

from shmq.jit import kernel
from shmq.memory.endian import load_native_i64

_I32: Final = types.int32
_I64: Final = types.int64

_clock_gettime: Any = types.ExternalFunction("clock_gettime", _I32(_I32, _I64))
_pwrite: Any = types.ExternalFunction("pwrite", _I64(_I32, _I64, _I64, _I64))
_fdatasync: Any = types.ExternalFunction("fdatasync", _I32(_I32))
_read: Any = types.ExternalFunction("read", _I64(_I32, _I64, _I64))
_write: Any = types.ExternalFunction("write", _I64(_I32, _I64, _I64))

_syscall: Any = types.ExternalFunction("syscall", _I64(*(_I64,) * 7))

_MONOTONIC: Final = 1
_FUTEX: Final = {"x86_64": 202, "aarch64": 98}[platform.machine()]
_NS: Final = 1_000_000_000

CLOCK_BYTES: Final = 16
"""What `now_ns` needs to write to."""


@kernel
def now_ns(timespec: int) -> int:
    """CLOCK_MONOTONIC, which all processes of a machine share, through 16 bytes at an address."""
    _clock_gettime(_MONOTONIC, timespec)
    return load_native_i64(timespec) * _NS + load_native_i64(timespec + 8)


@kernel
def write_at(descriptor: int, address: int, size_bytes: int, offset: int) -> int:
    """pwrite(2)."""
    return int(_pwrite(descriptor, address, size_bytes, offset))


@kernel
def make_durable(descriptor: int) -> int:
    """fdatasync(2)."""
    return int(_fdatasync(descriptor))


@kernel
def write_eventfd(descriptor: int, word: int) -> int:
    """Ring: add the word at an address."""
    return int(_write(descriptor, word, 8))


@kernel
def read_eventfd(descriptor: int, word: int) -> int:
    """Sleep until it rings, unless it has rung."""
    return int(_read(descriptor, word, 8))


@kernel
def sleep_while(word: int, expected: int) -> None:
    """futex(2): sleep while the word at an address holds a value, or until woken."""
    _syscall(_FUTEX, word, 0, expected, 0, 0, 0)


@kernel
def wake(word: int) -> None:
    """futex(2): wake one who sleeps on the word."""
    _syscall(_FUTEX, word, 1, 1, 0, 0, 0)
