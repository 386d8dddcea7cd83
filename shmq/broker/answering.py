"""Answering: what the conductor does when a network worker asks it for something first.

What exists already is left as it is and is an answer, so that a question may be asked twice. Processes that are
not the broker's ask as well (`answer_stranger`): nothing that they write must end the conductor.
"""

from typing import Any

import orjson

from shmq.broker.metadata import Metadata
from shmq.broker.names import AUTO_CREATE_TOPIC, TOPICS_CLOSED_TO_CLIENTS, topic_problem
from shmq.broker.outcome import Answered
from shmq.broker.pop.questions import (
    PopAckQuestion,
    PopBlockedQuestion,
    PopChangeQuestion,
    PopQuestion,
)
from shmq.broker.questions import (
    GroupQuestion,
    GroupViewQuestion,
    LocksQuestion,
    OffsetQuestion,
    Question,
    RetryTopicQuestion,
    TopicQuestion,
    TopicViewQuestion,
    parse_question,
)
from shmq.errors import RequestError, StoreError
from shmq.wire.codes import ResponseCode
from shmq.wire.topic_bodies import TopicConfig


def handle_question(state: Metadata, question: dict[str, Any], now_ms: int) -> Answered:
    """Do what a worker asks for; the answer's code is the response code for the request behind it."""
    try:
        return Answered(ResponseCode.SUCCESS, _do(state, parse_question(question), now_ms))
    except RequestError as error:
        return Answered(error.code, error.remark)


def answer_stranger(state: Metadata, payload: bytes, now_ms: int) -> Answered:
    """Answer a question of a process that is not the broker's, whatever it wrote."""
    try:
        question = parse_question(orjson.loads(payload))
        if not _may_ask(question):
            return Answered(ResponseCode.SYSTEM_ERROR, "that is not for others to ask")
        return Answered(ResponseCode.SUCCESS, _do(state, question, now_ms))
    except RequestError as error:
        return Answered(error.code, error.remark)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        return Answered(ResponseCode.SYSTEM_ERROR, f"the question cannot be read: {error!r}")


def _may_ask(question: Question) -> bool:
    match question:
        case TopicViewQuestion(str(), bool(), int()) | GroupViewQuestion(str(), str()):
            return True
        case _:
            return False


def _do(state: Metadata, question: Question, now_ms: int) -> str:
    """Do it; return what there is to say."""
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
        case TopicViewQuestion():
            return _view_topic(state, question, now_ms)
        case GroupViewQuestion():
            return _view_group(state, question, now_ms)
        case PopQuestion() | PopAckQuestion() | PopChangeQuestion() | PopBlockedQuestion():
            return state.pops.answer(question, now_ms)
    return ""


def _view_topic(state: Metadata, question: TopicViewQuestion, now_ms: int) -> str:
    name = question.topic
    if question.make:
        problem = topic_problem(name)
        if problem is not None:
            raise RequestError(ResponseCode.INVALID_PARAMETER, problem)
        if name in TOPICS_CLOSED_TO_CLIENTS:
            raise RequestError(ResponseCode.NO_PERMISSION, f"Sending message to topic[{name}] is forbidden.")
        state.topics.make_after(name, AUTO_CREATE_TOPIC, question.queue_nums, 0, now_ms)
    config = _existing(state, name)
    view = {
        "read": config.read_queue_count,
        "write": config.write_queue_count,
        "permission": config.permission & state.settings.broker_permission,
        "slots": state.topics.slots(name),
    }
    return orjson.dumps(view).decode()


def _view_group(state: Metadata, question: GroupViewQuestion, now_ms: int) -> str:
    group, name = question.group, question.topic
    config = state.groups.find(group, now_ms)
    if config is None:
        raise _no_group(group)
    if not config.consume_enable or state.groups.is_read_forbidden(group, name):
        raise RequestError(ResponseCode.NO_PERMISSION, f"group[{group}] may not consume topic[{name}]")
    slots = state.topics.slots(_existing(state, name).topic)
    try:
        rows = state.offsets.make_rows(group, slots)
    except StoreError as error:
        raise RequestError(ResponseCode.SYSTEM_ERROR, str(error)) from error
    return orjson.dumps({"rows": rows}).decode()


def _existing(state: Metadata, topic: str) -> TopicConfig:
    config = state.topics.get(topic)
    if config is None:
        remark = f"topic[{topic}] not exist, apply first please!"
        raise RequestError(ResponseCode.TOPIC_NOT_EXIST, remark)
    return config


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
