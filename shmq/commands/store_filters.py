"""The options by which commands on a store choose messages, and the scan that they mean."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from shmq.commands.store_options import OpenedStore
from shmq.errors import ConfigError
from shmq.store.record_batch import RecordBatch
from shmq.store.scanning import scan

_MICROSECONDS_OF_MS = 1000


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which messages are wanted; a pair is a begin, and an end that is not part of it. None leaves it open.

    Attributes:
        topic: of this topic.
        queue_id: in queues of this number.
        offsets: between these numbers in their queues.
        times_ms: stored between these times.
        positions: at these positions of the log.
        tags: with one of these tags; empty for any.
        key: with this key or unique id.
    """

    topic: str | None = None
    queue_id: int | None = None
    offsets: tuple[int | None, int | None] = (None, None)
    times_ms: tuple[int | None, int | None] = (None, None)
    positions: tuple[int | None, int | None] = (None, None)
    tags: tuple[str, ...] = ()
    key: str | None = None

    def scan(
        self, store: OpenedStore, columns: Sequence[str] | None = None, *, by_queue: bool = True
    ) -> Iterator[RecordBatch]:
        """Read them.

        Raises:
            ConfigError: what is asked for cannot be.
            StoreError: the store is damaged, or not what it must be.
        """
        try:
            return scan(
                store.paths,
                topic=self.topic,
                queue_id=self.queue_id,
                begin=self.positions[0],
                end=self.positions[1],
                begin_offset=self.offsets[0],
                end_offset=self.offsets[1],
                since_ms=self.times_ms[0],
                until_ms=self.times_ms[1],
                tag=self.tags,
                key=self.key,
                columns=columns,
                by_queue=by_queue,
                sizes=store.sizes,
            )
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
    """Give a command the options that choose messages, and hand it `Filters` as `filters`."""

    @click.option("--topic", metavar="NAME", help="Only messages of this topic.")
    @click.option("--queue", "queue_id", type=click.IntRange(min=0), help="Only of queues of this number.")
    @click.option("--from-offset", type=click.IntRange(min=0), help="From this offset in their queue on.")
    @click.option("--to-offset", type=click.IntRange(min=0), help="Below this offset in their queue.")
    @click.option(
        "--since",
        "since_ms",
        metavar="TIME",
        callback=read_time,
        help="Stored at this time or later: 2026-01-31T12:00:00Z, or ms.",
    )
    @click.option("--until", "until_ms", metavar="TIME", callback=read_time, help="Stored before this time.")
    @click.option("--from-position", type=click.IntRange(min=0), help="From this position in the log on.")
    @click.option("--to-position", type=click.IntRange(min=0), help="Below this position in the log.")
    @click.option("-t", "--tag", metavar="EXPRESSION", default="*", help="Only these tags: 'TagA || TagB'.")
    @click.option("--key", help="Only with this key, or this unique id.")
    @functools.wraps(command)
    def run(  # noqa: PLR0913 - click hands over each option
        *,
        topic: str | None,
        queue_id: int | None,
        from_offset: int | None,
        to_offset: int | None,
        since_ms: int | None,
        until_ms: int | None,
        from_position: int | None,
        to_position: int | None,
        tag: str,
        key: str | None,
        **others: Any,
    ) -> None:
        filters = Filters(
            topic=topic,
            queue_id=queue_id,
            offsets=(from_offset, to_offset),
            times_ms=(since_ms, until_ms),
            positions=(from_position, to_position),
            tags=_tags_of(tag),
            key=key,
        )
        command(filters=filters, **others)

    return run


def _tags_of(expression: str) -> tuple[str, ...]:
    """The tags that an expression names; none where it means all messages."""
    tags = tuple(tag for each in expression.split("||") if (tag := each.strip()))
    if not tags:
        raise click.UsageError(f"no tag is in the expression {expression!r}")
    return () if tags == ("*",) else tags
