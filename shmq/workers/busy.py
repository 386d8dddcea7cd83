"""Busy: whether the writer, though it is there, takes nothing of what waits for it.

A writer that died is not busy: its successor takes over what waits, and whoever sends meanwhile waits as well. One
that stands still, on a disk that hangs say, holds up every producer until its own time is over; so they are told at
once, and clients turn to another broker.
"""

from typing import Any

from shmq.ring import spsc
from shmq.shared import roster
from shmq.workers.runner import row_alive

_LOOKS_A_LIMIT = 4


class Busy:
    """What one sender sees of the writer.

    Attributes:
        is_busy: whether sends are to be refused.
    """

    def __init__(self, ring: int, writer: Any, limit_ms: int) -> None:
        """Watch the ring to the writer, whose roster row it is."""
        self.is_busy = False
        self._ring = ring
        self._writer = writer
        self._limit_ms = limit_ms
        self._seen = (0, 0)
        self._since_ms = 0

    def look(self, now_ms: int) -> bool:
        """Look whether anything has moved; return whether the writer is busy."""
        seen = (spsc.consumed_position(self._ring), int(self._writer["epoch"]))
        is_standing = not spsc.is_empty(self._ring) and int(self._writer["state"]) == roster.READY
        if seen != self._seen or not is_standing:
            self._seen = seen
            self._since_ms = now_ms
        is_late = now_ms - self._since_ms >= self._limit_ms
        self.is_busy = is_late and (self.is_busy or row_alive(self._writer))
        return self.is_busy

    def wait_ms(self, timeout_ms: int) -> int:
        """How long one may sleep: no longer than a part of the limit while something waits."""
        if spsc.is_empty(self._ring):
            return timeout_ms
        return min(timeout_ms, max(self._limit_ms // _LOOKS_A_LIMIT, 1))
