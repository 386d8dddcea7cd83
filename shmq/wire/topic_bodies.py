"""Tables of topics and subscription groups, and what a broker registers with a name server.

A registration comes as JSON, or deflated in a form of its own (big-endian, one zlib stream):

    int32 length, DataVersion JSON
    int32 topics, and for each: int32 length, `name readQueues writeQueues perm filterType {attributes JSON}`
    int32 length, filter servers as a JSON array
    int32 mappings, and for each: int32 length, TopicQueueMappingInfo JSON     (brokers before 5.0 stop above)

The deflated form loses a topic's order and sysFlag.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.bodies import DataVersion, data_version_of
from shmq.wire.codes import ResponseCode
from shmq.wire.fields import parse_int32
from shmq.wire.flags import PERM_READ, PERM_WRITE
from shmq.wire.members import (
    Object,
    array_of,
    as_object,
    as_text,
    boolean_of,
    integer_of,
    object_of,
    objects_of,
    raw_object_of,
    read_object,
    text_map_of,
    text_of,
    texts_of,
)

SINGLE_TAG: Final = "SINGLE_TAG"
INFLATED_BYTES_MAX: Final = 64 << 20  # far more than any table of topics; what a small body may grow to

_INT32: Final = struct.Struct(">i")


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """One topic of a broker."""

    topic: str
    read_queue_count: int = 16
    write_queue_count: int = 16
    permission: int = PERM_READ | PERM_WRITE
    topic_filter_type: str = SINGLE_TAG
    topic_sys_flag: int = 0
    order: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, source: Object) -> "TopicConfig":
        """Return the topic that a JSON object is."""
        return cls(
            topic=text_of(source, "topicName"),
            read_queue_count=integer_of(source, "readQueueNums", 16),
            write_queue_count=integer_of(source, "writeQueueNums", 16),
            permission=integer_of(source, "perm", PERM_READ | PERM_WRITE),
            topic_filter_type=text_of(source, "topicFilterType", SINGLE_TAG),
            topic_sys_flag=integer_of(source, "topicSysFlag"),
            order=boolean_of(source, "order"),
            attributes=text_map_of(source, "attributes"),
        )

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "TopicConfig":
        """Return the topic that a body is."""
        return cls.from_json(read_object(body))

    @classmethod
    def from_text(cls, text: str) -> "TopicConfig":
        """Return the topic that a line of a deflated registration is."""
        try:
            name, reads, writes, permission, filter_type, *attributes = text.split(" ", 5)
            counts = [parse_int32(number) for number in (reads, writes, permission)]
        except ValueError as error:
            remark = f"this is not a topic: {text[:128]!r}"
            raise RequestError(ResponseCode.INVALID_PARAMETER, remark) from error
        given = fastjson.loads(attributes[0].encode()) if attributes and attributes[0] else None
        return cls(
            topic=name,
            read_queue_count=counts[0],
            write_queue_count=counts[1],
            permission=counts[2],
            topic_filter_type=filter_type,
            attributes=text_map_of({"attributes": given}, "attributes"),
        )

    def to_json(self) -> Object:
        """Return the topic as a JSON object."""
        return {
            "attributes": dict(self.attributes),
            "order": self.order,
            "perm": self.permission,
            "readQueueNums": self.read_queue_count,
            "topicFilterType": self.topic_filter_type,
            "topicName": self.topic,
            "topicSysFlag": self.topic_sys_flag,
            "writeQueueNums": self.write_queue_count,
        }

    def to_bytes(self) -> bytes:
        """Return the topic as a body."""
        return fastjson.dumps(self.to_json())

    def to_text(self) -> str:
        """Return the topic as a line of a deflated registration."""
        attributes = fastjson.dumps(dict(self.attributes)).decode()
        numbers = f"{self.read_queue_count} {self.write_queue_count} {self.permission}"
        return f"{self.topic} {numbers} {self.topic_filter_type} {attributes}"


@dataclass(frozen=True, slots=True)
class TopicConfigSerializeWrapper:
    """A broker's topics and their version; queue_mappings of static topics are handed on unread."""

    topics: Mapping[str, TopicConfig] = field(default_factory=dict)
    data_version: DataVersion = field(default_factory=DataVersion)
    queue_mappings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, source: Object) -> "TopicConfigSerializeWrapper":
        """Return the table that a JSON object is; a topic without a name has that of its key."""
        topics = {
            name: TopicConfig.from_json({"topicName": name} | as_object(config, name))
            for name, config in object_of(source, "topicConfigTable").items()
        }
        mappings = raw_object_of(source, "topicQueueMappingInfoMap")
        return cls(topics, data_version_of(source, "dataVersion"), mappings)

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "TopicConfigSerializeWrapper":
        """Return the table that a body is."""
        return cls.from_json(read_object(body))

    def to_json(self) -> Object:
        """Return the table as a JSON object."""
        return {
            "dataVersion": self.data_version.to_json(),
            "mappingDataVersion": self.data_version.to_json(),
            "topicConfigTable": {name: config.to_json() for name, config in self.topics.items()},
            "topicQueueMappingDetailMap": {},
            "topicQueueMappingInfoMap": dict(self.queue_mappings),
        }

    def to_bytes(self) -> bytes:
        """Return the table as a body."""
        return fastjson.dumps(self.to_json())


@dataclass(frozen=True, slots=True)
class RegisterBrokerBody:
    """Body of 103: a broker's topics and filter servers."""

    table: TopicConfigSerializeWrapper
    filter_servers: tuple[str, ...] = ()

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "RegisterBrokerBody":
        """Return the registration that a body is: JSON, deflated, or of an old broker the bare table.

        The form is told by the first byte, since brokers say wrongly whether they deflated it.
        """
        if bytes(body[:1]) == b"\x78":
            return _from_inflated(_inflate(body))
        source = read_object(body)
        if "topicConfigTable" in source:
            return cls(TopicConfigSerializeWrapper.from_json(source))
        table = TopicConfigSerializeWrapper.from_json(object_of(source, "topicConfigSerializeWrapper"))
        return cls(table, texts_of(source, "filterServerList"))

    def to_bytes(self) -> bytes:
        """Return the registration as JSON."""
        return fastjson.dumps(
            {"filterServerList": self.filter_servers, "topicConfigSerializeWrapper": self.table.to_json()}
        )

    def to_deflated(self) -> bytes:
        """Return the registration deflated."""
        table = self.table
        lines = [config.to_text().encode() for config in table.topics.values()]
        mappings = [fastjson.dumps(mapping) for mapping in table.queue_mappings.values()]
        parts = (
            _with_length(table.data_version.to_bytes()),
            _INT32.pack(len(lines)),
            *map(_with_length, lines),
            _with_length(fastjson.dumps(self.filter_servers)),
            _INT32.pack(len(mappings)),
            *map(_with_length, mappings),
        )
        return zlib.compress(b"".join(parts), 9)


@dataclass(frozen=True, slots=True)
class SubscriptionGroupConfig:
    """One subscription group of a broker."""

    group_name: str
    consume_enable: bool = True
    consume_from_min_enable: bool = True
    consume_broadcast_enable: bool = True
    consume_message_orderly: bool = False
    retry_queue_count: int = 1
    retry_times_max: int = 16
    retry_policy: Mapping[str, Any] = field(default_factory=lambda: {"type": "CUSTOMIZED"})
    broker_id: int = 0
    broker_id_when_slow: int = 1
    notify_consumer_ids_changed_enable: bool = True
    group_sys_flag: int = 0
    consume_timeout_minutes: int = 15
    subscriptions: tuple[Mapping[str, Any], ...] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, source: Object) -> "SubscriptionGroupConfig":
        """Return the group that a JSON object is."""
        subscriptions = None
        if source.get("subscriptionDataSet") is not None:
            subscriptions = tuple(
                raw_object_of({"subscriptionDataSet": item}, "subscriptionDataSet")
                for item in objects_of(source, "subscriptionDataSet")
            )
        return cls(
            group_name=text_of(source, "groupName"),
            consume_enable=boolean_of(source, "consumeEnable", default=True),
            consume_from_min_enable=boolean_of(source, "consumeFromMinEnable", default=True),
            consume_broadcast_enable=boolean_of(source, "consumeBroadcastEnable", default=True),
            consume_message_orderly=boolean_of(source, "consumeMessageOrderly"),
            retry_queue_count=integer_of(source, "retryQueueNums", 1),
            retry_times_max=integer_of(source, "retryMaxTimes", 16),
            retry_policy=raw_object_of(source, "groupRetryPolicy") or {"type": "CUSTOMIZED"},
            broker_id=integer_of(source, "brokerId"),
            broker_id_when_slow=integer_of(source, "whichBrokerWhenConsumeSlowly", 1),
            notify_consumer_ids_changed_enable=boolean_of(
                source, "notifyConsumerIdsChangedEnable", default=True
            ),
            group_sys_flag=integer_of(source, "groupSysFlag"),
            consume_timeout_minutes=integer_of(source, "consumeTimeoutMinute", 15),
            subscriptions=subscriptions,
            attributes=text_map_of(source, "attributes"),
        )

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "SubscriptionGroupConfig":
        """Return the group that a body is."""
        return cls.from_json(read_object(body))

    def to_json(self) -> Object:
        """Return the group as a JSON object."""
        written: Object = {
            "attributes": dict(self.attributes),
            "brokerId": self.broker_id,
            "consumeBroadcastEnable": self.consume_broadcast_enable,
            "consumeEnable": self.consume_enable,
            "consumeFromMinEnable": self.consume_from_min_enable,
            "consumeMessageOrderly": self.consume_message_orderly,
            "consumeTimeoutMinute": self.consume_timeout_minutes,
            "groupName": self.group_name,
            "groupRetryPolicy": dict(self.retry_policy),
            "groupSysFlag": self.group_sys_flag,
            "notifyConsumerIdsChangedEnable": self.notify_consumer_ids_changed_enable,
            "retryMaxTimes": self.retry_times_max,
            "retryQueueNums": self.retry_queue_count,
            "whichBrokerWhenConsumeSlowly": self.broker_id_when_slow,
        }
        if self.subscriptions is not None:
            written["subscriptionDataSet"] = [dict(subscription) for subscription in self.subscriptions]
        return written

    def to_bytes(self) -> bytes:
        """Return the group as a body."""
        return fastjson.dumps(self.to_json())


@dataclass(frozen=True, slots=True)
class SubscriptionGroupWrapper:
    """Answer to 201: a broker's groups and their version."""

    groups: Mapping[str, SubscriptionGroupConfig] = field(default_factory=dict)
    data_version: DataVersion = field(default_factory=DataVersion)

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "SubscriptionGroupWrapper":
        """Return the table that a body is."""
        source = read_object(body)
        groups = {
            name: SubscriptionGroupConfig.from_json({"groupName": name} | as_object(config, name))
            for name, config in object_of(source, "subscriptionGroupTable").items()
        }
        return cls(groups, data_version_of(source, "dataVersion"))

    def to_bytes(self) -> bytes:
        """Return the table as a body."""
        return fastjson.dumps(
            {
                "dataVersion": self.data_version.to_json(),
                "forbiddenTable": {},
                "subscriptionGroupTable": {name: group.to_json() for name, group in self.groups.items()},
            }
        )


def body_crc32(body: bytes | memoryview) -> int:
    """Return the checksum of a registration that its header carries."""
    return zlib.crc32(body) & 0x7FFFFFFF


def _from_inflated(inflated: bytes) -> RegisterBrokerBody:
    version, at = _take(inflated, 0)
    count, at = _take_int32(inflated, at)
    topics: dict[str, TopicConfig] = {}
    for _ in range(count):
        line, at = _take(inflated, at)
        config = TopicConfig.from_text(line.decode("utf-8", "replace"))
        topics[config.topic] = config
    servers, at = _take(inflated, at)
    count, at = _take_int32(inflated, at) if at < len(inflated) else (0, at)
    mappings: Object = {}
    for _ in range(count):
        mapping, at = _take(inflated, at)
        read = raw_object_of({"mapping": fastjson.loads(mapping)}, "mapping")
        mappings[text_of(read, "topic")] = read
    table = TopicConfigSerializeWrapper(topics, DataVersion.from_bytes(version), mappings)
    filter_servers = array_of({"filterServerList": fastjson.loads(servers)}, "filterServerList")
    return RegisterBrokerBody(table, tuple(as_text(server, "filterServerList") for server in filter_servers))


def _inflate(body: bytes | memoryview) -> bytes:
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(body, INFLATED_BYTES_MAX)
    except zlib.error as error:
        raise RequestError(ResponseCode.INVALID_PARAMETER, f"the body cannot be inflated: {error}") from error
    if not inflater.eof:
        remark = "the deflated body is cut short, or too large"
        raise RequestError(ResponseCode.INVALID_PARAMETER, remark)
    return inflated


def _take(inflated: bytes, at: int) -> tuple[bytes, int]:
    """Return the bytes at at, which their length precedes, and where they end."""
    size, start = _take_int32(inflated, at)
    end = start + size
    if size < 0 or end > len(inflated):
        raise RequestError(ResponseCode.INVALID_PARAMETER, f"a part of the body claims {size} bytes")
    return inflated[start:end], end


def _take_int32(inflated: bytes, at: int) -> tuple[int, int]:
    if at + 4 > len(inflated):
        raise RequestError(ResponseCode.INVALID_PARAMETER, "the inflated body ends early")
    return _INT32.unpack_from(inflated, at)[0], at + 4


def _with_length(part: bytes) -> bytes:
    return _INT32.pack(len(part)) + part
