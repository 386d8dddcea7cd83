"""Questions: what a network worker may ask the conductor to do before it goes on with a request.

Each is a small JSON object, the `question` of an Ask; its member `ask` names the kind. A question may be asked
twice, by two workers at the same moment or by one after a restart: what exists already is the answer.

    kind         the conductor makes sure that                                       else answers
    -----------  ------------------------------------------------------------------  ---------------------------
    topic        the topic exists, made after the default topic where it does not    TOPIC_NOT_EXIST
    retry_topic  a %RETRY% or %DLQ% topic exists, with queue_nums queues             NO_PERMISSION, TOPIC_NOT_EXIST
    group        the group exists                                                    SUBSCRIPTION_GROUP_NOT_EXIST
    offset       the group has a committed offset in the queue, and it is this one   the reason
    locks        (nothing: it only says) the group holds a lock of some queue        QUERY_NOT_FOUND
"""

from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class TopicQuestion:
    """Make a topic as the first message to it wants it.

    Attributes:
        topic: the topic to make.
        default_topic: whose queues, permission and filter type are copied.
        queue_nums: most queues to make.
        sys_flag: of the new topic.
    """

    topic: str
    default_topic: str
    queue_nums: int
    sys_flag: int


@dataclass(frozen=True, slots=True)
class RetryTopicQuestion:
    """Make a topic for messages that failed.

    Attributes:
        topic: with its prefix, %RETRY% or %DLQ%.
        queue_nums: how many queues.
        sys_flag: of the new topic.
    """

    topic: str
    queue_nums: int
    sys_flag: int


@dataclass(frozen=True, slots=True)
class GroupQuestion:
    """Make a consumer group with default values."""

    group: str


@dataclass(frozen=True, slots=True)
class OffsetQuestion:
    """Commit the first offset of a group in a queue, for which there is no row yet."""

    group: str
    topic: str
    queue_id: int
    offset: int


@dataclass(frozen=True, slots=True)
class LocksQuestion:
    """Say whether any member of a group holds the lock of a queue: then the group consumes in order."""

    group: str


Question: TypeAlias = TopicQuestion | RetryTopicQuestion | GroupQuestion | OffsetQuestion | LocksQuestion


def ask_topic(topic: str, default_topic: str, queue_nums: int, sys_flag: int) -> dict[str, Any]:
    """Return the question that makes a topic after another one."""
    return {
        "ask": "topic",
        "topic": topic,
        "default_topic": default_topic,
        "queue_nums": queue_nums,
        "sys_flag": sys_flag,
    }


def ask_retry_topic(topic: str, queue_nums: int = 1, sys_flag: int = 0) -> dict[str, Any]:
    """Return the question that makes a retry or dead-letter topic."""
    return {"ask": "retry_topic", "topic": topic, "queue_nums": queue_nums, "sys_flag": sys_flag}


def ask_group(group: str) -> dict[str, Any]:
    """Return the question that makes a group."""
    return {"ask": "group", "group": group}


def ask_offset(group: str, topic: str, queue_id: int, offset: int) -> dict[str, Any]:
    """Return the question that commits the first offset of a group in a queue."""
    return {"ask": "offset", "group": group, "topic": topic, "queue_id": queue_id, "offset": offset}


def ask_locks(group: str) -> dict[str, Any]:
    """Return the question whether a group consumes in order."""
    return {"ask": "locks", "group": group}


def parse_question(question: dict[str, Any]) -> Question:
    """Return a question as a value; only our own processes ask, so that anything else is a broken invariant."""
    given = dict(question)
    kind = given.pop("ask")
    kinds: dict[str, type[Any]] = {
        "topic": TopicQuestion,
        "retry_topic": RetryTopicQuestion,
        "group": GroupQuestion,
        "offset": OffsetQuestion,
        "locks": LocksQuestion,
    }
    assert kind in kinds, f"no question is a {kind}"
    parsed: Question = kinds[kind](**given)
    return parsed
