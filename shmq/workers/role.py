"""A role: one duty, done in rounds, by the one owner of what it writes.

A role has no loop, no sleep and no signal handler of its own: `workers/runner.py` turns it, in a process
of its own or step by step in a test. It waits only in `rest`, and says when it may end.
"""

from typing import Protocol


class Role(Protocol):
    """What the runner needs of a role."""

    def start(self) -> None:
        """Take over: open files, find out where a dead predecessor stood."""

    @property
    def is_ready(self) -> bool:
        """Whether it does its duty by now."""

    def do_work(self, now_ns: int) -> int:
        """Do what there is to do, a bounded amount; return how much it was, 0 for nothing."""

    def rest(self, timeout_ns: int) -> None:
        """Sleep until there may be work, or until the time is over."""

    def wake(self) -> None:
        """End a rest that has begun; called by signal handlers, in the thread that rests."""

    def stop(self) -> None:
        """Begin to end: take on nothing new."""

    @property
    def is_done(self) -> bool:
        """Whether, after stop(), nothing is left to do."""

    def close(self) -> None:
        """Give everything back; the last call."""
