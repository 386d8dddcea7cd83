"""`shmq store`: look at a store, check it, and build anew what its log implies; no broker needs to run."""

from collections.abc import Mapping
from typing import Final

import click

from shmq.commands.lazy import LazyGroup

COMMANDS: Final[Mapping[str, str]] = {
    "cat": "shmq.commands.store_cat",
    "export": "shmq.commands.store_export",
    "info": "shmq.commands.store_info",
    "rebuild": "shmq.commands.store_rebuild",
    "verify": "shmq.commands.store_verify",
}


@click.group(cls=LazyGroup, modules=COMMANDS)
def store() -> None:
    """Inspect a store, of shmq or RocketMQ, without a broker."""
