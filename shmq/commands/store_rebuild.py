"""`shmq store rebuild`: build queues and key index anew from the log."""

import time

import click

from shmq.commands.stage_bar import StageBar
from shmq.commands.store_options import OpenedStore, with_store
from shmq.errors import ConfigError, StoreError
from shmq.store.rebuild import Rebuilding, rebuild_store
from shmq.store.store_files import StoreLock


@click.command()
@with_store
@click.option("--queues", "only_queues", is_flag=True, help="The consume queues, and no more.")
@click.option("--index", "only_index", is_flag=True, help="The key index, and no more.")
@click.option("-v", "--verbose", is_flag=True, help="Tell each step.")
def rebuild(*, store: OpenedStore, only_queues: bool, only_index: bool, verbose: bool) -> None:
    """Remove queues and key index, and build them anew from the log.

    Without --queues or --index both. The store is recovered as at the start of a broker first if it was not closed, and
    is closed afterwards. No broker may have it open. It may be killed at any time and run again; a broker that is
    started instead goes on with it.

    The sizes of the new files are those that the old ones had, or that are configured.

    \b
    Examples:
      shmq store rebuild --store-root /var/lib/shmq/store
      shmq store rebuild -c broker.conf --index
    """  # noqa: D301  (click reads the escape: it keeps the lines as they are)
    if store.is_in_use:
        raise ConfigError(f"the store {store.paths.root} is in use by {store.holder}")
    is_both = only_queues == only_index
    wanted = Rebuilding(only_queues or is_both, only_index or is_both, store.delay_levels_ms)
    try:
        lock = StoreLock(store.paths)
    except StoreError as error:
        raise ConfigError(str(error)) from error
    try:
        with StageBar() as bar:

            def say(text: str) -> None:
                if verbose:
                    bar.clear()
                    click.echo(text, err=True)

            now_ms = time.time_ns() // 1_000_000
            done = rebuild_store(store.paths, store.sizes, wanted, now_ms, say, bar)
    finally:
        lock.release()
    what = " and ".join(
        name for name, is_wanted in (("queues", wanted.queues), ("key index", wanted.index)) if is_wanted
    )
    click.echo(f"built {what} from the log, {done.trimmed} to {done.end}")
    for path in done.set_aside:
        click.echo(f"warning: records that could not stay were copied to {path}", err=True)
