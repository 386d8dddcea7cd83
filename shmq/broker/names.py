"""Names: which topics and groups there may be, and what a name alone says of a topic.

A name consists of ASCII letters, digits and `%`, `|`, `-`, `_`. The broker makes topics of its own out of a
group's name: for messages to be tried again, and for those that were tried too often.
"""

import re
from typing import Final

from shmq.wire.pop_headers import NORMAL, RETRY_V1, RETRY_V2

AUTO_CREATE_TOPIC: Final = "TBW102"
SCHEDULE_TOPIC: Final = "SCHEDULE_TOPIC_XXXX"
BENCHMARK_TOPIC: Final = "BenchmarkTest"
HALF_TOPIC: Final = "RMQ_SYS_TRANS_HALF_TOPIC"
HALF_OPERATION_TOPIC: Final = "RMQ_SYS_TRANS_OP_HALF_TOPIC"
CHECKED_TOO_OFTEN_TOPIC: Final = "TRANS_CHECK_MAX_TIME_TOPIC"
SELF_TEST_TOPIC: Final = "SELF_TEST_TOPIC"
OFFSET_MOVED_TOPIC: Final = "OFFSET_MOVED_EVENT"
TIMER_TOPIC: Final = "rmq_sys_wheel_timer"
REVIVE_TOPIC_PREFIX: Final = "rmq_sys_REVIVE_LOG_"
MEMBER_TOPIC_PREFIX: Final = "rmq_sys_SYNC_BROKER_MEMBER_"
REPLY_TOPIC_SUFFIX: Final = "_REPLY_TOPIC"
SYSTEM_TOPIC_PREFIX: Final = "rmq_sys_"
RETRY_PREFIX: Final = "%RETRY%"
DLQ_PREFIX: Final = "%DLQ%"
SYSTEM_GROUP_PREFIX: Final = "CID_RMQ_SYS_"
TRANSACTION_GROUP: Final = "CID_RMQ_SYS_TRANS"

SYSTEM_TOPICS: Final = frozenset(
    {
        AUTO_CREATE_TOPIC,
        SCHEDULE_TOPIC,
        BENCHMARK_TOPIC,
        HALF_TOPIC,
        HALF_OPERATION_TOPIC,
        CHECKED_TOO_OFTEN_TOPIC,
        SELF_TEST_TOPIC,
        OFFSET_MOVED_TOPIC,
        "RMQ_SYS_TRACE_TOPIC",
        "CHECKPOINT_TOPIC",
    }
)
"""Those of every broker; `Topics.is_system` adds what this one names after itself."""

TOPICS_CLOSED_TO_CLIENTS: Final = frozenset(
    {
        SCHEDULE_TOPIC,
        HALF_TOPIC,
        HALF_OPERATION_TOPIC,
        CHECKED_TOO_OFTEN_TOPIC,
        SELF_TEST_TOPIC,
        OFFSET_MOVED_TOPIC,
    }
)
"""Clients may not send to these."""

SYSTEM_GROUPS: Final = (
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    TRANSACTION_GROUP,
)
"""Groups that exist in every broker."""

TOPIC_CHARACTERS_MAX: Final = 127
MADE_TOPIC_CHARACTERS_MAX: Final = 255
GROUP_CHARACTERS_MAX: Final = 120

_LEGAL: Final = re.compile(r"[%|a-zA-Z0-9_-]+")
_LEGAL_TEXT: Final = "^[%|a-zA-Z0-9_-]+$"


def retry_topic(group: str) -> str:
    """Return the topic of a group's messages that are to be tried again."""
    return RETRY_PREFIX + group


def dlq_topic(group: str) -> str:
    """Return the topic of a group's messages that were tried too often."""
    return DLQ_PREFIX + group


def pop_retry_topic(topic: str, group: str, *, v2: bool) -> str:
    """Return the topic of the messages of a topic that a group is to pop again."""
    return f"{RETRY_PREFIX}{group}{'+' if v2 else '_'}{topic}"


def pop_retry_kind(topic: str) -> str:
    """Return which kind of topic a name is in a receipt: none to pop again from, or one of its two forms."""
    if not topic.startswith(RETRY_PREFIX):
        return NORMAL
    return RETRY_V2 if "+" in topic else RETRY_V1


def topic_of_kind(topic: str, group: str, kind: str) -> str | None:
    """Return the topic that a receipt's kind means; None where there is no such kind."""
    if kind == NORMAL:
        return topic
    return pop_retry_topic(topic, group, v2=kind == RETRY_V2) if kind in (RETRY_V1, RETRY_V2) else None


def topic_problem(topic: str) -> str | None:
    """Return what is wrong with a topic's name, as RocketMQ words it; None where nothing is."""
    if not topic.strip():
        return "The specified topic is blank."
    if _LEGAL.fullmatch(topic) is None:
        return f"The specified topic: {topic}, contains illegal characters, allowing only {_LEGAL_TEXT}"
    if topic.startswith((RETRY_PREFIX, DLQ_PREFIX)):
        if len(topic) > MADE_TOPIC_CHARACTERS_MAX:
            return (
                f"The specified topic is DLQ or Retry topic: {topic}, and it's longer than topic max length: "
                f"{MADE_TOPIC_CHARACTERS_MAX}"
            )
    elif len(topic) > TOPIC_CHARACTERS_MAX:
        return f"The specified topic: {topic}, is longer than topic max length: {TOPIC_CHARACTERS_MAX}"
    return None


def group_problem(group: str) -> str | None:
    """Return what is wrong with a group's name, as RocketMQ words it; None where nothing is."""
    if not group.strip():
        return "The specified group is blank."
    if _LEGAL.fullmatch(group) is None:
        return f"The specified group: {group}, contains illegal characters, allowing only {_LEGAL_TEXT}"
    if len(group) > GROUP_CHARACTERS_MAX:
        return f"The specified group: {group}, is longer than group max length: {GROUP_CHARACTERS_MAX}"
    return None
