"""How a role waits that has nothing to do: by futex behind a short spin, giving way to others, or spinning.

The spin before a sleep costs less than the sleep and the wake-up, as long as somebody else can run beside it: with
a single CPU there is none, with two it is short, since who would have to answer may be waiting for this very CPU.
"""

import os
from typing import Final, NamedTuple

from shmq.jit import kernel
from shmq.memory.atomics import load_acquire, pause
from shmq.memory.syscalls import monotonic_ns, yield_processor
from shmq.ring.doorbell import is_awake, sleep_at, will_sleep

FUTEX: Final = 0
YIELD: Final = 1
BUSY_SPIN: Final = 2

STRATEGIES: Final = {"futex": FUTEX, "yield": YIELD, "busy_spin": BUSY_SPIN}

LOOKS: Final = 64
"""How often one looks between two looks at the clock."""
AWAKE_NS: Final = 250_000_000
"""A kernel goes back to Python at its first look after so long, however long it may wait.

A signal ends a sleep, but whoever is awake in a kernel notices none; nor does he, who looks without a pause, hear his
bell. So he is deaf for that long at most.
"""
_FEW_CPUS: Final = 2
_SPINS_ON_FEW: Final = 100  # of some 15 to 40 ns each
_SPINS_ON_MANY: Final = 1000


def spins_before_sleep() -> int:
    """How many looks are worth while before a sleep, on this machine, for this process."""
    cpus = len(os.sched_getaffinity(0))
    if cpus < _FEW_CPUS:
        return 0
    return _SPINS_ON_FEW if cpus == _FEW_CPUS else _SPINS_ON_MANY


@kernel
def between_looks(strategy: int) -> None:
    """What is done between two looks."""
    if strategy == YIELD:
        yield_processor()
    else:
        pause()


class Waiting(NamedTuple):
    """How a role waits.

    Attributes:
        bell: where it sleeps.
        strategy: FUTEX, YIELD or BUSY_SPIN.
        spins: looks before a sleep.
        clock: two words of its own.
    """

    bell: int
    strategy: int
    spins: int
    clock: int


@kernel
def wait_beyond(waiting: Waiting, word: int, value: int, timeout_ns: int) -> None:
    """Wait until a word that only grows is beyond a value, the bell is rung, or the time is over.

    Whoever does not sleep is back after AWAKE_NS.
    """
    for _ in range(waiting.spins):
        if load_acquire(word) > value:
            return
        between_looks(BUSY_SPIN)
    if waiting.strategy == FUTEX:
        will_sleep(waiting.bell)
        if load_acquire(word) > value:
            is_awake(waiting.bell)
        else:
            sleep_at(waiting.bell, timeout_ns, waiting.clock)
        return
    until_ns = monotonic_ns(waiting.clock) + min(timeout_ns, AWAKE_NS)
    while monotonic_ns(waiting.clock) < until_ns:
        for _ in range(LOOKS):
            if load_acquire(word) > value:
                return
            between_looks(waiting.strategy)
