"""A thread of a role's process whose end, however it comes, its owner is told of.

An owner may sleep for a minute and is woken by what its threads do. One that died would never wake it.
"""

import threading
from collections.abc import Callable


class TendedThread(threading.Thread):
    """Runs a body once, and says when it has ended."""

    def __init__(self, name: str, body: Callable[[], None], on_end: Callable[[], None]) -> None:
        """Prepare it; `start` starts it.

        Args:
            name: shown to people.
            body: what it does, until it is told to stop; an error that it raises ends it.
            on_end: called by it, last.
        """
        super().__init__(name=name, daemon=True)
        self._body = body
        self._on_end = on_end
        self._has_ended = False

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended: False by the time that `on_end` is called."""
        return self.is_alive() and not self._has_ended

    def run(self) -> None:
        """Its life; `start` calls it."""
        try:
            self._body()
        finally:
            self._has_ended = True
            self._on_end()
