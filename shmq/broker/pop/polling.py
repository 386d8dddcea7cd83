"""Whether there is anything to pop, and how many pops wait, without popping anything; and messages to look at.

What a worker does not know it leaves open: a pop that waits in another worker is not counted here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import orjson

from shmq.broker.names import pop_retry_topic
from shmq.broker.outcome import Answered, Ask, Outcome, Park, Peer, Reply
from shmq.broker.pop.checks import check_readable, consuming_group, readable_topic
from shmq.broker.pop.desk import freed_news, held_key, topic_news
from shmq.broker.pop.popping import EARLY_MS
from shmq.broker.pop.questions import PopBlockedQuestion, ask
from shmq.broker.replica import GroupView, Replica, TopicView
from shmq.errors import RequestError
from shmq.store.position import NONE
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header, write_header
from shmq.wire.pop_headers import (
    NotificationHeader,
    NotificationResponseHeader,
    PollingInfoHeader,
    PollingInfoResponseHeader,
)


@dataclass(frozen=True, slots=True)
class _Notification:
    """A request to be told, and what it has come to."""

    broker: Replica
    request: Command
    header: NotificationHeader
    deadline_ms: int
    is_last: bool = False


def handle_notification(broker: Replica, request: Command, _peer: Peer, now_ms: int) -> Outcome:
    """NOTIFICATION: say whether there is something to pop, as soon as there is."""
    header = read_header(NotificationHeader, request.fields)
    deadline_ms = (header.born_ms or now_ms) + header.poll_ms - EARLY_MS
    return _notify(_Notification(broker, request, header, deadline_ms), now_ms)


def handle_polling_info(broker: Replica, request: Command, _peer: Peer, _now_ms: int) -> Outcome:
    """POLLING_INFO: how many pops of a queue wait in the worker that is asked."""
    header = read_header(PollingInfoHeader, request.fields)
    check_readable(broker, "peeking message")
    readable_topic(broker, header.topic, header.queue_id)
    consuming_group(broker, header.consumer_group)
    key = held_key(header.topic, header.consumer_group, header.queue_id)
    response = PollingInfoResponseHeader(polling_count=broker.pops.count_held(key))
    return Reply(request.reply(fields=write_header(response)))


def _notify(asked: _Notification, now_ms: int) -> Outcome:
    broker, header = asked.broker, asked.header
    check_readable(broker, "peeking message")
    topic = readable_topic(broker, header.topic, header.queue_id)
    group = consuming_group(broker, header.consumer_group)
    if not header.is_order:
        return _look(asked, topic, group, {}, now_ms)

    def then(answered: Answered) -> Outcome:
        if answered.code != ResponseCode.SUCCESS:
            raise RequestError(answered.code, answered.remark)
        return _look(asked, topic, group, orjson.loads(answered.remark), now_ms)

    return Ask(ask(PopBlockedQuestion(group.name, topic.name, header.attempt_id or "")), then)


def _look(
    asked: _Notification, topic: TopicView, group: GroupView, blocked: dict[str, int], now_ms: int
) -> Outcome:
    broker, header = asked.broker, asked.header
    queues = [
        (source.slots[queue_id], _cursor(broker, group, source, queue_id))
        for source, queue_id in _queues(broker, header, topic)
        if source is not topic or str(queue_id) not in blocked
    ]
    if any(broker.reader.bounds(slot)[1] > cursor for slot, cursor in queues):
        return _answer(asked, has_message=True)
    if header.poll_ms <= 0 or asked.is_last or now_ms >= asked.deadline_ms:
        return _answer(asked, has_message=False)
    if broker.pops.count_held("") >= broker.config.pop_held_max:
        return _answer(asked, has_message=False, is_full=True)
    (slot, past_offset), *also = queues or [(NONE, 0)]
    return Park(
        slot,
        past_offset,
        asked.deadline_ms,
        lambda later_ms, is_last: _notify(replace(asked, is_last=is_last), later_ms),
        also=tuple(also),
        news=(freed_news(group.name, topic.name), *map(topic_news, _retry_topics(broker, header))),
        look_ms=min(blocked.values(), default=0),
    )


def _queues(broker: Replica, header: NotificationHeader, topic: TopicView) -> Iterator[tuple[TopicView, int]]:
    if header.queue_id < 0:
        yield from ((topic, queue_id) for queue_id in range(topic.config.read_queue_count))
    else:
        yield topic, header.queue_id
    for name in _retry_topics(broker, header):
        retry = broker.topics.get(name)
        if retry is not None:
            yield from ((retry, queue_id) for queue_id in range(retry.config.read_queue_count))


def _retry_topics(broker: Replica, header: NotificationHeader) -> list[str]:
    config = broker.config
    forms = [config.pop_retry_topic_v2_enable]
    if config.pop_retry_topic_v2_enable and config.pop_retry_topic_v1_enable:
        forms.append(False)
    return [pop_retry_topic(header.topic, header.consumer_group, v2=is_v2) for is_v2 in forms]


def _cursor(broker: Replica, group: GroupView, topic: TopicView, queue_id: int) -> int:
    slot = topic.slots[queue_id]
    committed = broker.committed_offset(group.name, slot)
    return broker.reader.bounds(slot)[0] if committed == NONE else committed


def _answer(asked: _Notification, *, has_message: bool, is_full: bool = False) -> Reply:
    response = NotificationResponseHeader(has_message=has_message, is_polling_full=is_full)
    return Reply(asked.request.reply(fields=write_header(response)))
