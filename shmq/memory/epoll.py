"""epoll for kernels: who is ready, and of whom we want to know.

    offset  size  field   meaning
    ------  ----  ------  ------------------------------------------------------------------------
         0     4  events  what is ready: the bits of <sys/epoll.h>
         4     8  data    what its owner told epoll to say; at 8 everywhere but on x86_64
        12            (16 everywhere but on x86_64)

The operating system's layout of an event, native.
"""

import errno
import platform
import select
from typing import Final

from shmq.jit import entry, kernel
from shmq.memory.endian import load_native_i32, load_native_i64, store_native_i32, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.memory.syscalls import NUMBERS, system_call

_IS_PACKED: Final = platform.machine() == "x86_64"
LAYOUT: Final = layout(12 if _IS_PACKED else 16, events=(0, "<i4"), data=(4 if _IS_PACKED else 8, "<i8"))
SIZE: Final = LAYOUT.itemsize
EVENTS: Final = offset_of(LAYOUT, "events")
DATA: Final = offset_of(LAYOUT, "data")

READABLE: Final = int(select.EPOLLIN)
WRITABLE: Final = int(select.EPOLLOUT)
GONE: Final = int(select.EPOLLHUP | select.EPOLLERR)
ON_CHANGE: Final = -(1 << 31)  # EPOLLET, as a signed word
EXCLUSIVE: Final = 1 << 28

ADD: Final = 1
REMOVE: Final = 2
CHANGE: Final = 3

_EPOLL_WAIT: Final = NUMBERS[
    "epoll_pwait"
]  # with no signal mask it is epoll_wait, which not every machine has
_EPOLL_CONTROL: Final = NUMBERS["epoll_ctl"]
_SIGNALS_BYTES: Final = 8
INTERRUPTED: Final = -int(errno.EINTR)


@kernel
def wait_for_events(epoll: int, events: int, events_max: int, timeout_ms: int) -> int:
    """Write who is ready to an address; how many, or INTERRUPTED where a signal has ended the wait."""
    found = system_call(_EPOLL_WAIT, epoll, events, events_max, timeout_ms, 0, _SIGNALS_BYTES)
    assert found >= 0 or found == INTERRUPTED, "epoll was closed under us"
    return found


@entry
def control(epoll: int, operation: int, descriptor: int, event: int) -> int:
    """ADD, REMOVE or CHANGE what epoll knows of a descriptor; 0, or an error number negated.

    Args:
        epoll: its descriptor.
        operation: which of the three.
        descriptor: of whom.
        event: address of what is wanted and is to be said, by `write_event`.
    """
    return system_call(_EPOLL_CONTROL, epoll, operation, descriptor, event, 0, 0)


@entry
def write_event(event: int, wanted: int, data: int) -> None:
    """Write an event."""
    store_native_i32(event + EVENTS, wanted)
    store_native_i64(event + DATA, data)


@kernel
def events_of(event: int) -> int:
    """What is ready."""
    return load_native_i32(event + EVENTS)


@kernel
def data_of(event: int) -> int:
    """Of whom."""
    return load_native_i64(event + DATA)
