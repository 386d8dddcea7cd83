"""Wake a sleeping process: a flag that spares the call while the owner is awake, and a futex or eventfd.

    offset  size  field       meaning
    ------  ----  ----------  -----------------------------------------------------------------
         0     8  sleeping    1: the owner sleeps or is about to; it sets it, who wakes it clears
         8     8  descriptor  of the eventfd on which it sleeps (in epoll); NONE: on `sleeping`
        16     8  one         what is written to an eventfd
        24     8  interest    bits of the news for which the owner wants to be woken; the owner's
       128

The owner says that it will sleep, fences, looks once more, then sleeps; the other stores its news, fences,
then looks at the flag. So one of the two sees the other. Eventfds are made before the workers are forked,
so a number means the same in each of them. An owner killed in its sleep leaves the flag set: the next bell
is then rung for nobody, and the flag is clear again.
"""

import os
from typing import Final

from shmq.jit import entry, kernel
from shmq.memory.atomics import full_fence, load_relaxed, store_relaxed
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import LINE_BYTES, layout, offset_of
from shmq.memory.syscalls import futex_wait, futex_wait_at, futex_wake, write_word

LAYOUT: Final = layout(
    LINE_BYTES, sleeping=(0, "<i8"), descriptor=(8, "<i8"), one=(16, "<i8"), interest=(24, "<i8")
)

SIZE: Final = LAYOUT.itemsize
SLEEPING: Final = offset_of(LAYOUT, "sleeping")
DESCRIPTOR: Final = offset_of(LAYOUT, "descriptor")
ONE: Final = offset_of(LAYOUT, "one")
INTEREST: Final = offset_of(LAYOUT, "interest")

NONE: Final = -1

DISPATCHED: Final = 1
"""News: the queues have grown."""
FLUSHED: Final = 2
"""News: more of the log is on disk."""
APPENDED: Final = 4
"""News: the log has grown; for who has slept since it last did."""


def initialise(bell: int, descriptor: int = NONE) -> None:
    """Make zeroed memory a bell, rung by an eventfd or, without one, by futex."""
    store_native_i64(bell + DESCRIPTOR, descriptor)
    store_native_i64(bell + ONE, 1)


@entry
def will_sleep(bell: int) -> None:
    """Announce the sleep; the owner must look for work once more before it sleeps."""
    store_relaxed(bell + SLEEPING, 1)
    full_fence()


@entry
def is_awake(bell: int) -> None:
    """Take the announcement back."""
    store_relaxed(bell + SLEEPING, 0)


@entry
def ring_bell(bell: int) -> None:
    """Wake the owner if it sleeps; the news must have been stored before."""
    full_fence()  # pairs with will_sleep(): either it sees the news, or we see it asleep
    ring_fenced(bell)


@kernel
def ring_fenced(bell: int) -> None:
    """As ring_bell, behind a fence of the caller's: one is enough for several bells."""
    if load_relaxed(bell + SLEEPING) != 0:
        store_relaxed(bell + SLEEPING, 0)
        descriptor = load_native_i64(bell + DESCRIPTOR)
        if descriptor >= 0:
            write_word(descriptor, bell + ONE)
        else:
            futex_wake(bell + SLEEPING)


@entry
def ring_stranger(bell: int) -> None:
    """As ring_bell, for an owner outside the broker: it sleeps by futex, whatever its bell claims."""
    full_fence()  # pairs with will_sleep()
    ring_stranger_fenced(bell)


@kernel
def ring_stranger_fenced(bell: int) -> None:
    """As ring_stranger, behind a fence of the caller's."""
    if load_relaxed(bell + SLEEPING) != 0:
        store_relaxed(bell + SLEEPING, 0)
        futex_wake(bell + SLEEPING)


@kernel
def ring_stranger_for(bell: int, news: int) -> None:
    """As ring_for, for an owner outside the broker."""
    full_fence()  # pairs with want() and will_sleep()
    if load_relaxed(bell + INTEREST) & news:
        ring_stranger_fenced(bell)


@kernel
def ring_for(bell: int, news: int) -> None:
    """Wake the owner if it sleeps and wants to know of such news."""
    full_fence()  # pairs with want() and will_sleep(): the owner looks for the news after both
    ring_fenced_for(bell, news)


@kernel
def ring_fenced_for(bell: int, news: int) -> None:
    """As ring_for, behind a fence of the caller's."""
    if load_relaxed(bell + INTEREST) & news:
        ring_fenced(bell)


@entry
def want(bell: int, news: int) -> None:
    """State for which news the owner is to be woken."""
    store_relaxed(bell + INTEREST, news)
    full_fence()


def hear(descriptor: int) -> None:
    """Take note that an eventfd bell was rung, so that epoll reports the next ring and not this one again."""
    try:
        os.eventfd_read(descriptor)
    except BlockingIOError:
        return  # somebody rang twice and it was read once


@kernel
def sleep_at(bell: int, timeout_ns: int, timespec: int) -> None:
    """As sleep, for kernels, with two words for the time."""
    futex_wait_at(bell + SLEEPING, 1, timeout_ns, timespec)
    is_awake(bell)


def sleep(bell: int, timeout_ns: int) -> None:
    """Sleep on a futex bell until it is rung or the time is over; will_sleep() came before."""
    futex_wait(bell + SLEEPING, 1, timeout_ns)
    is_awake(bell)
