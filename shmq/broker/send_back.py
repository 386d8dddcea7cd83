"""Send back: a consumer could not handle a message, and wants it again later.

The message is read from the log and written anew: to wait in the schedule topic for the group's retry topic, or,
tried too often, to the group's dead letters, which nobody consumes by himself.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from shmq.broker import message_properties as names
from shmq.broker.message_ids import offset_id
from shmq.broker.metadata import Metadata
from shmq.broker.names import SCHEDULE_TOPIC, dlq_topic, retry_topic
from shmq.broker.outcome import Append, Appended, Channel, Outcome, Peer, PutStatus, Reply
from shmq.broker.renewing import renewed
from shmq.config.addresses import split_address
from shmq.errors import RequestError
from shmq.store import properties as property_text
from shmq.store.record import PROPERTIES_BYTES_MAX, NewRecord, StoredRecord
from shmq.wire.codes import V3_4_9, ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header
from shmq.wire.flags import PERM_WRITE, TOPIC_UNIT_SUB
from shmq.wire.send_headers import SendBackHeader
from shmq.wire.topic_bodies import SubscriptionGroupConfig, TopicConfig

FIRST_RETRY_LEVEL: Final = 3
DLQ_QUEUES: Final = 1


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the new record goes: a topic's queue and its slot."""

    topic: str
    queue_id: int
    slot: int


def handle_send_back(
    state: Metadata, request: Command, _channel: Channel, peer: Peer, now_ms: int
) -> Outcome:
    """36: write a message anew, to be consumed again."""
    header = read_header(SendBackHeader, request.fields)
    group = state.groups.find(header.group, now_ms)
    if group is None:
        remark = f"subscription group not exist, {header.group}"
        raise RequestError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark)
    if not state.settings.broker_permission & PERM_WRITE:
        host = split_address(state.settings.effective_advertised_address())[0]
        raise RequestError(ResponseCode.NO_PERMISSION, f"the broker[{host}] sending message is forbidden")
    if group.retry_queue_count <= 0:
        return Reply(request.reply())
    retry = _make_retry_topic(state, header, group, now_ms)
    message = state.reader.message(header.position)
    if message is None:
        raise RequestError(ResponseCode.SYSTEM_ERROR, f"look message by offset failed, {header.position}")
    properties = _properties(message)
    if message.reconsume_times >= _times_max(request, header, group) or header.delay_level < 0:
        properties[names.DELAY] = "0"
        place = _place_dead_letter(state, header.group, now_ms)
    else:
        level = header.delay_level or FIRST_RETRY_LEVEL + message.reconsume_times
        place = _place_retry(state, retry, group, level, properties)
    record = _renew(message, place, properties, peer)
    return Append(place.slot, (record,), wait_flush=False, then=partial(_answer, request))


def _make_retry_topic(
    state: Metadata, header: SendBackHeader, group: SubscriptionGroupConfig, now_ms: int
) -> TopicConfig:
    """Return the group's retry topic, made where it is missing."""
    name, queue_count = retry_topic(header.group), group.retry_queue_count
    topic = state.topics.get(name)
    if topic is None:
        sys_flag = TOPIC_UNIT_SUB if header.unit_mode else 0
        topic = TopicConfig(name, queue_count, queue_count, topic_sys_flag=sys_flag)
        state.topics.put(topic, now_ms)
    if not topic.permission & PERM_WRITE:
        remark = f"the topic[{topic.topic}] sending message is forbidden"
        raise RequestError(ResponseCode.NO_PERMISSION, remark)
    return topic


def _times_max(request: Command, header: SendBackHeader, group: SubscriptionGroupConfig) -> int:
    """Return how often the message may be tried again; clients that are not too old decide it."""
    if request.version >= V3_4_9 and header.reconsume_times_max is not None:
        return header.reconsume_times_max
    return group.retry_times_max


def _properties(message: StoredRecord) -> dict[str, str]:
    """Return the properties of the new record, but for its delay."""
    properties = property_text.parse(message.properties)
    properties.pop(names.RECORD_CRC, None)
    properties.setdefault(names.RETRY_TOPIC, message.topic.decode("utf-8", "replace"))
    properties[names.WAIT] = "false"
    if not properties.get(names.ORIGIN_MESSAGE_ID, "").strip():
        properties[names.ORIGIN_MESSAGE_ID] = offset_id(message.store_host, message.position)
    return properties


def _place_dead_letter(state: Metadata, group: str, now_ms: int) -> _Place:
    topic = dlq_topic(group)
    if topic not in state.topics:
        state.topics.put(TopicConfig(topic, DLQ_QUEUES, DLQ_QUEUES), now_ms)
    return _Place(topic, 0, state.find_slot(topic, 0))


def _place_retry(
    state: Metadata,
    retry: TopicConfig,
    group: SubscriptionGroupConfig,
    level: int,
    properties: dict[str, str],
) -> _Place:
    """Return the queue of a delay level; the properties say which retry queue the message goes to from there."""
    level = min(level, len(state.settings.delay_levels_ms))
    queue_id = state.random.randrange(max(min(group.retry_queue_count, retry.write_queue_count), 1))
    waits_in = names.to_delayed(properties, retry.topic, queue_id, level)
    return _Place(SCHEDULE_TOPIC, waits_in, state.topics.slots(SCHEDULE_TOPIC)[waits_in])


def _renew(message: StoredRecord, place: _Place, properties: dict[str, str], peer: Peer) -> NewRecord:
    text = property_text.join(properties)
    if len(text) > PROPERTIES_BYTES_MAX:
        raise RequestError(ResponseCode.SYSTEM_ERROR, "PROPERTIES_SIZE_EXCEEDED")
    record = renewed(message, place.topic.encode(), place.queue_id, text)
    return replace(record, store_host=peer.advertised, reconsume_times=message.reconsume_times + 1)


def _answer(request: Command, appended: Appended) -> Outcome:
    """Answer the consumer; whatever is not plainly stored makes it send the message again itself."""
    if appended.status is PutStatus.PUT_OK:
        return Reply(request.reply())
    return Reply(request.reply(ResponseCode.SYSTEM_ERROR, appended.status.name))
