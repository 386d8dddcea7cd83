"""What a long piece of work tells of itself: what happens, and how far it has come."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

Pace: TypeAlias = Callable[[str, int, int, str], None]
"""Told what is being done, how much of it is done, of how much, and in which unit: `bytes` or `queues`."""


def no_pace(what: str, done: int, total: int, unit: str) -> None:
    """For whom it does not matter how far a long step has come."""


class Telling(NamedTuple):
    """Whom to tell."""

    say: Callable[[str], None]
    pace: Pace
