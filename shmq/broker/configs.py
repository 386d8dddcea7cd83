"""What a topic, a group and a subscription are told to be, and the JSON form that they share.

The form is RocketMQ's, in its documents (`topics.json`, `subscriptionGroup.json`) and in the bodies of
requests: an object whose members have the names of Java's getters. Reading is tolerant as Java's reader is: an
unknown member is ignored, an absent or null one leaves the default. What is no such object at all is a
ValueError.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeVar

from shmq.wire.flags import PERM_READ, PERM_WRITE

PERM_READ_WRITE: Final = PERM_READ | PERM_WRITE
SUBSCRIBE_ALL: Final = "*"
CUSTOMIZED_RETRY: Final[Mapping[str, Any]] = {"type": "CUSTOMIZED"}

_ConfigT = TypeVar("_ConfigT")


class ConsumeType(StrEnum):
    """How a group fetches its messages."""

    CONSUME_ACTIVELY = "CONSUME_ACTIVELY"
    CONSUME_PASSIVELY = "CONSUME_PASSIVELY"
    CONSUME_POP = "CONSUME_POP"


class MessageModel(StrEnum):
    """Whether each message goes to one member of a group, or to all."""

    BROADCASTING = "BROADCASTING"
    CLUSTERING = "CLUSTERING"


class ExpressionType(StrEnum):
    """The language of a subscription's expression."""

    TAG = "TAG"
    SQL92 = "SQL92"


def _named(name: str, default: Any) -> Any:
    """Declare a member by its JSON name."""
    if callable(default):
        return field(default_factory=default, metadata={"name": name})
    return field(default=default, metadata={"name": name})


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicConfig:
    """A topic's queues, permission and flags."""

    name: str = _named("topicName", "")
    read_queue_nums: int = _named("readQueueNums", 16)
    write_queue_nums: int = _named("writeQueueNums", 16)
    perm: int = _named("perm", PERM_READ_WRITE)
    filter_type: str = _named("topicFilterType", "SINGLE_TAG")
    sys_flag: int = _named("topicSysFlag", 0)
    order: bool = _named("order", False)
    attributes: Mapping[str, str] = _named("attributes", dict)

    @property
    def queue_nums(self) -> int:
        """How many queues must exist: those that can be read or written."""
        return max(self.read_queue_nums, self.write_queue_nums)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupConfig:
    """What a consumer group may do, and how its failed messages are tried again."""

    name: str = _named("groupName", "")
    consume_enable: bool = _named("consumeEnable", True)
    consume_from_min_enable: bool = _named("consumeFromMinEnable", True)
    consume_broadcast_enable: bool = _named("consumeBroadcastEnable", True)
    consume_message_orderly: bool = _named("consumeMessageOrderly", False)
    retry_queue_nums: int = _named("retryQueueNums", 1)
    retry_max_times: int = _named("retryMaxTimes", 16)
    retry_policy: Mapping[str, Any] = _named("groupRetryPolicy", lambda: dict(CUSTOMIZED_RETRY))
    broker_id: int = _named("brokerId", 0)
    which_broker_when_consume_slowly: int = _named("whichBrokerWhenConsumeSlowly", 1)
    notify_consumer_ids_changed_enable: bool = _named("notifyConsumerIdsChangedEnable", True)
    sys_flag: int = _named("groupSysFlag", 0)
    consume_timeout_minutes: int = _named("consumeTimeoutMinute", 15)
    subscription_data_set: tuple[Any, ...] = _named("subscriptionDataSet", ())
    attributes: Mapping[str, str] = _named("attributes", dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionData:
    """Which messages of one topic a group wants.

    Attributes:
        topic: the topic.
        expression: `*`, `TagA || TagB`, or SQL92.
        tags: the tags of the expression; empty for `*`.
        codes: their Java string hashes, as 32-bit numbers.
        version: the client's clock in ms when it last changed; larger is newer.
        expression_type: TAG or SQL92; whatever a client says is kept.
        class_filter_mode: whether a filter server would have to filter.
    """

    topic: str = _named("topic", "")
    expression: str = _named("subString", "")
    tags: tuple[str, ...] = _named("tagsSet", ())
    codes: tuple[int, ...] = _named("codeSet", ())
    version: int = _named("subVersion", 0)
    expression_type: str = _named("expressionType", ExpressionType.TAG.value)
    class_filter_mode: bool = _named("classFilterMode", False)


def to_json(config: object) -> dict[str, Any]:
    """Return a config as the object that its JSON form is."""
    return {member.name: getattr(config, member.attribute) for member in _members(type(config))}


def from_json(kind: type[_ConfigT], read: object) -> _ConfigT:
    """Return a config made of its JSON form.

    Raises:
        ValueError: it is no object, or a member has another type than it must.
    """
    if not isinstance(read, dict):
        raise ValueError(f"not an object: {str(read)[:80]}")  # noqa: TRY004 - the text is wrong, not our types
    values: dict[str, Any] = {}
    for member in _members(kind):
        value = read.get(member.name)
        if value is not None:
            values[member.attribute] = _convert(member, value)
    return kind(**values)


class _Member(NamedTuple):
    """One member: its JSON name, its attribute, and the type of its default."""

    name: str
    attribute: str
    kind: type[Any]


_known_members: dict[type[Any], tuple[_Member, ...]] = {}


def _members(kind: type[Any]) -> tuple[_Member, ...]:
    members = _known_members.get(kind)
    if members is None:
        template = kind()
        members = tuple(
            _Member(declared.metadata["name"], declared.name, type(getattr(template, declared.name)))
            for declared in fields(kind)
        )
        _known_members[kind] = members
    return members


def _convert(member: _Member, value: Any) -> Any:
    """Return a member's value as its type wants it; Java reads numbers and truth values from text too."""
    kind = member.kind
    if kind is bool:
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if kind is int and not isinstance(value, list | dict):
        return int(value)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if isinstance(value, kind):
        return value
    raise ValueError(f"the member {member.name} cannot be {str(value)[:80]!r}")
