"""`shmq store verify`: check a store, and report each inconsistency with its place."""

from collections import Counter
from typing import Final

import click
import orjson

from shmq.commands.reporting import EXIT_FAILED
from shmq.commands.stage_bar import StageBar
from shmq.commands.store_options import OpenedStore, with_store
from shmq.errors import ConfigError
from shmq.inspect.finding import Finding
from shmq.inspect.verify import verify_store

_PENDING: Final = "pending"


@click.command()
@with_store
@click.option("--in-use", "looks_anyway", is_flag=True, help="Look even while a broker has the store open.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
def verify(*, store: OpenedStore, looks_anyway: bool, as_json: bool) -> None:
    """Check log, queues, key index, checkpoint and documents against each other.

    Prints a line for each inconsistency: what kind it is, file and offset, what is there and what should be. Nothing
    is changed.

    \b
    After an end that was not clean (`abort` is there), what the next start of a broker is certain to mend is marked
    "pending" and is no inconsistency:
      - a last record that is not whole, with none behind it, and bytes behind the log's end;
      - missing, wrong and surplus queue entries of records in the part of the log that recovery walks: from the
        last file on whose first record is older than the checkpoint;
      - what is behind that part of the key index for which index.checkpoint vouches; a checkpoint from the future.
    Whatever the end was, records that are yet to be put into the key index are pending.
    What recovery would lose is an inconsistency: whole records behind one that is not, for instance.

    \b
    Exit code: 0 all agrees, 1 there are inconsistencies or a file cannot be read, 2 wrong usage or the store is in use.

    \b
    Examples:
      shmq store verify --store-root /var/lib/shmq/store
      shmq store verify -c broker.conf --json
    """  # noqa: D301  (click reads the escape: it keeps the lines as they are)
    if store.is_in_use:
        if not looks_anyway:
            raise ConfigError(
                f"the store {store.paths.root} is in use by {store.holder}; --in-use looks anyway, "
                "and may then report what just moves"
            )
        click.echo(f"note: in use by {store.holder}; what just moves may be reported", err=True)
    counts: Counter[str] = Counter()
    with StageBar() as bar:
        findings = verify_store(store.paths, store.sizes, delay_levels_ms=store.delay_levels_ms, progress=bar)
        for finding in findings:
            counts[_PENDING if finding.is_pending else finding.kind.value] += 1
            bar.clear()
            click.echo(_json(finding) if as_json else _line(finding, store))
    pending = counts.pop(_PENDING, 0)
    inconsistencies = counts.total()
    click.echo(_json_summary(inconsistencies, pending) if as_json else _summary(counts, pending))
    if inconsistencies:
        raise click.exceptions.Exit(EXIT_FAILED)


def _line(finding: Finding, store: OpenedStore) -> str:
    root = f"{store.paths.root}/"
    place = f"{finding.path.removeprefix(root)}:{finding.offset}"
    about = f" (record {finding.position})" if finding.position >= 0 else ""
    mark = f"{_PENDING} " if finding.is_pending else ""
    return f"{mark}{finding.kind.value} {place}{about}: {finding.text}"


def _json(finding: Finding) -> bytes:
    return orjson.dumps(
        {
            "kind": finding.kind.value,
            "path": finding.path,
            "offset": finding.offset,
            "position": finding.position if finding.position >= 0 else None,
            "pending": finding.is_pending,
            "text": finding.text,
        }
    )


def _summary(counts: Counter[str], pending: int) -> str:
    total = counts.total()
    text = "no inconsistency"
    if total:
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        text = f"{total} inconsistenc{'y' if total == 1 else 'ies'}: {kinds}"
    return f"{text}; {pending} pending" if pending else text


def _json_summary(inconsistencies: int, pending: int) -> bytes:
    return orjson.dumps({"inconsistencies": inconsistencies, _PENDING: pending})
