"""The small JSON bodies: queues, versions, locks, lists and tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shmq.wire import fastjson
from shmq.wire.members import (
    Object,
    boolean_of,
    integer_of,
    object_of,
    objects_of,
    read_object,
    text_map_of,
    text_of,
    texts_of,
)


class MessageQueue(NamedTuple):
    """One queue of a topic on one broker."""

    topic: str
    broker_name: str
    queue_id: int

    @classmethod
    def from_json(cls, source: Object) -> "MessageQueue":
        """Return the queue that a JSON object names."""
        return cls(text_of(source, "topic"), text_of(source, "brokerName"), integer_of(source, "queueId"))

    def to_json(self) -> Object:
        """Return the queue as a JSON object."""
        return {"brokerName": self.broker_name, "queueId": self.queue_id, "topic": self.topic}


@dataclass(frozen=True, slots=True)
class DataVersion:
    """Which state of a table this is: compared by state, then counter, then time."""

    counter: int = 0
    state_version: int = 0
    timestamp_ms: int = 0

    @classmethod
    def from_json(cls, source: Object) -> "DataVersion":
        """Return the version that a JSON object names."""
        return cls(
            integer_of(source, "counter"), integer_of(source, "stateVersion"), integer_of(source, "timestamp")
        )

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "DataVersion":
        """Return the version that a body names."""
        return cls.from_json(read_object(body))

    def to_json(self) -> Object:
        """Return the version as a JSON object."""
        return {"counter": self.counter, "stateVersion": self.state_version, "timestamp": self.timestamp_ms}

    def to_bytes(self) -> bytes:
        """Return the version as a body."""
        return fastjson.dumps(self.to_json())

    def next(self, now_ms: int) -> "DataVersion":
        """Return the version after one more change."""
        return DataVersion(self.counter + 1, self.state_version, now_ms)


@dataclass(frozen=True, slots=True)
class LockBatchRequest:
    """Body of 41 and 42: the queues that a client wants to hold alone, or to give up."""

    consumer_group: str
    client_id: str
    queues: tuple[MessageQueue, ...]
    only_this_broker: bool = False

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "LockBatchRequest":
        """Return the request that a body is."""
        source = read_object(body)
        return cls(
            consumer_group=text_of(source, "consumerGroup"),
            client_id=text_of(source, "clientId"),
            queues=_queues_of(source, "mqSet"),
            only_this_broker=boolean_of(source, "onlyThisBroker"),
        )

    def to_bytes(self) -> bytes:
        """Return the request as a body."""
        return fastjson.dumps(
            {
                "clientId": self.client_id,
                "consumerGroup": self.consumer_group,
                "mqSet": [queue.to_json() for queue in self.queues],
                "onlyThisBroker": self.only_this_broker,
            }
        )


@dataclass(frozen=True, slots=True)
class LockBatchResponse:
    """Answer to 41: the queues that the client holds now."""

    queues: tuple[MessageQueue, ...]

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "LockBatchResponse":
        """Return the answer that a body is."""
        return cls(_queues_of(read_object(body), "lockOKMQSet"))

    def to_bytes(self) -> bytes:
        """Return the answer as a body."""
        return fastjson.dumps({"lockOKMQSet": [queue.to_json() for queue in self.queues]})


@dataclass(frozen=True, slots=True)
class ConsumerList:
    """Answer to 38: the clients of a group."""

    client_ids: tuple[str, ...]

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "ConsumerList":
        """Return the list that a body is."""
        return cls(texts_of(read_object(body), "consumerIdList"))

    def to_bytes(self) -> bytes:
        """Return the list as a body."""
        return fastjson.dumps({"consumerIdList": self.client_ids})


@dataclass(frozen=True, slots=True)
class TopicList:
    """Answer to 206, 224, 304, 305, 311..313 and 343: names, and for some a broker to ask on."""

    topics: tuple[str, ...]
    broker_address: str | None = None

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "TopicList":
        """Return the list that a body is."""
        source = read_object(body)
        return cls(texts_of(source, "topicList"), text_of(source, "brokerAddr") or None)

    def to_bytes(self) -> bytes:
        """Return the list as a body."""
        written: dict[str, Any] = {"topicList": self.topics}
        if self.broker_address is not None:
            written["brokerAddr"] = self.broker_address
        return fastjson.dumps(written)


@dataclass(frozen=True, slots=True)
class KVTable:
    """Answer to 28, 103 and 219: names and values."""

    table: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "KVTable":
        """Return the table that a body is."""
        return cls(text_map_of(read_object(body), "table"))

    def to_bytes(self) -> bytes:
        """Return the table as a body."""
        return fastjson.dumps({"table": dict(self.table)})


def data_version_of(source: Object, name: str) -> DataVersion:
    """Return a member that is a version."""
    return DataVersion.from_json(object_of(source, name))


def _queues_of(source: Object, name: str) -> tuple[MessageQueue, ...]:
    return tuple(MessageQueue.from_json(item) for item in objects_of(source, name))
