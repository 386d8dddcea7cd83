"""The options by which commands on a store choose messages, and the scan that they mean."""

import functools
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import click

from shmq.commands.store_options import OpenedStore
from shmq.errors import ConfigError
from shmq.store.record_batch import RecordBatch
from shmq.store.record_question import Asked
from shmq.store.scanning import scan
from shmq.wire.heartbeat_bodies import SUBSCRIBE_ALL

_MICROSECONDS_OF_MS = 1000


def scan_store(
    store: OpenedStore, asked: Asked, columns: Sequence[str], *, by_queue: bool = True
) -> Iterator[RecordBatch]:
    """Read what is asked for.

    Raises:
        ConfigError: it cannot be.
        StoreError: the store is damaged, or not what it must be.
    """
    try:
        return scan(store.paths, columns=columns, by_queue=by_queue, sizes=store.sizes, **asked)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def read_time(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """A time in milliseconds: given as such since 1970, or as ISO 8601 has it, in local time where it names no zone."""
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    try:
        moment = datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is neither like 2026-01-31T12:00:00Z nor milliseconds") from error
    seconds = int(moment.replace(microsecond=0).timestamp())
    return 1000 * seconds + moment.microsecond // _MICROSECONDS_OF_MS


def with_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose messages, and hand it those that were given as `asked`."""

    @click.option("--topic", metavar="NAME", help="Only messages of this topic.")
    @click.option("--queue", "queue_id", type=click.IntRange(min=0), help="Only of queues of this number.")
    @click.option(
        "--from-offset",
        "begin_offset",
        type=click.IntRange(min=0),
        help="From this offset in their queue on.",
    )
    @click.option(
        "--to-offset", "end_offset", type=click.IntRange(min=0), help="Below this offset in their queue."
    )
    @click.option(
        "--since",
        "since_ms",
        metavar="TIME",
        callback=read_time,
        help="Stored at this time or later: 2026-01-31T12:00:00Z, or ms.",
    )
    @click.option("--until", "until_ms", metavar="TIME", callback=read_time, help="Stored before this time.")
    @click.option(
        "--from-position", "begin", type=click.IntRange(min=0), help="From this position in the log on."
    )
    @click.option("--to-position", "end", type=click.IntRange(min=0), help="Below this position in the log.")
    @click.option(
        "-t", "--tag", metavar="EXPRESSION", callback=read_tags, help="Only these tags: 'TagA || TagB'."
    )
    @click.option("--key", help="Only with this key, or this unique id.")
    @functools.wraps(command)
    def run(**options: Any) -> None:
        given = {name: options.pop(name) for name in Asked.__annotations__}
        command(asked={name: value for name, value in given.items() if value is not None}, **options)

    return run


def read_tags(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """The tags that an expression names; None where it means all messages."""
    if text is None or text == SUBSCRIBE_ALL:
        return None
    tags = tuple(tag for each in text.split("||") if (tag := each.strip()))
    if not tags:
        raise click.BadParameter(f"no tag is in the expression {text!r}")
    return tags
