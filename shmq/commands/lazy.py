"""Commands that are imported when they are asked for, so that each pays for its own imports alone."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

import click

# Each module holds a click command of the command's name.
COMMANDS: Final[Mapping[str, str]] = {
    "consume": "shmq.commands.consume",
    "produce": "shmq.commands.produce",
}


class LazyGroup(click.Group):
    """A group of the commands in COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, importing none."""
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        command = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command
