"""How a producer or consumer waits: the strategies, and the loop that they share.

    spin    look again at once: the lowest latency, at the price of a whole CPU
    yield   let others run, look again
    sleep   a pause of 50 us between two looks
    futex   look for a few microseconds, then sleep until the broker rings: the default

A look is a function that says whether what is waited for has come. Python's lock is free in between, but for
`spin`. Whoever waits also looks, ten times a second, whether the broker is still there.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final

from shmq.memory.region import RegionFile
from shmq.ring import doorbell

_SPIN_LOOKS: Final = 20
_PAUSE_SECONDS: Final = 50e-6
_LOCK_RETRY_SECONDS: Final = 0.001
_ALIVE_NS: Final = 100_000_000
_SLEEP_NS_MAX: Final = 100_000_000


class Wait(StrEnum):
    """A strategy, by its name."""

    SPIN = "spin"
    YIELD = "yield"
    SLEEP = "sleep"
    FUTEX = "futex"


class Waiter:
    """Waits on one session's bell."""

    def __init__(self, strategy: Wait, bell: Callable[[], int], check: Callable[[bool], None]) -> None:
        """Take what gives the bell's address, and what raises where the broker is gone.

        Args:
            strategy: how.
            bell: the address, which changes when the session does.
            check: raises where there is nothing to wait for any more; told to ask the system too, it does.
        """
        self._strategy = strategy
        self._bell = bell
        self._check = check

    def wait(self, look: Callable[[], bool], timeout_s: float | None, news: int = 0) -> bool:
        """Wait until a look says yes; False where the time is over first.

        Args:
            look: whether it has come.
            timeout_s: how long at most; None: for ever.
            news: bits of the news that the broker is to wake us for, beside answers.
        """
        if look():
            return True
        if news == 0:
            return self._wait(look, timeout_s)
        doorbell.want(self._bell(), news)  # awake or asleep: the dispatcher naps longer where nobody waits
        try:
            return self._wait(look, timeout_s)
        finally:
            doorbell.want(self._bell(), 0)

    def _wait(self, look: Callable[[], bool], timeout_s: float | None) -> bool:
        now_ns = time.monotonic_ns()
        deadline_ns = None if timeout_s is None else now_ns + int(timeout_s * 1e9)
        alive_at_ns = now_ns + _ALIVE_NS
        looks = 0
        while True:
            if look():
                return True
            now_ns = time.monotonic_ns()
            if deadline_ns is not None and now_ns >= deadline_ns:
                return False
            self._check(now_ns >= alive_at_ns)
            if now_ns >= alive_at_ns:
                alive_at_ns = now_ns + _ALIVE_NS
            looks += 1
            left_ns = _SLEEP_NS_MAX if deadline_ns is None else min(_SLEEP_NS_MAX, deadline_ns - now_ns)
            self._pause(look, left_ns, looks)

    def _pause(self, look: Callable[[], bool], left_ns: int, looks: int) -> None:
        match self._strategy:
            case Wait.SPIN:
                return
            case Wait.YIELD:
                os.sched_yield()
            case Wait.SLEEP:
                pause(_PAUSE_SECONDS)
            case Wait.FUTEX:
                if looks > _SPIN_LOOKS:
                    self._sleep(look, left_ns)

    def _sleep(self, look: Callable[[], bool], timeout_ns: int) -> None:
        bell = self._bell()
        doorbell.will_sleep(bell)
        if look():  # what came before the bell knew of us rings nobody
            doorbell.is_awake(bell)
        else:
            doorbell.sleep(bell, timeout_ns)


def pause(seconds: float) -> None:
    """Wait for what has no bell: a broker that is not there, a lock of the file system, the strategy `sleep`."""
    time.sleep(seconds)


@contextlib.contextmanager
def locked_within(file: RegionFile, timeout_s: float) -> Iterator[bool]:
    """Hold a segment's lock, if it can be had in time; gives whether it is held."""
    deadline = time.monotonic() + timeout_s
    while True:
        with file.locked() as is_held:
            if is_held or time.monotonic() >= deadline:
                yield is_held
                return
        pause(_LOCK_RETRY_SECONDS)
