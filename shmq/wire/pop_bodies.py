"""The body of a batch of acknowledgements.

Names are one letter each on the wire, and long in older clients. Which messages are meant is a set of bits,
base64: bit i of the little-endian bytes is the message i after the start offset.
"""

import base64
import binascii
from dataclasses import dataclass

from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.codes import ResponseCode
from shmq.wire.members import Object, integer_of, objects_of, read_object, text_of


@dataclass(frozen=True, slots=True)
class BatchAck:
    """The messages of one queue, popped together, that are acknowledged.

    retry says from which form of the topic they came: 0 the topic itself, 1 and 2 its retry topics.
    """

    consumer_group: str
    topic: str
    retry: str
    queue_id: int
    revive_queue_id: int
    start_offset: int
    pop_time_ms: int
    invisible_ms: int
    offsets: tuple[int, ...]

    @classmethod
    def from_json(cls, source: Object) -> "BatchAck":
        """Return the acknowledgement that a JSON object is."""
        start_offset = integer_of(source, "so", integer_of(source, "startOffset"))
        bits = text_of(source, "b", text_of(source, "bitSet"))
        return cls(
            consumer_group=text_of(source, "c", text_of(source, "consumerGroup")),
            topic=text_of(source, "t", text_of(source, "topic")),
            retry=text_of(source, "r", text_of(source, "retry", "0")),
            queue_id=integer_of(source, "q", integer_of(source, "queueId")),
            revive_queue_id=integer_of(source, "rq", integer_of(source, "reviveQueueId")),
            start_offset=start_offset,
            pop_time_ms=integer_of(source, "pt", integer_of(source, "popTime")),
            invisible_ms=integer_of(source, "it", integer_of(source, "invisibleTime")),
            offsets=tuple(start_offset + index for index in _indexes(bits)),
        )

    def to_json(self) -> Object:
        """Return the acknowledgement as a JSON object."""
        bits = 0
        for offset in self.offsets:
            bits |= 1 << (offset - self.start_offset)
        packed = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
        return {
            "b": base64.b64encode(packed).decode(),
            "c": self.consumer_group,
            "it": self.invisible_ms,
            "pt": self.pop_time_ms,
            "q": self.queue_id,
            "r": self.retry,
            "rq": self.revive_queue_id,
            "so": self.start_offset,
            "t": self.topic,
        }


@dataclass(frozen=True, slots=True)
class BatchAckBody:
    """Body of 200151."""

    broker_name: str
    acks: tuple[BatchAck, ...]

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "BatchAckBody":
        """Return the acknowledgements that a body holds."""
        source = read_object(body)
        acks = tuple(BatchAck.from_json(item) for item in objects_of(source, "acks"))
        return cls(text_of(source, "brokerName"), acks)

    def to_bytes(self) -> bytes:
        """Return the acknowledgements as a body."""
        return fastjson.dumps({"acks": [ack.to_json() for ack in self.acks], "brokerName": self.broker_name})


def _indexes(bits: str) -> list[int]:
    """Return which bits are set."""
    try:
        packed = base64.b64decode(bits, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            ResponseCode.INVALID_PARAMETER, "the bit set of an acknowledgement is not base64"
        ) from error
    return [at * 8 + bit for at, byte in enumerate(packed) for bit in range(8) if byte >> bit & 1]
