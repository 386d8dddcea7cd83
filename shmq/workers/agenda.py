"""What a role does by the clock: duties, and when each is next due."""

from collections.abc import Callable

Duty = Callable[[int], int]
"""Is told the time, and returns after how many ms it is due again."""


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
