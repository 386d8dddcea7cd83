"""What a producer is given, what it gives back, and what a consumer is given.

A body of COMPRESS_BYTES and more travels compressed by zlib, as RocketMQ's clients do it; consumers undo that. The
standard library undoes zlib alone: a body that another client compressed by LZ4 or Zstandard is handed on as it is,
and `still_compressed` says so.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from shmq.client.errors import MessageError
from shmq.wire.bodies import MessageQueue
from shmq.wire.flags import COMPRESSION_LZ4, COMPRESSION_ZLIB, COMPRESSION_ZSTD, compression_type
from shmq.wire.message import NAME_END, PROPERTY_END, ReceivedMessage

TAGS: Final = "TAGS"
KEYS: Final = "KEYS"
UNIQUE_KEY: Final = "UNIQ_KEY"
WAIT_STORED: Final = "WAIT"
DELAY_LEVEL: Final = "DELAY"

BODY_BYTES_MAX: Final = 4 << 20
COMPRESS_BYTES: Final = 4096
TOPIC_CHARACTERS_MAX: Final = 127

_ZLIB_LEVEL: Final = 5
_TOPIC: Final = re.compile(r"[%|a-zA-Z0-9_-]+")
_COMPRESSIONS: Final = {COMPRESSION_LZ4: "lz4", COMPRESSION_ZSTD: "zstd", COMPRESSION_ZLIB: "zlib"}


@dataclass(frozen=True, slots=True)
class Message:
    """A message to be sent.

    Attributes:
        topic: where to; made by the broker if it does not exist and topics may be made so.
        body: at least one byte, at most BODY_BYTES_MAX.
        tag: what consumers filter by.
        keys: what the message can be found by later; without blanks.
        properties: the application's own, handed on to consumers.
        flag: a number of the application's.
        delay_level: 1 to 18 hold it back, by the broker's table of delays; 0 does not.
    """

    topic: str
    body: bytes
    tag: str | None = None
    keys: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    flag: int = 0
    delay_level: int = 0


class SendStatus(Enum):
    """What is certain of a stored message. All but SEND_OK name what was waited for in vain."""

    SEND_OK = "SEND_OK"
    FLUSH_DISK_TIMEOUT = "FLUSH_DISK_TIMEOUT"
    FLUSH_SLAVE_TIMEOUT = "FLUSH_SLAVE_TIMEOUT"
    SLAVE_NOT_AVAILABLE = "SLAVE_NOT_AVAILABLE"


@dataclass(frozen=True, slots=True)
class SendResult:
    """Where a message is stored; of a batch, where its first one is.

    Attributes:
        status: what is certain of it.
        message_id: the id that the producer gave it; those of a batch are joined by commas.
        offset_message_id: the id that says where it is stored.
        queue: its queue.
        queue_offset: its number there.
        transaction_id: what the broker calls it in a transaction.
    """

    status: SendStatus
    message_id: str
    offset_message_id: str
    queue: MessageQueue
    queue_offset: int
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as a consumer gets it.

    Attributes:
        queue: where it was read.
        body: what the producer sent, decompressed.
        still_compressed: how the body is compressed where it could not be undone; None where it is plain.
        stored: the message as the store holds it.
    """

    queue: MessageQueue
    body: bytes
    still_compressed: str | None
    stored: ReceivedMessage

    @property
    def topic(self) -> str:
        """The topic it was sent to."""
        return self.stored.topic

    @property
    def queue_offset(self) -> int:
        """Its number in its queue."""
        return self.stored.queue_offset

    @property
    def properties(self) -> Mapping[str, str]:
        """All properties, those of producer and broker included."""
        return self.stored.properties

    @property
    def tag(self) -> str | None:
        """What consumers filter by."""
        return self.stored.properties.get(TAGS)

    @property
    def keys(self) -> tuple[str, ...]:
        """What it can be found by."""
        return tuple(self.stored.properties.get(KEYS, "").split())

    @property
    def message_id(self) -> str:
        """The id that its producer gave it, or else the one that says where it is stored."""
        return self.stored.properties.get(UNIQUE_KEY) or self.stored.offset_message_id


def check(message: Message) -> None:
    """Find out whether any broker would take a message.

    Raises:
        MessageError: none would.
    """
    check_topic(message.topic)
    if not message.body:
        raise MessageError("the body of the message is empty")
    if len(message.body) > BODY_BYTES_MAX:
        raise MessageError(f"the body of {len(message.body)} bytes is longer than {BODY_BYTES_MAX}")
    for name, value in properties_of(message, "").items():
        if any(mark in text for text in (name, value) for mark in (NAME_END, PROPERTY_END)):
            raise MessageError(f"the property {name!r} holds a character that separates properties")
    if any(not key or key.split() != [key] for key in message.keys):
        raise MessageError("a key is empty or holds a blank")


def check_topic(topic: str) -> None:
    """Find out whether a topic may be called so.

    Raises:
        MessageError: it may not.
    """
    if _TOPIC.fullmatch(topic) is None:
        raise MessageError(f"the topic {topic!r} holds other characters than letters, digits, % | _ and -")
    if len(topic) > TOPIC_CHARACTERS_MAX:
        raise MessageError(f"the topic {topic!r} is longer than {TOPIC_CHARACTERS_MAX} characters")


def properties_of(message: Message, message_id: str) -> dict[str, str]:
    """Return all properties that a message is sent with."""
    properties = dict(message.properties)
    if message.tag:
        properties[TAGS] = message.tag
    if message.keys:
        properties[KEYS] = " ".join(message.keys)
    if message.delay_level:
        properties[DELAY_LEVEL] = str(message.delay_level)
    properties.setdefault(WAIT_STORED, "true")
    properties[UNIQUE_KEY] = message_id
    return properties


def compress(body: bytes) -> bytes:
    """Return a body as zlib compresses it."""
    return zlib.compress(body, _ZLIB_LEVEL)


def deliver(queue: MessageQueue, stored: ReceivedMessage) -> Delivery:
    """Return a stored message as a consumer gets it."""
    compression = compression_type(stored.sys_flag)
    if not compression:
        return Delivery(queue, stored.body, None, stored)
    if compression == COMPRESSION_ZLIB:
        try:
            return Delivery(queue, zlib.decompress(stored.body), None, stored)
        except zlib.error:
            pass  # one broken body must not keep a consumer from all that follow: it is handed on as it is
    return Delivery(queue, stored.body, _COMPRESSIONS.get(compression, f"type {compression:#x}"), stored)
