"""The operating system's services that a nopython function calls for itself, and memory from libc's heap.

`system_call` gives every one of them by its number; a negative answer is an error number negated. Waiting,
sockets and the clock have names of their own in `epoll` and `sockets`. `futex_wait` and `futex_wake` act on
the low half of a 64-bit word (the machine is little-endian, which is checked at import). They take no
FUTEX_PRIVATE flag: the word is shared between processes.
"""

import ctypes
import errno
import mmap
import os
import platform
import sys
import time
from typing import Any, Final

import numpy as np
from llvmlite import ir
from llvmlite.binding import initialize_native_asmparser
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from shmq.jit import JIT_ENABLED, entry, kernel
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.intrinsics import inline_in_kernels

NUMBERS: Final = {
    "x86_64": {
        "read": 0,
        "write": 1,
        "pwrite64": 18,
        "readv": 19,
        "sched_yield": 24,
        "msync": 26,
        "nanosleep": 35,
        "sendto": 44,
        "recvfrom": 45,
        "futex": 202,
        "epoll_ctl": 233,
        "epoll_pwait": 281,
    },
    "aarch64": {
        "epoll_ctl": 21,
        "epoll_pwait": 22,
        "read": 63,
        "write": 64,
        "readv": 65,
        "pwrite64": 68,
        "futex": 98,
        "nanosleep": 101,
        "sched_yield": 124,
        "sendto": 206,
        "recvfrom": 207,
        "msync": 227,
    },
}[platform.machine()]
"""What each call is numbered on this machine; frozen into kernels, whose cache knows the processor."""

_FUTEX: Final = NUMBERS["futex"]
_WRITE: Final = NUMBERS["write"]
_SCHED_YIELD: Final = NUMBERS["sched_yield"]
_NANOSLEEP: Final = NUMBERS["nanosleep"]
_MSYNC: Final = NUMBERS["msync"]
_PWRITE: Final = NUMBERS["pwrite64"]
_MS_SYNC: Final = 4
_EINTR: Final = errno.EINTR
_FUTEX_WAIT: Final = 0
_FUTEX_WAKE: Final = 1
_CLOCK_MONOTONIC: Final = 1
_PR_SET_TIMERSLACK: Final = 29
_CLOCK_REALTIME: Final = 0

assert sys.byteorder == "little", "a futex word is the low half of a native 64-bit word"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


_I32, _I64 = ir.IntType(32), ir.IntType(64)
_HAS_INSTRUCTION = platform.machine() == "x86_64"
_WORDS = (types.int64,) * 7
initialize_native_asmparser()  # without it LLVM ends the process when it first meets an instruction as text


def _by_instruction(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    registers = "={rax},{rax},{rdi},{rsi},{rdx},{r10},{r8},{r9},~{rcx},~{r11},~{memory}"
    return builder.asm(ir.FunctionType(_I64, [_I64] * 7), "syscall", registers, args, side_effect=True)


def _through_libc(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    call = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I64, [_I64] * 7), "syscall")
    location = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_I32.as_pointer(), []), "__errno_location"
    )
    result = builder.call(call, args)
    error = builder.sext(builder.load(builder.call(location, [])), _I64)
    return builder.select(builder.icmp_signed("<", result, ir.Constant(_I64, 0)), builder.neg(error), result)


@intrinsic
def _call(typingctx: Any, number: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:  # noqa: ARG001, PLR0913, PLR0917 - the machine's form
    """By the instruction where we know it: libc's way round costs some 60 ns, and a request takes several calls."""
    return types.int64(*_WORDS), _by_instruction if _HAS_INSTRUCTION else _through_libc


@inline_in_kernels(_call)
def system_call(number: int, a: int, b: int, c: int, d: int, e: int, f: int) -> int:  # noqa: PLR0913, PLR0917 - the machine's form
    """Call the operating system; a result, or an error number negated."""
    result = int(_libc.syscall(*(ctypes.c_long(word) for word in (number, a, b, c, d, e, f))))
    return result if result >= 0 else -ctypes.get_errno()


_libc.malloc.restype = _libc.realloc.restype = ctypes.c_void_p


def _allocate_from_python(size_bytes: int) -> int:
    return _libc.malloc(ctypes.c_size_t(size_bytes)) or 0


def _resize_from_python(address: int, size_bytes: int) -> int:
    return _libc.realloc(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes)) or 0


def _release_from_python(address: int) -> None:
    _libc.free(ctypes.c_void_p(address))


def _read_clock_from_python(clock: int, timespec: int) -> int:
    seconds, nanoseconds = divmod(time.clock_gettime_ns(clock), 1_000_000_000)
    ctypes.memmove(timespec, np.array([seconds, nanoseconds], dtype=np.int64).tobytes(), 16)
    return 0


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
_read_clock: Any = (  # libc's, which needs no call of the operating system
    types.ExternalFunction("clock_gettime", types.int32(types.int32, types.int64))
    if JIT_ENABLED
    else _read_clock_from_python
)


@kernel
def _clock_ns(clock: int, timespec: int) -> int:
    _read_clock(clock, timespec)
    return load_native_i64(timespec) * 1_000_000_000 + load_native_i64(timespec + 8)


@entry
def _futex(word: int, operation: int, value: int, timeout: int) -> int:
    return system_call(_FUTEX, word, operation, value, timeout, 0, 0)


def futex_wait(word: int, expected: int, timeout_ns: int) -> None:
    """Sleep while the word holds `expected`, until woken, a signal arrives, or the time is over."""
    timespec = np.array(divmod(timeout_ns, 1_000_000_000), dtype=np.int64)
    _futex(word, _FUTEX_WAIT, expected, address_of(timespec))


@kernel
def futex_wait_at(word: int, expected: int, timeout_ns: int, timespec: int) -> None:
    """As futex_wait, for kernels: two words of the caller's take the time."""
    store_native_i64(timespec, timeout_ns // 1_000_000_000)
    store_native_i64(timespec + 8, timeout_ns % 1_000_000_000)
    _futex(word, _FUTEX_WAIT, expected, timespec)


@kernel
def nap(duration_ns: int, timespec: int) -> None:
    """Sleep for a time, whatever happens but a signal; two words of the caller's take it."""
    store_native_i64(timespec, duration_ns // 1_000_000_000)
    store_native_i64(timespec + 8, duration_ns % 1_000_000_000)
    system_call(_NANOSLEEP, timespec, 0, 0, 0, 0, 0)


@kernel
def monotonic_ns(timespec: int) -> int:
    """The clock that nobody sets, in nanoseconds; two words of the caller's are written."""
    return _clock_ns(_CLOCK_MONOTONIC, timespec)


@kernel
def wall_ns(timespec: int) -> int:
    """Nanoseconds since 1970; two words of the caller's are written."""
    return _clock_ns(_CLOCK_REALTIME, timespec)


@kernel
def futex_wake(word: int) -> None:
    """Wake one sleeper on the word."""
    _futex(word, _FUTEX_WAKE, 1, 0)


@kernel
def write_word(descriptor: int, word: int) -> None:
    """Write the eight bytes at an address, as an eventfd wants them; a full counter is a ring all the same."""
    system_call(_WRITE, descriptor, word, 8, 0, 0, 0)


@kernel
def yield_processor() -> None:
    """Let somebody else run, if anybody wants to."""
    system_call(_SCHED_YIELD, 0, 0, 0, 0, 0, 0)


@entry
def sync_mapped(address: int, size_bytes: int) -> int:
    """Make a range durable that was written through a writable mapping; 0, or an error number negated.

    Whole pages of the range alone are written, where `fdatasync` writes every page of the file: also those that were
    only made ready.
    """
    begin = address & -mmap.PAGESIZE
    return system_call(_MSYNC, begin, address + size_bytes - begin, _MS_SYNC, 0, 0, 0)


@kernel
def write_file(descriptor: int, address: int, size_bytes: int, offset_bytes: int) -> int:
    """Write so many bytes at an offset of a file; 0, or an error number negated: then some may have been written."""
    done_bytes = 0
    while done_bytes < size_bytes:
        result = system_call(
            _PWRITE,
            descriptor,
            address + done_bytes,
            size_bytes - done_bytes,
            offset_bytes + done_bytes,
            0,
            0,
        )
        if result < 0 and result != -_EINTR:
            return result
        done_bytes += max(result, 0)
    return 0


def set_timer_slack(slack_ns: int) -> None:
    """Say how much later than asked for this thread may be woken from a nap."""
    _libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(slack_ns), 0, 0, 0)


def sync_disk_of(descriptor: int) -> None:
    """Make everything durable that lies on the disk of an open file or directory.

    Raises:
        OSError: the disk failed.
    """
    if _libc.syncfs(descriptor) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def preallocate(descriptor: int, offset_bytes: int, size_bytes: int) -> None:
    """Reserve blocks for a range of a file.

    Raises:
        OSError: ENOSPC on a full disk, instead of a SIGBUS at some later store into a mapping.
    """
    os.posix_fallocate(descriptor, offset_bytes, size_bytes)
