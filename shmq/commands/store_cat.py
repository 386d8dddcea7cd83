"""`shmq store cat`: print messages of a store; no broker needs to run, and one may."""

import sys
from collections.abc import Iterable, Iterator
from typing import Final

import click

from shmq.client.message import deliver
from shmq.commands.message_lines import body_line, json_line
from shmq.commands.store_filters import scan_store, with_filters
from shmq.commands.store_options import OpenedStore, with_store
from shmq.errors import ConfigError, RequestError, StoreError
from shmq.store.key_files import list_key_files
from shmq.store.key_query import KeyIndexReader, KeyQuery
from shmq.store.log import LogDirectory, LogReader
from shmq.store.record import PHYSICAL_OFFSET
from shmq.store.record_question import Asked
from shmq.wire.bodies import MessageQueue
from shmq.wire.message import ReceivedMessage, decode_messages, parse_offset_message_id

_NO_LIMIT: Final = 1 << 62


@click.command()
@with_store
@with_filters
@click.option(
    "--offset", "position", type=click.IntRange(min=0), help="The message at this position of the log."
)
@click.option("--id", "message_id", metavar="ID", help="The message that has this id.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="Stop after this many messages.")
@click.option("--raw", is_flag=True, help="Print the bodies alone, one a line.")
def cat(
    *,
    store: OpenedStore,
    asked: Asked,
    position: int | None,
    message_id: str | None,
    count: int | None,
    raw: bool,
) -> None:
    """Print messages as JSON, one a line, in the order of the log, or of the queue that --topic and --queue name.

    Compressed bodies are undone where they are zlib's. A body that is no UTF-8 is printed as body_base64. Nothing is
    changed. With --key and --topic the key index finds the messages, if there is one: it follows the log by some
    milliseconds, and knows no message that was rolled back.

    \b
    Exit code: 0 also where nothing was found, 1 the store is damaged, or --offset or --id name no message,
    2 wrong usage.

    \b
    Examples:
      shmq store cat --topic Orders --queue 0 --from-offset 100 -n 10
      shmq store cat --since 2026-01-31T12:00:00Z -t 'TagA || TagB'
      shmq store cat --topic Orders --key order-4711 --raw
      shmq store cat --id 7F00000100002A9F0000000000001234
    """  # noqa: D301  (click reads the escape: it keeps the lines as they are)
    if position is not None or message_id is not None:
        if asked or None not in {position, message_id}:
            raise ConfigError("--offset and --id name one message: no other choice goes with them")
        found = [_at(store, position) if position is not None else _called(store, message_id or "")]
        messages: Iterable[ReceivedMessage] = found
    else:
        messages = _chosen(store, asked)
    left = count if count is not None else -1
    for message in messages:
        delivery = deliver(MessageQueue(message.topic, "", message.queue_id), message)
        sys.stdout.buffer.write(body_line(delivery) if raw else json_line(delivery, **_details(message)))
        left -= 1
        if left == 0:
            break
    sys.stdout.buffer.flush()


def _details(message: ReceivedMessage) -> dict[str, object]:
    """What the log knows of a message beyond what a consumer's line has."""
    return {
        "position": message.position,
        "record_bytes": message.size_bytes,
        "offset_id": message.offset_message_id,
        "born_host": str(message.born_host),
        "store_host": str(message.store_host),
        "flag": message.flag,
        "sys_flag": message.sys_flag,
        "reconsume_times": message.reconsume_times,
        "prepared_position": message.prepared_transaction_offset,
    }


def _at(store: OpenedStore, position: int) -> ReceivedMessage:
    """The message at a position.

    Raises:
        StoreError: none begins there.
    """
    for message in _messages(store, _only(position)):
        return message
    raise StoreError(f"no message begins at position {position} of the log")


def _called(store: OpenedStore, message_id: str) -> ReceivedMessage:
    """The message that has an id: the one that says where it lies, or the one that its producer gave it.

    Raises:
        StoreError: none has.
    """
    for message in _messages_at(store, message_id):
        if message.offset_message_id == message_id.upper():
            return message
    for message in _messages(store, {"key": message_id}):
        if message.properties.get("UNIQ_KEY") == message_id:
            return message
    raise StoreError(f"no message has the id {message_id}")


def _messages_at(store: OpenedStore, message_id: str) -> Iterator[ReceivedMessage]:
    """The message at the position that an id may name."""
    try:
        _, position = parse_offset_message_id(message_id)
    except RequestError:
        return
    if position >= 0:
        yield from _messages(store, _only(position))


def _only(position: int) -> Asked:
    return {"begin": position, "end": position + 1}


def _chosen(store: OpenedStore, asked: Asked) -> Iterator[ReceivedMessage]:
    """The messages that are wanted, by the key index if it can find them."""
    topic, key = asked.get("topic"), asked.get("key")
    if topic is None or key is None or not list_key_files(store.paths.index):
        yield from _messages(store, asked)
        return
    begin, end = asked.get("begin") or 0, asked.get("end")
    for position in _indexed(store, topic, key):
        if position >= begin and (end is None or position < end):
            yield from _messages(store, {**asked, **_only(position)}, by_queue=False)


def _indexed(store: OpenedStore, topic: str, key: str) -> list[int]:
    """Where the messages lie that the key index has for a key, in rising order."""
    log_bytes = store.sizes.commit_log_file_bytes
    starts = LogDirectory(store.paths.commitlog, log_bytes).starts()
    if not starts:
        return []
    log = LogReader(store.paths.commitlog, log_bytes)
    reader = KeyIndexReader(store.paths.index, store.sizes.key_index, log)
    query = KeyQuery(topic, key, count_max=_NO_LIMIT, bytes_max=_NO_LIMIT, begin_ms=0, end_ms=_NO_LIMIT)
    answer = reader.find(query, starts[0], starts[-1] + log_bytes)
    positions = [
        int.from_bytes(message[PHYSICAL_OFFSET : PHYSICAL_OFFSET + 8], "big") for message in answer.messages
    ]
    reader.close()
    log.close()
    return positions


def _messages(store: OpenedStore, asked: Asked, *, by_queue: bool = True) -> Iterator[ReceivedMessage]:
    for batch in scan_store(store, asked, ["position"], by_queue=by_queue):
        for index in range(len(batch)):
            yield from decode_messages(batch.record(index))
