"""How far queues reach and how far groups have come: tables whose keys are queues."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shmq.wire import fastjson
from shmq.wire.bodies import MessageQueue
from shmq.wire.heartbeat_bodies import SubscriptionData
from shmq.wire.members import (
    Object,
    array_of,
    as_object,
    decimal_of,
    integer_of,
    object_of,
    read_object,
    text_of,
)


class TopicOffset(NamedTuple):
    """What one queue holds."""

    min_offset: int
    max_offset: int
    last_update_timestamp_ms: int


class OffsetWrapper(NamedTuple):
    """How far a group has come in one queue."""

    broker_offset: int
    consumer_offset: int
    pull_offset: int
    last_timestamp_ms: int


@dataclass(frozen=True, slots=True)
class TopicStatsTable:
    """Answer to 202."""

    offsets: Mapping[MessageQueue, TopicOffset] = field(default_factory=dict)
    put_tps: float = 0.0

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "TopicStatsTable":
        """Return the table that a body is."""
        source = read_object(body)
        offsets = {
            queue: TopicOffset(
                integer_of(row, "minOffset"),
                integer_of(row, "maxOffset"),
                integer_of(row, "lastUpdateTimestamp"),
            )
            for queue, row in _rows(source)
        }
        return cls(offsets, decimal_of(source, "topicPutTps"))

    def to_bytes(self) -> bytes:
        """Return the table as a body."""
        rows = (
            (
                queue.to_json(),
                {
                    "lastUpdateTimestamp": row.last_update_timestamp_ms,
                    "maxOffset": row.max_offset,
                    "minOffset": row.min_offset,
                },
            )
            for queue, row in self.offsets.items()
        )
        return fastjson.dumps({"offsetTable": fastjson.object_keyed(rows), "topicPutTps": self.put_tps})


@dataclass(frozen=True, slots=True)
class ConsumeStats:
    """Answer to 208."""

    offsets: Mapping[MessageQueue, OffsetWrapper] = field(default_factory=dict)
    consume_tps: float = 0.0

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "ConsumeStats":
        """Return the table that a body is."""
        source = read_object(body)
        offsets = {
            queue: OffsetWrapper(
                integer_of(row, "brokerOffset"),
                integer_of(row, "consumerOffset"),
                integer_of(row, "pullOffset"),
                integer_of(row, "lastTimestamp"),
            )
            for queue, row in _rows(source)
        }
        return cls(offsets, decimal_of(source, "consumeTps"))

    def to_json(self) -> Object:
        """Return the table as a JSON object."""
        rows = (
            (
                queue.to_json(),
                {
                    "brokerOffset": row.broker_offset,
                    "consumerOffset": row.consumer_offset,
                    "lastTimestamp": row.last_timestamp_ms,
                    "pullOffset": row.pull_offset,
                },
            )
            for queue, row in self.offsets.items()
        )
        return {"consumeTps": self.consume_tps, "offsetTable": fastjson.object_keyed(rows)}

    def to_bytes(self) -> bytes:
        """Return the table as a body."""
        return fastjson.dumps(self.to_json())


@dataclass(frozen=True, slots=True)
class QueueOffsets:
    """Answer to 222, body of 220 (offsetTable), answer to 221 (messageQueueTable): an offset for each queue."""

    offsets: Mapping[MessageQueue, int] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, body: bytes | memoryview, member: str = "offsetTable") -> "QueueOffsets":
        """Return the offsets in a member of a body."""
        source = object_of(read_object(body), member)
        return cls({_queue(key): integer_of(source, key) for key in source})

    def to_bytes(self, member: str = "offsetTable") -> bytes:
        """Return the offsets as a body's only member."""
        rows = ((queue.to_json(), offset) for queue, offset in self.offsets.items())
        return fastjson.dumps({member: fastjson.object_keyed(rows)})


def _rows(source: Object) -> list[tuple[MessageQueue, Any]]:
    rows = object_of(source, "offsetTable").items()
    return [(_queue(key), as_object(row, "offsetTable")) for key, row in rows]


def _queue(key: str) -> MessageQueue:
    """Return the queue that a key names; the tolerant reader gives object keys as their JSON."""
    return MessageQueue.from_json(read_object(key.encode()))


class ConsumeQueueEntry(NamedTuple):
    """One entry of a queue.

    Attributes:
        position: of its record.
        record_size: of that.
        tag_hash: the hash of its tag, or the time of delivery; the entry's address where it has an extension that cannot
            be read.
        message: what is wrong with it.
        extension: what its extension says, as JSON.
        bit_map: the bits of that, the last one first.
        is_wanted: whether the group that was asked about may want it, by its bit map or its tag.
    """

    position: int
    record_size: int
    tag_hash: int
    message: str | None = None
    extension: str | None = None
    bit_map: str | None = None
    is_wanted: bool = False


@dataclass(frozen=True, slots=True)
class ConsumeQueueBody:
    """Answer to 321. What a group's filter makes of an entry (`eval`) is said only of those with an extension."""

    min_offset: int
    max_offset: int
    entries: Sequence[ConsumeQueueEntry] | None = None
    subscription: SubscriptionData | None = None
    filter_data: str | None = None

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "ConsumeQueueBody":
        """Return the answer that a body is."""
        source = read_object(body)
        rows = [as_object(row, "queueData") for row in array_of(source, "queueData")]
        entries = [
            ConsumeQueueEntry(
                integer_of(row, "physicOffset"),
                integer_of(row, "physicSize"),
                integer_of(row, "tagsCode"),
                text_of(row, "msg", "") or None,
                text_of(row, "extendDataJson", "") or None,
                text_of(row, "bitMap", "") or None,
                row.get("eval") is True,
            )
            for row in rows
        ]
        return cls(
            integer_of(source, "minQueueIndex"),
            integer_of(source, "maxQueueIndex"),
            entries if "queueData" in source else None,
            SubscriptionData.from_json(object_of(source, "subscriptionData"))
            if "subscriptionData" in source
            else None,
            text_of(source, "filterData", "") or None,
        )

    def to_bytes(self) -> bytes:
        """Return the answer as a body."""
        body: Object = {"maxQueueIndex": self.max_offset, "minQueueIndex": self.min_offset}
        if self.entries is not None:
            body["queueData"] = [_entry_to_json(entry) for entry in self.entries]
        if self.subscription is not None:
            body["subscriptionData"] = self.subscription.to_json()
        if self.filter_data is not None:
            body["filterData"] = self.filter_data
        return fastjson.dumps(body)


def _entry_to_json(entry: ConsumeQueueEntry) -> Object:
    row: Object = {
        "eval": entry.is_wanted,
        "physicOffset": entry.position,
        "physicSize": entry.record_size,
        "tagsCode": entry.tag_hash,
    }
    texts = {"msg": entry.message, "extendDataJson": entry.extension, "bitMap": entry.bit_map}
    return {**row, **{name: text for name, text in texts.items() if text is not None}}
