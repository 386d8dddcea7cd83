"""What all commands on a store share: the options that say which store it is, and what is known of it before it is read.

Sizes of files are stated nowhere in a store. Where no source states them either, they are found out from the files
that lie there (`shmq/store/found_sizes.py`).
"""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import click

from shmq.commands.reporting import reporting
from shmq.config.loading import Sources, load
from shmq.config.sources import DEFAULT, Given, Origin
from shmq.errors import ConfigError
from shmq.store.found_sizes import Stated, find_sizes
from shmq.store.store_files import StorePaths, StoreSizes, find_holder, read_abort

_COMMIT_LOG: Final = ("commit_log_file_bytes",)
_CONSUME_QUEUE: Final = ("consume_queue_file_bytes",)
_KEY_INDEX: Final = ("key_index_slots", "key_index_entries")


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """A store that is to be looked at; nothing of it is open yet.

    Attributes:
        paths: where everything lies.
        sizes: of its files, as configured, or else as found.
        delay_levels_ms: the delay of level 1 and so on, as configured.
        is_in_use: whether a broker has it open, or children of a dead one may still write to it.
        holder: who that is, for people; empty where nobody does.
    """

    paths: StorePaths
    sizes: StoreSizes
    delay_levels_ms: tuple[int, ...]
    is_in_use: bool
    holder: str


def with_store(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a store, and hand it an `OpenedStore` as `store`.

    Errors of ours end the command with a line on standard error: exit code 2 where the operator asked for what cannot
    be, 1 for others.
    """

    @click.option("--store-root", metavar="DIR", help="Directory of the store.  [default: as the broker's]")
    @click.option("--config", "toml_file", metavar="FILE", default="", help="TOML file of settings.")
    @click.option("-c", "broker_conf", metavar="FILE", default="", help="RocketMQ broker.conf.")
    @click.option(
        "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Any setting; may be repeated."
    )
    @functools.wraps(command)
    def run(
        *,
        store_root: str | None,
        toml_file: str,
        broker_conf: str,
        assignments: tuple[str, ...],
        **options: Any,
    ) -> None:
        given = (
            ()
            if store_root is None
            else (Given("store_root", store_root, Origin("command line --store-root")),)
        )
        sources = Sources(
            toml_file=toml_file,
            broker_conf=broker_conf,
            environment=os.environ,
            assignments=assignments,
            options=given,
        )
        with reporting():
            command(store=open_store(sources), **options)

    return run


def open_store(sources: Sources) -> OpenedStore:
    """Find a store, changing nothing.

    Raises:
        ConfigError: a source says what cannot be, or there is no store.
    """
    loaded = load(sources)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    config = loaded.config
    paths = StorePaths.of(config)
    if not paths.root.is_dir():
        raise ConfigError(f"there is no store: {paths.root} is no directory")

    def is_stated(names: tuple[str, ...]) -> bool:
        return any(loaded.origins[name] != DEFAULT for name in names)

    stated = Stated(is_stated(_COMMIT_LOG), is_stated(_CONSUME_QUEUE), is_stated(_KEY_INDEX))
    sizes = find_sizes(paths, StoreSizes.of(config), stated)
    pid = find_holder(paths)
    return OpenedStore(paths, sizes, config.delay_levels_ms, pid is not None, _holder(paths, pid))


def _holder(paths: StorePaths, pid: int | None) -> str:
    if pid is None:
        return ""
    named = read_abort(paths)
    if named in {None, pid}:
        return f"process {pid}" if pid > 0 else "a process that is not seen from here"
    return f"process {pid}, of the broker that began as process {named}"
