"""Chores: what the conductor does by itself, beside the requests that it answers."""

from typing import Any, Protocol

from shmq.broker.metadata import Metadata
from shmq.shared.broker_memory import BrokerMemory
from shmq.store.store_files import StorePaths
from shmq.workers.appending import Appender
from shmq.workers.delivering import Delivering
from shmq.workers.runner import wall_ms
from shmq.workers.transacting import Predecessor, Transacting


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


def make_chores(
    state: Metadata, appender: Appender, memory: BrokerMemory, paths: StorePaths, log: Any
) -> tuple[Chore, ...]:
    """Return all chores of a conductor, which has submitted nothing yet."""
    state.log_end = lambda: memory.watermarks.appended
    predecessor = Predecessor(memory, paths)
    return (
        Delivering(state.delays, appender, wall_ms),
        Transacting(state, appender, predecessor, memory.watermarks, wall_ms, log),
    )
