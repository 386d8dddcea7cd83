"""What a role does by the clock: duties, and when each is next due; seldom, where it is alone."""

from collections.abc import Callable
from typing import Final

Duty = Callable[[int], int]
"""Is told the time, and returns after how many ms it is due again."""


ALONE_AFTER_MS: Final = 10_000
"""After so long without anybody a role is alone: nobody changes what it looks at now and then."""
ALONE_MS: Final = 60_000
"""So often it looks then."""


class Agenda:
    """Duties, each with the time at which it is due."""

    def __init__(self) -> None:
        self._due_ms: dict[Duty, int] = {}

    def enter(self, duty: Duty, due_ms: int) -> None:
        """Have a duty done from a time on; a new time for one that is there already."""
        self._due_ms[duty] = due_ms

    def do_due(self, now_ms: int) -> int:
        """Do what is due; return how much that was."""
        due = [duty for duty, due_ms in self._due_ms.items() if now_ms >= due_ms]
        for duty in due:
            self._due_ms[duty] = now_ms + duty(now_ms)
        return len(due)

    def wait_ms(self, now_ms: int, timeout_ms: int) -> int:
        """How long its owner may sleep, at most a time."""
        next_ms = min(self._due_ms.values(), default=now_ms + timeout_ms)
        return max(0, min(timeout_ms, next_ms - now_ms))


class Company:
    """Whether anybody is there who could change something."""

    def __init__(self) -> None:
        self._heard_ms = 0
        self._is_alone = True

    def hear(self, now_ms: int) -> None:
        """Note that somebody asked for something."""
        self._heard_ms = now_ms

    def came(self, now_ms: int, *, is_anybody_there: bool) -> bool:
        """Look around; return whether somebody came to one who was alone."""
        if is_anybody_there:
            self._heard_ms = now_ms
        was_alone, self._is_alone = self._is_alone, now_ms - self._heard_ms >= ALONE_AFTER_MS
        return was_alone and not self._is_alone

    def pace(self, interval_ms: int) -> int:
        """The interval, or a longer one for who is alone."""
        return max(interval_ms, ALONE_MS) if self._is_alone else interval_ms
