"""Questions: what a network worker, or a process attached to shared memory, may ask the conductor to do first.

Each is a small JSON object, the `question` of an Ask; its member `ask` names the kind. A question may be asked
twice, by two workers at the same moment or by one after a restart: what exists already is the answer.

    kind         the conductor makes sure that                                       else answers
    -----------  ------------------------------------------------------------------  ---------------------------
    topic        the topic exists, made after the default topic where it does not    TOPIC_NOT_EXIST
    retry_topic  a %RETRY% or %DLQ% topic exists, with queue_nums queues             NO_PERMISSION, TOPIC_NOT_EXIST
    group        the group exists                                                    SUBSCRIPTION_GROUP_NOT_EXIST
    offset       the group has a committed offset in the queue, and it is this one   the reason
    locks        (nothing: it only says) the group holds a lock of some queue        QUERY_NOT_FOUND
    topic_view   the topic exists, made as by `topic` where that is allowed; says    TOPIC_NOT_EXIST,
                 what it is, as JSON                                                 INVALID_PARAMETER, NO_PERMISSION
    group_view   the group exists and has a row for its offset in each queue of the  SUBSCRIPTION_GROUP_NOT_EXIST,
                 topic; says where they are, as JSON                                 TOPIC_NOT_EXIST, NO_PERMISSION
    pop...       see `shmq.broker.pop.questions`
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from shmq.broker.pop import questions as pop_questions
from shmq.broker.pop.questions import PopAnyQuestion


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


@dataclass(frozen=True, slots=True)
class TopicViewQuestion:
    """Say what a topic is, for a producer or consumer outside the broker.

    Attributes:
        topic: its name.
        make: whether it is made, where the broker allows that, when it does not exist.
        queue_nums: most queues to make then.
    """

    topic: str
    make: bool
    queue_nums: int


@dataclass(frozen=True, slots=True)
class GroupViewQuestion:
    """Have a place for what a group has consumed of a topic, and say where it is."""

    group: str
    topic: str


Question: TypeAlias = (
    TopicQuestion
    | RetryTopicQuestion
    | GroupQuestion
    | OffsetQuestion
    | LocksQuestion
    | TopicViewQuestion
    | GroupViewQuestion
    | PopAnyQuestion
)


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


def ask_topic_view(topic: str, queue_nums: int, *, make: bool) -> dict[str, Any]:
    """Return the question what a topic is."""
    return {"ask": "topic_view", "topic": topic, "make": make, "queue_nums": queue_nums}


def ask_group_view(group: str, topic: str) -> dict[str, Any]:
    """Return the question where the offsets of a group in a topic lie."""
    return {"ask": "group_view", "group": group, "topic": topic}


def parse_question(question: dict[str, Any]) -> Question:
    """Return a question as a value; only our own processes ask, so that anything else is a broken invariant."""
    given = dict(question)
    kind = given.pop("ask")
    if kind in pop_questions.POP_KINDS:
        return pop_questions.parse(kind, given)
    kinds: dict[str, type[Any]] = {
        "topic": TopicQuestion,
        "retry_topic": RetryTopicQuestion,
        "group": GroupQuestion,
        "offset": OffsetQuestion,
        "locks": LocksQuestion,
        "topic_view": TopicViewQuestion,
        "group_view": GroupViewQuestion,
    }
    assert kind in kinds, f"no question is a {kind}"
    parsed: Question = kinds[kind](**given)
    return parsed
