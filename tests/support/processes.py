"""A child process under test: its lines, its log, its end.

Everything it prints goes to a log file, and its stdout also comes line by line to whoever waits: nothing here sleeps,
each wait ends with the line, with the process, or with its deadline. A failure carries the end of the log.
"""

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Self

import psutil

STOP_DEADLINE_S: Final = 30.0

_TAIL_CHARACTERS: Final = 4_000
_NEWEST_LINES: Final = 10


class ProcessError(AssertionError):
    """A process did not do what the test waits for."""


class Process:
    """A started process whose stdout is read as lines."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        in_own_group: bool = False,
    ) -> None:
        self.log_path = log_path
        self._command = " ".join(map(str, command))
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._newest: list[str] = []
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(environment or {})},
                cwd=directory,
                start_new_session=in_own_group,
            )
        self.pid = self._popen.pid
        self._reader = threading.Thread(target=self._read, name=f"stdout of {self.pid}", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def is_running(self) -> bool:
        """True until the process has ended."""
        return self._popen.poll() is None

    def wait_line(self, wanted: Callable[[str], bool], deadline_s: float) -> str:
        """Return the next line of stdout that is wanted; lines before it are passed over."""
        give_up_at = time.monotonic() + deadline_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, give_up_at - time.monotonic()))
            except queue.Empty:
                raise self.failure(f"did not print the awaited line in {deadline_s} s") from None
            if line is None:
                self._lines.put(None)  # the end stays the end for who asks again
                raise self.failure("ended before it printed the awaited line")
            if wanted(line):
                return line

    def say(self, line: str) -> None:
        """Write one line to its stdin."""
        stdin = self._stdin
        stdin.write(line.encode() + b"\n")
        stdin.flush()

    def signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        self._popen.send_signal(number)

    def signal_group(self, number: int) -> None:
        """Send a signal to it and all its children, as a terminal does; it must be in a group of its own."""
        os.killpg(self.pid, number)

    def wait_exit(self, deadline_s: float) -> int:
        """Wait for its end; return the exit code (negative: the signal)."""
        try:
            code = self._popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise self.failure(f"did not end in {deadline_s} s") from None
        self._close()
        return code

    def terminate(self, deadline_s: float = STOP_DEADLINE_S) -> int:
        """Ask it to end, and fail where it does not; return the exit code."""
        if self.is_running:
            self._popen.terminate()
        return self.wait_exit(deadline_s)

    def kill(self) -> None:
        """End it and all its descendants at once."""
        doomed = self.descendants()
        if self.is_running:
            self._popen.kill()
        for process in doomed:
            if process.is_running():
                process.kill()
        self._popen.wait(STOP_DEADLINE_S)
        psutil.wait_procs(doomed, timeout=STOP_DEADLINE_S)
        self._close()

    def descendants(self) -> list[psutil.Process]:
        """Return its children, and theirs."""
        try:
            found: list[psutil.Process] = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return found

    def failure(self, what: str) -> ProcessError:
        """Make an error that says what happened, with the last lines of stdout and of the log."""
        log = self.log_path.read_text(errors="replace")[-_TAIL_CHARACTERS:]
        state = "running" if self.is_running else f"exit code {self._popen.returncode}"
        printed = "\n".join(line[:600] for line in self._newest)
        return ProcessError(
            f"{self._command[-300:]} ({state}) {what}\n--- stdout\n{printed}\n--- {self.log_path}\n{log}"
        )

    @property
    def _stdin(self) -> IO[bytes]:
        stdin = self._popen.stdin
        assert stdin is not None
        return stdin

    def _read(self) -> None:
        stdout = self._popen.stdout
        assert stdout is not None
        with stdout, self.log_path.open("ab") as log:
            for raw in stdout:
                log.write(raw)
                log.flush()
                line = raw.decode(errors="replace").rstrip("\n")
                self._newest = [*self._newest[1 - _NEWEST_LINES :], line]
                self._lines.put(line)
        self._lines.put(None)

    def _close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # what it never read died with it
            self._stdin.close()
        self._reader.join(STOP_DEADLINE_S)


def assert_gone(processes: Sequence[psutil.Process], deadline_s: float = STOP_DEADLINE_S) -> None:
    """Fail where one of the processes is still alive when the deadline passes."""
    _, alive = psutil.wait_procs(list(processes), timeout=deadline_s)
    still_there = [process for process in alive if not _is_dead(process)]
    assert not still_there, f"still running: {still_there}"


def _is_dead(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
