"""The supervisor's verbs: spawn a child, reap it, restart it with a growing delay, end it.

A child is a role forked from this warm process, so it compiles nothing and inherits the segment, the bells'
eventfds and the listening sockets. It dies with the supervisor: the kernel sends it SIGTERM then, and it
ends in good order by itself.
"""

import ctypes
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from shmq import logs
from shmq.config.settings import Config
from shmq.errors import ShmqError
from shmq.memory.words import store_word
from shmq.shared import roster
from shmq.shared.broker_memory import BrokerMemory
from shmq.workers.runner import HEEDED_SIGNALS

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
EXIT_FAILED: Final = 1
EXIT_ORPHAN: Final = 3

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Child:
    """A process that the supervisor keeps running.

    Attributes:
        name: as it appears in logs and in the process list.
        row: its row of the roster.
        run: the role's life; gives the exit code.
        pid: 0 while it does not run.
        restart_at_ns: when it is to be started again; 0: not due.
        deaths_ns: when it died, as far back as the restart window reaches.
        has_failed: whether its last end was not a clean one.
    """

    name: str
    row: int
    run: Callable[[], int]
    pid: int = 0
    restart_at_ns: int = 0
    deaths_ns: deque[int] = field(default_factory=deque)
    has_failed: bool = False


class Children:
    """All children of one supervisor."""

    def __init__(self, config: Config, memory: BrokerMemory) -> None:
        self._config = config
        self._memory = memory
        self._log = logs.get("supervisor")
        self.all: list[Child] = []

    @property
    def running(self) -> list[Child]:
        """Those that have a process now."""
        return [child for child in self.all if child.pid]

    @property
    def are_ready(self) -> bool:
        """Whether each of them does its duty."""
        rows = self._memory.roster
        return all(child.pid and rows[child.row]["state"] == roster.READY for child in self.all)

    def spawn(self, child: Child) -> None:
        """Fork a child into its role."""
        row = self._memory.roster[child.row]
        store_word(self._memory.roster_row(child.row) + roster.STATE, roster.STARTING)
        row["epoch"] += 1  # before the fork: the child reads it
        supervisor = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        # Held back until the child has handlers of its own: ours would swallow there what is meant for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                _become(child, supervisor, self._config)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED_SIGNALS)
        child.pid = pid
        child.restart_at_ns = 0
        child.has_failed = False
        roster.note_start(row, pid)

    def reap(self, now_ns: int, *, restart: bool) -> list[Child]:
        """Collect the children that ended; plan the restart of those that should go on."""
        ended = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            for child in self.all:
                if child.pid == pid:
                    self._mourn(child, os.waitstatus_to_exitcode(status), now_ns, restart=restart)
                    ended.append(child)
        return ended

    def restart_due(self, now_ns: int) -> None:
        """Start again those whose delay is over."""
        for child in self.all:
            if child.restart_at_ns and child.restart_at_ns <= now_ns:
                self.spawn(child)

    def restart_waiting(self) -> None:
        """Start those that wait for their delay, so that they can finish what a dead predecessor began."""
        for child in self.all:
            if child.restart_at_ns:
                self.spawn(child)

    def next_restart_ns(self) -> int:
        """When the next restart is due; 0 where none is."""
        return min((child.restart_at_ns for child in self.all if child.restart_at_ns), default=0)

    def hopeless(self) -> Child | None:
        """A child that has died too often in too short a time."""
        for child in self.all:
            if len(child.deaths_ns) > self._config.restarts_max:
                return child
        return None

    def tell(self, number: int) -> None:
        """Send a signal to all of them."""
        for child in self.running:
            try:
                os.kill(child.pid, number)
            except ProcessLookupError:
                continue  # it has just ended, and will be reaped

    def _mourn(self, child: Child, code: int, now_ns: int, *, restart: bool) -> None:
        child.pid = 0
        self._memory.roster[child.row]["pid"] = 0
        child.has_failed = code != 0
        if not restart:
            if code:
                self._log.error("process ended badly", name=child.name, exit=_exit_text(code))
            return
        window_ns = self._config.restart_window_ms * 1_000_000
        child.deaths_ns.append(now_ns)
        while child.deaths_ns[0] < now_ns - window_ns:
            child.deaths_ns.popleft()
        doubled = min(len(child.deaths_ns) - 1, 30)
        delay_ms = min(self._config.restart_delay_ms_min << doubled, self._config.restart_delay_ms_max)
        child.restart_at_ns = now_ns + delay_ms * 1_000_000
        self._log.error("process died", name=child.name, exit=_exit_text(code), restart_ms=delay_ms)


def _become(child: Child, supervisor: int, config: Config) -> NoReturn:
    """The forked process's life."""
    code = EXIT_FAILED
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        _libc.prctl(PR_SET_NAME, f"shmq-{child.name}".encode(), 0, 0, 0)  # for ps and top
        if os.getppid() != supervisor:  # it died before we could ask to be told
            os._exit(EXIT_ORPHAN)
        logs.start(child.name, config.log_directory, config.log_level, config.log_format)
        code = child.run()
    except ShmqError as error:
        logs.get(child.name).error("process gives up", reason=str(error))
    except BaseException:  # noqa: BLE001 - a fork must never return into the supervisor's code
        logs.get(child.name).error("process failed", traceback=traceback.format_exc())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_once(
    name: str, config: Config, run: Callable[[], Any], wait: Callable[[], bool] | None = None
) -> bool:
    """Fork, do one thing there, wait for its end; whether it went well.

    Args:
        name: of the process.
        config: the settings.
        run: what to do.
        wait: sleeps until something may have happened; whether the process is to be ended at once. Without it
            this one waits for the other's end alone.
    """

    def life() -> int:
        run()
        return 0

    child = Child(name, 0, life)
    supervisor = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become(child, supervisor, config)
    flags = 0 if wait is None else os.WNOHANG
    while True:
        ended, status = os.waitpid(pid, flags)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        if wait is not None and wait():
            os.kill(pid, signal.SIGKILL)
            flags = 0


def _exit_text(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
