"""Chores: what the conductor does by itself, beside the requests that it answers."""

from typing import Any, Protocol

from shmq.broker.metadata import Metadata
from shmq.workers.agenda import Agenda
from shmq.workers.appending import Appender
from shmq.workers.delivering import Delivering
from shmq.workers.ground import Ground
from shmq.workers.predecessor import Predecessor
from shmq.workers.reviving import Reviving
from shmq.workers.runner import wall_ms
from shmq.workers.timing import Timing
from shmq.workers.transacting import Transacting


class Chore(Protocol):
    """Something to be looked after now and then, and at once when it has been roused."""

    @property
    def is_roused(self) -> bool:
        """Whether there is something to do that was not foreseen at the last look."""

    @property
    def is_waiting(self) -> bool:
        """Whether something is to come of it though nobody should ask for anything."""

    @property
    def needed(self) -> int:
        """The position from which on it needs the log; NONE where it needs nothing of it."""

    def look(self, now_ms: int) -> int:
        """Do what is due; return after how many ms to look again, if nothing rouses it before."""

    def stop(self) -> None:
        """Begin nothing new."""

    def close(self) -> None:
        """Let go of everything."""


class Chores:
    """All of them, on their owner's agenda."""

    def __init__(self, chores: tuple[Chore, ...], agenda: Agenda) -> None:
        self._chores = chores
        self._agenda = agenda

    @property
    def is_roused(self) -> bool:
        """Whether any of them is."""
        return any(chore.is_roused for chore in self._chores)

    @property
    def is_waiting(self) -> bool:
        """Whether any of them is."""
        return any(chore.is_waiting for chore in self._chores)

    def begin(self, now_ms: int) -> None:
        """Have each looked after from now on."""
        for chore in self._chores:
            self._agenda.enter(chore.look, now_ms)

    def rouse(self, now_ms: int) -> None:
        """Have those looked after at once that are roused."""
        for chore in self._chores:
            if chore.is_roused:
                self._agenda.enter(chore.look, now_ms)

    def needed(self) -> list[int]:
        """From which position on each needs the log, NONE where one needs nothing of it."""
        return [chore.needed for chore in self._chores]

    def stop(self) -> None:
        """Have them begin nothing new."""
        for chore in self._chores:
            chore.stop()

    def close(self) -> None:
        """Have them let go of everything."""
        for chore in self._chores:
            chore.close()


def make_chores(state: Metadata, appender: Appender, ground: Ground, log: Any) -> tuple[Chore, ...]:
    """Return all chores of a conductor, which has submitted nothing yet."""
    state.log_end = lambda: ground.memory.watermarks.appended
    predecessor = Predecessor(ground.memory, ground.paths)
    return (
        Delivering(state.delays, appender, wall_ms),
        Transacting(state, appender, predecessor, ground.memory.watermarks, wall_ms, log),
        Timing(state, appender, ground, predecessor, log),
        Reviving(state, appender, wall_ms, log),
    )
