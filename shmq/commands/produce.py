"""`shmq produce`: send lines of standard input, or one text, as messages.

Each line is sent when it is read, so a producer can be typed into. Empty lines are passed over: RocketMQ knows no
empty message.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import repeat

import click

from shmq.client.message import Message, SendResult, SendStatus
from shmq.client.producer import Producer
from shmq.client.sending import ProducerSettings
from shmq.commands.options import namesrv_option
from shmq.commands.reporting import reporting

_GROUP = "shmq-produce"


@click.command()
@click.argument("topic")
@namesrv_option
@click.option("--body", metavar="TEXT", help="Send this text instead of the lines of standard input.")
@click.option("-k", "--keys", metavar="KEYS", default="", help="Keys of each message, joined by blanks.")
@click.option("-t", "--tag", metavar="TAG", help="Tag of each message.")
@click.option(
    "-n",
    "--count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Send each this many times.",
)
@click.option("-v", "--verbose", is_flag=True, help="Tell of each message where it is stored, and its id.")
def produce(  # noqa: PLR0913  (click hands over each option)
    *, topic: str, namesrv: str, body: str | None, keys: str, tag: str | None, count: int, verbose: bool
) -> None:
    """Send messages to TOPIC: each line of standard input is one.

    \b
    Examples:
      shmq produce Greetings --body hello
      seq 1000 | shmq produce Numbers -t odd-and-even
    """  # noqa: D301  (click reads the escape: it keeps the lines as they are)
    bodies = _lines() if body is None else [body.encode()]
    messages = (
        Message(topic, each, tag=tag, keys=tuple(keys.split()))
        for each in bodies
        for _ in repeat(None, count)
    )
    with reporting(), Producer(namesrv, ProducerSettings(group=_GROUP)) as producer:
        _send_all(producer, topic, messages, verbose=verbose)


def _send_all(producer: Producer, topic: str, messages: Iterable[Message], *, verbose: bool) -> None:
    sent = 0
    try:
        for message in messages:
            result = producer.send(message)
            sent += 1
            if verbose or result.status is not SendStatus.SEND_OK:
                click.echo(_describe(result), err=True)
    except BaseException:
        if sent:
            _summarize(sent, topic)
        raise
    _summarize(sent, topic)


def _summarize(sent: int, topic: str) -> None:
    click.echo(f"sent {sent} message{'' if sent == 1 else 's'} to {topic}", err=True)


def _describe(result: SendResult) -> str:
    queue = result.queue
    return f"{result.status.value} {queue.broker_name}/{queue.queue_id}/{result.queue_offset} {result.message_id}"


def _lines() -> Iterator[bytes]:
    for line in sys.stdin.buffer:
        body = line.removesuffix(b"\n").removesuffix(b"\r")
        if body:
            yield body
