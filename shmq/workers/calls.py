"""Calls: requests of the broker's own that clients answer, and what goes on with each answer.

Kept in memory alone: who called on a client's behalf asks a new conductor again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from shmq.broker.outcome import Call, Channel
from shmq.wire.command import Command

Then = Callable[[Command | None], None]
"""Goes on with a client's answer, or with None where there is none."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A call that is not answered yet."""

    deadline_ms: int
    then: Then


class Calls:
    """All calls under way, by the connection they went to and their opaque."""

    def __init__(self, push: Callable[[Channel, Command], int | None]) -> None:
        """Send requests by `push`, which returns a request's opaque, or None where nobody is there."""
        self._push = push
        self._pending: dict[tuple[Channel, int], _Pending] = {}

    def begin(self, call: Call, then: Then, now_ms: int) -> None:
        """Ask a client."""
        opaque = self._push(call.channel, call.command)
        if opaque is None:
            then(None)
        else:
            self._pending[call.channel, opaque] = _Pending(now_ms + call.patience_ms, then)

    def take(self, channel: Channel, answer: Command) -> bool:
        """Go on with a client's answer; return whether it was asked for."""
        pending = self._pending.pop((channel, answer.opaque), None)
        if pending is not None:
            pending.then(answer)
        return pending is not None

    def forget(self, is_gone: Callable[[Channel], bool]) -> None:
        """Go on without the answers of clients that are gone."""
        self._give_up(lambda channel, _: is_gone(channel))

    def expire(self, now_ms: int) -> int:
        """Go on without answers that took too long; return how many."""
        return self._give_up(lambda _, pending: pending.deadline_ms <= now_ms)

    def wait_ms(self, now_ms: int, timeout_ms: int) -> int:
        """How long their owner may sleep, at most a time."""
        next_ms = min((each.deadline_ms for each in self._pending.values()), default=now_ms + timeout_ms)
        return max(0, min(timeout_ms, next_ms - now_ms))

    def _give_up(self, is_over: Callable[[Channel, _Pending], bool]) -> int:
        over = [key for key, pending in self._pending.items() if is_over(key[0], pending)]
        for key in over:
            self._pending.pop(key).then(None)
        return len(over)
