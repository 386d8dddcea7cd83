"""A message as a line of output: its body alone, or a JSON object about all of it."""

import base64
from typing import Any

import click
import orjson

from shmq.client.message import Delivery


def body_line(delivery: Delivery) -> bytes:
    """The body and a line's end; a body that is still compressed is told on standard error."""
    if delivery.still_compressed is not None:
        click.echo(
            f"warning: {delivery.message_id} is compressed by {delivery.still_compressed}: not undone",
            err=True,
        )
    return delivery.body + b"\n"


def json_line(delivery: Delivery, **more: Any) -> bytes:
    """What a consumer knows of a message, and what else is known, as a JSON object; without a broker it names none."""
    queue, stored = delivery.queue, delivery.stored
    described = {
        "topic": delivery.topic,
        "broker": queue.broker_name,
        "queue": queue.queue_id,
        "offset": delivery.queue_offset,
        "id": delivery.message_id,
        "tag": delivery.tag,
        "keys": delivery.keys,
        "born_ms": stored.born_timestamp_ms,
        "stored_ms": stored.store_timestamp_ms,
        "properties": delivery.properties,
        **more,
    }
    if not queue.broker_name:
        del described["broker"]
    try:
        described["body"] = delivery.body.decode()
    except UnicodeDecodeError:
        described["body_base64"] = base64.b64encode(delivery.body).decode()
    if delivery.still_compressed is not None:
        described["still_compressed"] = delivery.still_compressed
    return orjson.dumps(described) + b"\n"
