"""The signals that a supervisor heeds: noted when they come, taken in its own time.

Its process has threads that are not ours (numpy's), so holding signals back with a mask is of no use here: handlers
are in place before there is anything to tidy up. The children are forked with one thread; see `children.py`.
"""

import os
import select
import signal
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = frozenset((signal.SIGTERM, signal.SIGINT))
_HEEDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Signals:
    """What came and was not taken yet; from when this is made, no signal ends the process by itself."""

    def __init__(self) -> None:
        self._came: list[int] = []
        self._wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in _HEEDED:
            signal.signal(number, self._note)

    def wait(self, timeout_s: float | None) -> None:
        """Sleep until one comes, or until the time is over."""
        select.select([self._wake_read], [], [], timeout_s)
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            return

    def take(self) -> list[int]:
        """Return those that came since the last call."""
        came, self._came = self._came, []
        return came

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(number)
