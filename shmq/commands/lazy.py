"""Commands that are imported when they are asked for, so that each pays for its own imports alone."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import click

COMMANDS: Final[Mapping[str, str]] = {
    "consume": "shmq.commands.consume",
    "produce": "shmq.commands.produce",
    "store": "shmq.commands.store",
}


class LazyGroup(click.Group):
    """A group of commands that lie in modules of their own.

    Args:
        modules: by a command's name, the module that holds a click command of this name.
    """

    def __init__(self, *arguments: Any, modules: Mapping[str, str] = COMMANDS, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, importing none."""
        return sorted({*super().list_commands(ctx), *self._modules})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command."""
        if cmd_name not in self._modules:
            return super().get_command(ctx, cmd_name)
        command = getattr(import_module(self._modules[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command
