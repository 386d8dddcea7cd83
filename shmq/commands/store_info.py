"""`shmq store info`: what a store holds."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

import click
import orjson

from shmq.commands.stage_bar import StageBar
from shmq.commands.store_options import OpenedStore, with_store
from shmq.inspect.summary import StoreSummary, summarize_store

_TOP_DEFAULT: Final = 20
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")
_UNIT: Final = 1024


@click.command()
@with_store
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=_TOP_DEFAULT,
    show_default=True,
    help="So many topics, those with most messages first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as a JSON object.")
def info(*, store: OpenedStore, top: int, as_json: bool) -> None:
    """Show what a store holds: log, queues, key index, checkpoints, documents.

    Little is read and nothing is checked: the end of the log is that of the last whole record in its newest file,
    checksums aside. Times are local. Of a store that is in use the numbers are those of a moment.

    \b
    Examples:
      shmq store info --store-root /var/lib/shmq/store
      shmq store info -c broker.conf --json
    """  # noqa: D301  (click reads the escape: it keeps the lines as they are)
    with StageBar() as bar:
        summary = summarize_store(store.paths, store.sizes, bar)
    if as_json:
        click.echo(orjson.dumps(_as_json(store, summary, top), option=orjson.OPT_INDENT_2))
        return
    width = max(len(name) for name, _ in _rows(store, summary))
    for name, text in _rows(store, summary):
        click.echo(f"{name:<{width}}  {text}")
    _print_topics(summary, top)
    for problem in summary.problems:
        click.echo(f"warning: {problem}", err=True)


def _as_json(store: OpenedStore, summary: StoreSummary, top: int) -> dict[str, Any]:
    mark = summary.index.mark
    return {
        "root": str(store.paths.root),
        "in_use_by": store.holder or None,
        "sizes": {
            "commit_log_file_bytes": store.sizes.commit_log_file_bytes,
            "consume_queue_file_bytes": store.sizes.consume_queue_file_bytes,
            "key_index_slots": store.sizes.key_index.slots,
            "key_index_entries": store.sizes.key_index.entries,
        },
        **asdict(summary),
        "topic_count": len(summary.topics),
        "queue_count": sum(topic.queues for topic in summary.topics),
        "message_count": sum(topic.messages for topic in summary.topics),
        "topics": [asdict(topic) for topic in summary.topics[:top]],
        "index": {**asdict(summary.index), "mark": mark._asdict() if mark is not None else None},
    }


def _rows(store: OpenedStore, summary: StoreSummary) -> Iterator[tuple[str, str]]:
    log, index, checkpoint = summary.log, summary.index, summary.checkpoint
    yield "store", str(store.paths.root)
    yield "state", _state(store, summary)
    yield "log", f"{log.begin} to {log.end}, {_bytes(log.end - log.begin)} of records"
    yield (
        "",
        f"{_plural(log.files, 'file')} of {_bytes(store.sizes.commit_log_file_bytes)}, {_bytes(log.disk_bytes)} on disk",
    )
    yield "", f"stored from {_time(log.first_ms)} to {_time(log.last_ms)}"
    queues = sum(topic.queues for topic in summary.topics)
    messages = sum(topic.messages for topic in summary.topics)
    yield (
        "queues",
        f"{_plural(len(summary.topics), 'topic')}, {_plural(queues, 'queue')}, {_plural(messages, 'message')}",
    )
    yield (
        "key index",
        f"{_plural(index.files, 'file')}, {_plural(index.entries, 'entry')}, {_bytes(index.disk_bytes)} on disk",
    )
    yield "", f"of records stored from {_time(index.begin_ms)} to {_time(index.end_ms)}"
    yield (
        "",
        "no index.checkpoint" if index.mark is None else f"on disk for the log below {index.mark.indexed}",
    )
    yield (
        "checkpoint",
        f"log {_time(checkpoint.log_timestamp_ms)}, queues {_time(checkpoint.queues_timestamp_ms)}",
    )
    yield "", f"key index {_time(checkpoint.index_timestamp_ms)}, confirmed {checkpoint.confirmed_position}"
    yield "documents", ", ".join(summary.documents) or "none"
    yield "quarantine", _list(summary.quarantine)
    yield "disk free", _bytes(summary.free_bytes)


def _state(store: OpenedStore, summary: StoreSummary) -> str:
    if store.is_in_use:
        return f"in use by {store.holder}"
    return "closed" if summary.is_clean else "not closed (abort is there): the next start recovers it"


def _print_topics(summary: StoreSummary, top: int) -> None:
    shown = summary.topics[:top]
    if not shown:
        return
    width = max(len("topic"), *(len(topic.topic) for topic in shown))
    click.echo(
        f"\n{'topic':<{width}}  {'queues':>8}  {'messages':>14}  {'min offset':>14}  {'max offset':>14}"
    )
    for topic in shown:
        numbers = f"{topic.queues:>8}  {topic.messages:>14}  {topic.min_offset:>14}  {topic.max_offset:>14}"
        click.echo(f"{topic.topic:<{width}}  {numbers}")
    if len(summary.topics) > len(shown):
        click.echo(f"and {_plural(len(summary.topics) - len(shown), 'topic')} more; see --top")


def _list(sizes: dict[str, int]) -> str:
    return ", ".join(f"{name} ({_bytes(size)})" for name, size in sizes.items()) or "empty"


def _plural(count: int, name: str) -> str:
    if count == 1:
        return f"1 {name}"
    return f"{count} {name[:-1]}ies" if name.endswith("y") else f"{count} {name}s"


def _bytes(count: int) -> str:
    if count < _UNIT:
        return f"{count} bytes"
    value = float(count)
    for unit in _UNITS:
        value /= _UNIT
        if value < _UNIT or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}"


def _time(time_ms: int) -> str:
    if time_ms <= 0:
        return "never"
    try:
        return datetime.fromtimestamp(time_ms / 1000).astimezone().isoformat(" ", "milliseconds")
    except (OverflowError, OSError, ValueError):
        return f"{time_ms} ms"
