"""Answering: what the conductor does when a network worker asks it for something first.

What exists already is left as it is and is an answer, so that a question may be asked twice.
"""

from typing import Any

from shmq.broker.metadata import Metadata
from shmq.broker.outcome import Answered
from shmq.broker.questions import (
    GroupQuestion,
    LocksQuestion,
    OffsetQuestion,
    Question,
    RetryTopicQuestion,
    TopicQuestion,
    parse_question,
)
from shmq.errors import RequestError, StoreError
from shmq.wire.codes import ResponseCode
from shmq.wire.topic_bodies import TopicConfig


def handle_question(state: Metadata, question: dict[str, Any], now_ms: int) -> Answered:
    """Do what a worker asks for; the answer's code is the response code for the request behind it."""
    try:
        _do(state, parse_question(question), now_ms)
    except RequestError as error:
        return Answered(error.code, error.remark)
    return Answered(ResponseCode.SUCCESS, "")


def _do(state: Metadata, question: Question, now_ms: int) -> None:
    match question:
        case TopicQuestion(topic, default_topic, queue_nums, sys_flag):
            state.topics.make_after(topic, default_topic, queue_nums, sys_flag, now_ms)
        case RetryTopicQuestion(topic, queue_nums, sys_flag):
            if topic not in state.topics:
                state.topics.put(TopicConfig(topic, queue_nums, queue_nums, topic_sys_flag=sys_flag), now_ms)
        case GroupQuestion(group):
            if state.groups.find(group, now_ms) is None:
                raise _no_group(group)
        case OffsetQuestion():
            _commit(state, question)
        case LocksQuestion(group):
            if not state.locks.is_any_held(group, now_ms):
                raise RequestError(ResponseCode.QUERY_NOT_FOUND, f"group[{group}] holds no queue")


def _commit(state: Metadata, question: OffsetQuestion) -> None:
    if question.group not in state.groups:
        raise _no_group(question.group)
    slots = state.topics.slots(question.topic)
    if not 0 <= question.queue_id < len(slots):
        remark = f"queueId[{question.queue_id}] is illegal, topic [{question.topic}] has {len(slots)} queues"
        raise RequestError(ResponseCode.INVALID_PARAMETER, remark)
    try:
        state.offsets.commit(question.group, slots[question.queue_id], question.offset)
    except StoreError as error:
        raise RequestError(ResponseCode.SYSTEM_ERROR, str(error)) from error


def _no_group(group: str) -> RequestError:
    return RequestError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, f"subscription group not exist, {group}")
