"""How far long work is, on standard error where that is a terminal: one bar for each of its stages."""

import sys
from types import TracebackType
from typing import Any, Self

import click


class StageBar:
    """Called with what is being done, how much of it is done, and how much there is."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._bar: Any = None
        self._what = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def __call__(self, what: str, done: int, total: int, unit: str = "") -> None:  # noqa: ARG002 - a share has no unit
        """Show it."""
        if not self._is_shown or total <= 0:
            return
        if what != self._what:
            self._end()
            self._what = what
            self._bar = click.progressbar(length=total, label=what, file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(done - self._bar.pos)

    def clear(self) -> None:
        """Wipe its line for something else to be printed; it comes back with the next step."""
        if self._bar is not None:
            click.echo("\r\x1b[2K", nl=False, err=True)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.length - self._bar.pos)
            self._bar.__exit__(None, None, None)
            self._bar = None
