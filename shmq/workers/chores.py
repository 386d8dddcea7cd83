"""Chores: what the conductor does by itself, beside the requests that it answers."""

from typing import Protocol

from shmq.broker.metadata import Metadata
from shmq.workers.appending import Appender
from shmq.workers.delivering import Delivering
from shmq.workers.runner import wall_ms


class Chore(Protocol):
    """Something to be looked after now and then, and at once when it has been roused."""

    @property
    def is_roused(self) -> bool:
        """Whether there is something to do that was not foreseen at the last look."""

    @property
    def is_waiting(self) -> bool:
        """Whether something is to come of it though nobody should ask for anything."""

    def look(self, now_ms: int) -> int:
        """Do what is due; return after how many ms to look again, if nothing rouses it before."""

    def stop(self) -> None:
        """Begin nothing new."""


def make_chores(state: Metadata, appender: Appender) -> tuple[Chore, ...]:
    """Return all chores of a conductor."""
    return (Delivering(state.delays, appender, wall_ms),)
