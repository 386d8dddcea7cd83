"""What a client says of itself: its groups and subscriptions, in each client library's dialect.

Java writes enums by name and every member; C++ writes ordinals, versions as text, and leaves empty sets out.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from shmq.wire import fastjson
from shmq.wire.members import (
    Object,
    array_of,
    as_integer,
    boolean_of,
    enum_of,
    integer_of,
    object_of,
    objects_of,
    optional_text_of,
    read_object,
    text_of,
    texts_of,
)

SUBSCRIBE_ALL: Final = "*"
EXPRESSION_TAG: Final = "TAG"
EXPRESSION_SQL92: Final = "SQL92"


class ConsumeType(IntEnum):
    """Who asks for messages: the application, the library for it, or the library message by message."""

    CONSUME_ACTIVELY = 0
    CONSUME_PASSIVELY = 1
    CONSUME_POP = 2


class MessageModel(IntEnum):
    """Whether each consumer of a group gets every message, or they share them."""

    BROADCASTING = 0
    CLUSTERING = 1


class ConsumeFromWhere(IntEnum):
    """Where a group starts in a queue that it has not consumed yet."""

    CONSUME_FROM_LAST_OFFSET = 0
    CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST = 1
    CONSUME_FROM_MIN_OFFSET = 2
    CONSUME_FROM_MAX_OFFSET = 3
    CONSUME_FROM_FIRST_OFFSET = 4
    CONSUME_FROM_TIMESTAMP = 5


@dataclass(frozen=True, slots=True)
class SubscriptionData:
    """What a group wants of a topic."""

    topic: str
    expression: str = SUBSCRIBE_ALL
    tags: frozenset[str] = frozenset()
    tag_hashes: frozenset[int] = frozenset()
    version: int = 0
    expression_type: str = EXPRESSION_TAG
    class_filter: bool = False

    @classmethod
    def from_tags(cls, topic: str, expression: str | None, version: int = 0) -> "SubscriptionData":
        """Return the subscription of `TagA || TagB`; nothing and `*` mean every message."""
        if not expression or expression == SUBSCRIBE_ALL:
            return cls(topic, version=version)
        tags = frozenset(tag.strip() for tag in expression.split("||") if tag.strip())
        return cls(topic, expression, tags, frozenset(map(tag_hash, tags)), version)

    @classmethod
    def from_json(cls, source: Object) -> "SubscriptionData":
        """Return the subscription that a JSON object is."""
        return cls(
            topic=text_of(source, "topic"),
            expression=text_of(source, "subString", SUBSCRIBE_ALL),
            tags=frozenset(texts_of(source, "tagsSet")),
            tag_hashes=frozenset(as_integer(code, "codeSet") for code in array_of(source, "codeSet")),
            version=integer_of(source, "subVersion"),
            expression_type=text_of(source, "expressionType") or EXPRESSION_TAG,
            class_filter=boolean_of(source, "classFilterMode"),
        )

    def to_json(self) -> Object:
        """Return the subscription as a JSON object."""
        return {
            "classFilterMode": self.class_filter,
            "codeSet": sorted(self.tag_hashes),
            "expressionType": self.expression_type,
            "subString": self.expression,
            "subVersion": self.version,
            "tagsSet": sorted(self.tags),
            "topic": self.topic,
        }


@dataclass(frozen=True, slots=True)
class ConsumerData:
    """One consumer group that a client is in."""

    group_name: str
    consume_type: ConsumeType = ConsumeType.CONSUME_PASSIVELY
    message_model: MessageModel = MessageModel.CLUSTERING
    consume_from_where: ConsumeFromWhere = ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET
    subscriptions: tuple[SubscriptionData, ...] = ()
    unit_mode: bool = False

    @classmethod
    def from_json(cls, source: Object) -> "ConsumerData":
        """Return the group that a JSON object is."""
        return cls(
            group_name=text_of(source, "groupName"),
            consume_type=enum_of(source, "consumeType", ConsumeType.CONSUME_PASSIVELY),
            message_model=enum_of(source, "messageModel", MessageModel.CLUSTERING),
            consume_from_where=enum_of(source, "consumeFromWhere", ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET),
            subscriptions=tuple(
                SubscriptionData.from_json(item) for item in objects_of(source, "subscriptionDataSet")
            ),
            unit_mode=boolean_of(source, "unitMode"),
        )

    def to_json(self) -> Object:
        """Return the group as a JSON object."""
        return {
            "consumeFromWhere": self.consume_from_where.name,
            "consumeType": self.consume_type.name,
            "groupName": self.group_name,
            "messageModel": self.message_model.name,
            "subscriptionDataSet": [subscription.to_json() for subscription in self.subscriptions],
            "unitMode": self.unit_mode,
        }


@dataclass(frozen=True, slots=True)
class HeartbeatData:
    """Body of 34. Without subscriptions it only says that what was said before still holds."""

    client_id: str
    producer_groups: tuple[str, ...] = ()
    consumers: tuple[ConsumerData, ...] = ()
    fingerprint: int = 0
    without_subscriptions: bool = False

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "HeartbeatData":
        """Return the heartbeat that a body is."""
        source = read_object(body)
        return cls(
            client_id=text_of(source, "clientID"),
            producer_groups=tuple(
                text_of(item, "groupName") for item in objects_of(source, "producerDataSet")
            ),
            consumers=tuple(ConsumerData.from_json(item) for item in objects_of(source, "consumerDataSet")),
            fingerprint=integer_of(source, "heartbeatFingerprint"),
            without_subscriptions=boolean_of(source, "withoutSub"),
        )

    def to_bytes(self) -> bytes:
        """Return the heartbeat as Java writes it."""
        return fastjson.dumps(
            {
                "clientID": self.client_id,
                "consumerDataSet": [consumer.to_json() for consumer in self.consumers],
                "heartbeatFingerprint": self.fingerprint,
                "producerDataSet": [{"groupName": group} for group in self.producer_groups],
                "withoutSub": self.without_subscriptions,
            }
        )


@dataclass(frozen=True, slots=True)
class CheckClientRequest:
    """Body of 46: would this subscription be accepted."""

    client_id: str
    group: str
    subscription: SubscriptionData
    namespace: str | None = None

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "CheckClientRequest":
        """Return the question that a body is."""
        source = read_object(body)
        return cls(
            client_id=text_of(source, "clientId"),
            group=text_of(source, "group"),
            subscription=SubscriptionData.from_json(object_of(source, "subscriptionData")),
            namespace=optional_text_of(source, "namespace"),
        )

    def to_bytes(self) -> bytes:
        """Return the question as a body."""
        written = {
            "clientId": self.client_id,
            "group": self.group,
            "subscriptionData": self.subscription.to_json(),
        }
        if self.namespace is not None:
            written["namespace"] = self.namespace
        return fastjson.dumps(written)


def tag_hash(tag: str) -> int:
    """Return Java's hash of a text: over its UTF-16 code units, an int32."""
    encoded = tag.encode("utf-16-le", "surrogatepass")
    hashed = 0
    for unit in struct.unpack(f"<{len(encoded) // 2}H", encoded):
        hashed = (hashed * 31 + unit) & 0xFFFFFFFF
    return (hashed ^ 0x80000000) - 0x80000000
