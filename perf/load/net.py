"""Sockets for the load's kernels: non-blocking receive and send, epoll, and a sleep of nanoseconds.

Python opens and connects; kernels use the descriptors. A failure is the negative of its errno.
"""

import errno
import platform
from typing import Any, Final

from numba import types

from shmq.jit import kernel
from shmq.memory.endian import load_native_i32, load_native_i64, store_native_i32, store_native_i64

EVENT_BYTES: Final = 12 if platform.machine() == "x86_64" else 16
"""The size of an epoll_event, which is packed on x86_64 alone."""
EVENTS_MAX: Final = 256
SCRATCH_BYTES: Final = 64 + EVENTS_MAX * 16
"""A kernel's scratch: a timespec, an epoll_event to set, then room for the events of one wait."""

READABLE: Final = 1
WRITABLE: Final = 4
NOT_NOW: Final = -errno.EAGAIN

_EVENT_AT: Final = 16
_EVENTS_AT: Final = 64
_DATA_AT: Final = EVENT_BYTES - 8
_DONT_WAIT: Final = 0x40
_NO_SIGNAL: Final = 0x4000
_MODIFY: Final = 3
_EPOLL_PWAIT2: Final = 441  # one number on every machine
_NS: Final = 1_000_000_000
_I32, _I64 = types.int32, types.int64

_recv: Any = types.ExternalFunction("recv", _I64(_I32, _I64, _I64, _I32))
_send: Any = types.ExternalFunction("send", _I64(_I32, _I64, _I64, _I32))
_epoll_wait: Any = types.ExternalFunction("epoll_wait", _I32(_I32, _I64, _I32, _I32))
_epoll_ctl: Any = types.ExternalFunction("epoll_ctl", _I32(_I32, _I32, _I32, _I64))
_memmove: Any = types.ExternalFunction("memmove", _I64(_I64, _I64, _I64))
_errno_address: Any = types.ExternalFunction("__errno_location", _I64())
_syscall: Any = types.ExternalFunction("syscall", _I64(*(_I64,) * 7))


@kernel
def receive(descriptor: int, address: int, size_bytes: int) -> int:
    """Take what has come, up to a size; 0 at the stream's end, NOT_NOW where nothing has."""
    got = int(_recv(descriptor, address, size_bytes, _DONT_WAIT))
    return got if got >= 0 else -load_native_i32(_errno_address())


@kernel
def give(descriptor: int, address: int, size_bytes: int) -> int:
    """Send what fits into the socket now; NOT_NOW where nothing does."""
    gave = int(_send(descriptor, address, size_bytes, _DONT_WAIT | _NO_SIGNAL))
    return gave if gave >= 0 else -load_native_i32(_errno_address())


@kernel
def move(target: int, source: int, size_bytes: int) -> None:
    """Copy between ranges that may overlap."""
    _memmove(target, source, size_bytes)


@kernel
def wait(epoll: int, scratch: int, timeout_ms: int) -> int:
    """Sleep until a socket is ready; return how many are."""
    return int(_epoll_wait(epoll, scratch + _EVENTS_AT, EVENTS_MAX, timeout_ms))


@kernel
def wait_ns(epoll: int, scratch: int, timeout_ns: int) -> int:
    """Sleep until a socket is ready or the time is over, to the nanosecond where the kernel's timer slack lets."""
    store_native_i64(scratch, timeout_ns // _NS)
    store_native_i64(scratch + 8, timeout_ns % _NS)
    return int(_syscall(_EPOLL_PWAIT2, epoll, scratch + _EVENTS_AT, EVENTS_MAX, scratch, 0, 8))


@kernel
def ready_row(scratch: int, index: int) -> int:
    """Whose socket a wait found ready."""
    return load_native_i64(scratch + _EVENTS_AT + index * EVENT_BYTES + _DATA_AT)


@kernel
def ready_for(scratch: int, index: int) -> int:
    """What it is ready for: bits of READABLE and WRITABLE, or of an error."""
    return load_native_i32(scratch + _EVENTS_AT + index * EVENT_BYTES)


@kernel
def watch(epoll: int, scratch: int, descriptor: int, row: int, events: int) -> None:
    """Change what a registered socket is watched for."""
    store_native_i32(scratch + _EVENT_AT, events)
    store_native_i64(scratch + _EVENT_AT + _DATA_AT, row)
    _epoll_ctl(epoll, _MODIFY, descriptor, scratch + _EVENT_AT)
