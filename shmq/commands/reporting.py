"""How the commands that talk to a broker end when it fails them: one line on standard error, and an exit code."""

import contextlib
from collections.abc import Iterator
from typing import Final

import click

from shmq.errors import ConfigError, ShmqError

EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 2


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """Turn an error of ours into a line and an exit code."""
    try:
        yield
    except ShmqError as error:
        click.echo(f"error: {error}", err=True)
        raise click.exceptions.Exit(EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED) from error
