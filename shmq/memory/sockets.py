"""Sockets for kernels: receive and send on a descriptor, never waiting. A negative answer is an error number."""

import errno
import socket
from typing import Final

from shmq.jit import kernel
from shmq.memory.endian import store_native_i64
from shmq.memory.syscalls import NUMBERS, system_call

WOULD_WAIT: Final = -int(errno.EAGAIN)
"""Nothing is there, or there is no room."""

RANGES_BYTES: Final = 32
"""How much room `receive_into_both` needs to name its two ranges."""

_RECEIVE: Final = NUMBERS["recvfrom"]
_RECEIVE_RANGES: Final = NUMBERS["readv"]
_SEND: Final = NUMBERS["sendto"]
_NOT_WAITING: Final = int(socket.MSG_DONTWAIT)
_NOT_WAITING_NO_SIGNAL: Final = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


@kernel
def receive(descriptor: int, address: int, size_bytes: int) -> int:
    """Receive at most so many bytes; how many, 0 at the stream's end."""
    return system_call(_RECEIVE, descriptor, address, size_bytes, _NOT_WAITING, 0, 0)


@kernel
def name_ranges(ranges: int, first: int, first_bytes: int, second: int, second_bytes: int) -> None:
    """Write down two ranges for `receive_into_both`."""
    store_native_i64(ranges, first)
    store_native_i64(ranges + 8, first_bytes)
    store_native_i64(ranges + 16, second)
    store_native_i64(ranges + 24, second_bytes)


@kernel
def receive_into_both(descriptor: int, ranges: int) -> int:
    """Receive into the first of two ranges and, when it is full, the second; the socket must be non-blocking."""
    return system_call(_RECEIVE_RANGES, descriptor, ranges, 2, 0, 0, 0)


@kernel
def send(descriptor: int, address: int, size_bytes: int) -> int:
    """Send at most so many bytes; how many."""
    return system_call(_SEND, descriptor, address, size_bytes, _NOT_WAITING_NO_SIGNAL, 0, 0)
