"""`shmq consume`: print the messages of a topic.

With a group it goes on where the group was, and commits each batch after it was printed: what it was killed over is
printed again. Without a group it leaves no trace at the broker. With --follow it goes on until it is stopped, and
waits for a topic or a broker that is not there; without, it ends where the queues ended when it began.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Final

import click

from shmq.client.consumer import PullConsumer
from shmq.client.errors import ClientError, may_pass
from shmq.client.message import Delivery
from shmq.client.pulling import ConsumerSettings
from shmq.commands.message_lines import body_line, json_line
from shmq.commands.options import namesrv_option
from shmq.commands.reporting import reporting
from shmq.wire.consume_headers import PULL_COUNT_DEFAULT

_POLL_S: Final = 1.0


@click.command()
@click.argument("topic")
@namesrv_option
@click.option("--group", metavar="NAME", help="Consume in this group: go on where it was, and commit.")
@click.option(
    "--from-beginning", is_flag=True, help="Start at the first message where there is no committed offset."
)
@click.option("--follow", is_flag=True, help="Go on waiting for messages.")
@click.option("-t", "--tags", metavar="EXPRESSION", default="*", help="Only these tags: 'TagA || TagB'.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after this many messages.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["line", "json"]),
    default="line",
    show_default=True,
    help="Print the body alone, or all about a message.",
)
def consume(  # noqa: PLR0913  (click hands over each option)
    *,
    topic: str,
    namesrv: str,
    group: str | None,
    from_beginning: bool,
    follow: bool,
    tags: str,
    count: int | None,
    format_name: str,
) -> None:
    """Print the messages of TOPIC, one a line.

    \b
    Examples:
      shmq consume Greetings --from-beginning
      shmq consume Greetings --follow --group readers --format json
    """  # noqa: D301  (click reads the escape: it keeps the lines as they are)
    settings = ConsumerSettings(
        group=group,
        expression=tags,
        from_beginning=from_beginning,
        message_count_max=min(count or PULL_COUNT_DEFAULT, PULL_COUNT_DEFAULT),
    )
    with reporting(), PullConsumer(topic, namesrv, settings) as consumer:
        printing = _Printing(consumer, commits=group is not None, count=count, as_json=format_name == "json")
        try:
            if follow:
                _follow(consumer, printing)
            else:
                _read_to_end(consumer, printing, starts_at_end=group is None and not from_beginning)
        except KeyboardInterrupt:
            pass  # the usual end of a reading that follows


class _Printing:
    """Prints messages, and commits what was printed, until there were enough."""

    def __init__(self, consumer: PullConsumer, *, commits: bool, count: int | None, as_json: bool) -> None:
        self._consumer = consumer
        self._commits = commits
        self._left = count
        self._format: Callable[[Delivery], bytes] = json_line if as_json else body_line
        self._out = sys.stdout.buffer

    @property
    def has_enough(self) -> bool:
        return self._left == 0

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Print what is still wanted, then commit: queues without a message too, so the group has a place there."""
        printed = deliveries[: self._left]
        for delivery in printed:
            self._out.write(self._format(delivery))
            self._out.flush()
        if self._left is not None:
            self._left -= len(printed)
        if self._commits:
            reached = self._consumer.positions
            for unprinted in reversed(deliveries[len(printed) :]):
                reached[unprinted.queue] = unprinted.queue_offset
            self._consumer.commit(reached)


def _read_to_end(consumer: PullConsumer, printing: _Printing, *, starts_at_end: bool) -> None:
    consumer.stop_at(consumer.ends())
    if starts_at_end:
        click.echo("nothing to read: this starts at the end; see --from-beginning and --follow", err=True)
    printing.take([])
    while not printing.has_enough and not consumer.is_at_end:
        printing.take(consumer.poll(_POLL_S))


def _follow(consumer: PullConsumer, printing: _Printing) -> None:
    told = ""
    while not printing.has_enough:
        try:
            printing.take(consumer.poll(_POLL_S))
            told = ""
        except ClientError as error:
            if not may_pass(error):
                raise
            if str(error) != told:
                told = str(error)
                click.echo(f"waiting: {error}", err=True)
