"""`shmq store export`: messages of a store as a Parquet or Arrow file; no broker needs to run, and one may."""

from pathlib import Path

import click

from shmq.commands.stage_bar import StageBar
from shmq.commands.store_filters import scan_store, with_filters
from shmq.commands.store_options import OpenedStore, with_store
from shmq.errors import ConfigError
from shmq.store.log import LogDirectory
from shmq.store.record_question import Asked


@click.command()
@with_store
@with_filters
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file to write; one that is there is replaced.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["parquet", "arrow"]),
    default="parquet",
    show_default=True,
    help="Parquet, or Arrow's file format (Feather).",
)
@click.option("--columns", metavar="LIST", help="Only these columns, joined by commas.  [default: all]")
def export(*, store: OpenedStore, asked: Asked, output: Path, kind: str, columns: str | None) -> None:
    """Write messages to a file of Parquet or Arrow: a row a message, bodies as they are stored.

    Needs the extra "arrow": pip install 'shmq[arrow]'. The file gets its name when it is whole. Memory is that of some
    65536 messages or 64 MiB at a time, each of which is a row group. Nothing of the store is changed.

    \b
    Exit code: 0 written, 1 the store is damaged or the disk fails, 2 wrong usage, or the extra is missing.

    \b
    Examples:
      shmq store export -o orders.parquet --topic Orders --since 2026-01-31
      shmq store export -o sizes.arrow --format arrow --columns topic,stored,body
    """  # noqa: D301  (click reads the escape: it keeps the lines as they are)
    for directory in (store.paths.root, store.paths.commitlog):
        if output.resolve().is_relative_to(directory.resolve()):
            raise ConfigError(f"{output} lies in the store, where nothing else may be")
    # Apart, because pyarrow is an extra.
    from shmq.commands.arrow_files import ArrowFile  # noqa: PLC0415

    try:
        file = ArrowFile(output, kind, None if columns is None else columns.split(","))
    except ValueError as error:
        raise ConfigError(f"--columns: {error}") from error
    batches = scan_store(store, asked, ["position"])
    begin, end = _extent(store, asked)
    with StageBar() as bar, file:
        for batch in batches:
            file.write(batch)
            bar("exporting", min(batch.end, end) - begin, end - begin)
    click.echo(f"exported {file.count} message{'' if file.count == 1 else 's'} to {output}", err=True)


def _extent(store: OpenedStore, asked: Asked) -> tuple[int, int]:
    """Between which positions it may read: an estimate, of how far it is."""
    starts = LogDirectory(store.paths.commitlog, store.sizes.commit_log_file_bytes).starts()
    if not starts:
        return 0, 0
    begin, end = asked.get("begin"), asked.get("end")
    last = starts[-1] + store.sizes.commit_log_file_bytes
    return max(begin or 0, starts[0]), last if end is None else min(end, last)
