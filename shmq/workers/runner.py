"""Run one role in this process until it is told to stop: rounds, heartbeat, signals.

SIGTERM asks for a graceful end, once; SIGINT is the terminal's to the whole group and only the supervisor
heeds it; SIGHUP reopens the log file. The role ends when its own duty and those it serves are over, so a
SIGTERM to all of them at once ends them in the right order by itself, also when the supervisor is gone.
"""

import signal
import time
from types import FrameType
from typing import Any, Final

from shmq import logs
from shmq.jit import die_of_broken_kernels
from shmq.memory.words import store_word
from shmq.ring.waiting import AWAKE_NS
from shmq.shared import roster
from shmq.workers.role import Role

HEEDED_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
"""What a role's process may be sent at any time; whoever forks it holds them back until run() can heed them."""
REST_NS_MIN: Final = AWAKE_NS
"""One that sleeps is woken by signals; whoever is awake in a kernel comes back from it so often to heed them."""
REST_NS_MAX: Final = 64_000_000_000
"""Each rest that ends for nothing costs an idle machine: while they are quiet they grow.

A signal that comes in the microseconds between the last look and the sleep is heeded behind it, or with the next one:
the supervisor repeats the SIGTERM of a stop.
"""
REST_GROWTH: Final = 4
STOPPING_REST_NS: Final = 10_000_000
"""Nobody announces that he has ended, so who waits for others' ends looks."""
QUIET_PART: Final = 50
"""A rest was quiet if less than this part of it was worked through."""


class Runner:
    """Turns a role until SIGTERM and then until it is done."""

    def __init__(self, name: str, role: Role, roster_row: int) -> None:
        """Take the address of this process's row in the roster."""
        self._name = name
        self._role = role
        self._row = roster_row
        self._log = logs.get(name)
        self._stop_asked = False
        self._reopen_asked = False
        self._is_turning = False

    def start(self) -> None:
        """Heed signals from now on, and start the role."""
        die_of_broken_kernels()
        signal.signal(signal.SIGTERM, self._ask_stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, self._ask_reopen)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED_SIGNALS)
        self._role.start()

    def run(self) -> int:
        """Run to the end, once started; return the process's exit code."""
        ready = stopping = False
        rest_ns = REST_NS_MIN
        self._is_turning = True
        while not (stopping and self._role.is_done):
            if self._reopen_asked:
                self._reopen_asked = False
                logs.reopen()
            if self._stop_asked and not stopping:
                ready = stopping = True
                store_word(self._row + roster.STATE, roster.STOPPING)
                self._log.debug("stopping")
                self._role.stop()
            if not ready and self._role.is_ready:
                ready = True
                store_word(self._row + roster.STATE, roster.READY)
            now_ns = time.monotonic_ns()
            store_word(self._row + roster.BEAT_NS, now_ns)
            if self._role.do_work(now_ns) == 0:
                worked_ns = time.thread_time_ns()
                self._role.rest(STOPPING_REST_NS if stopping else rest_ns)
                is_quiet = (time.thread_time_ns() - worked_ns) * QUIET_PART < rest_ns
                rest_ns = min(REST_GROWTH * rest_ns, REST_NS_MAX) if is_quiet else REST_NS_MIN
        self._is_turning = False
        self._role.close()
        self._log.debug("stopped")
        return 0

    def _wake(self) -> None:
        if self._is_turning:
            self._role.wake()

    def _ask_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stop_asked = True
        self._wake()

    def _ask_reopen(self, _signal: int, _frame: FrameType | None) -> None:
        self._reopen_asked = True
        self._wake()


def wall_ms() -> int:
    """Milliseconds since 1970, as RocketMQ's timestamps count."""
    return time.time_ns() // 1_000_000


def row_alive(row: Any) -> bool:
    """Whether the process of a roster row still runs."""
    return roster.is_alive(int(row["pid"]), int(row["started"]))
