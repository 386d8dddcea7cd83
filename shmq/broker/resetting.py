"""Resetting: where a consumer group begins anew, by an administrator's word; and offsets taken from another group.

In one of two ways, as RocketMQ has them. On the broker's side, which is the usual one, the offsets are changed here and
each queue's next pull is told so: whether anybody is online does not matter, and what members commit before they know
is not heeded. By the clients: each member that is online is told, gives its queues up, and begins anew by itself.
"""

from typing import Final, NamedTuple

from shmq.broker.clients import Client
from shmq.broker.effects import DocumentName, Persist, Push
from shmq.broker.metadata import Metadata
from shmq.broker.outcome import Channel, Outcome, Peer, Reply
from shmq.errors import RequestError, StoreError
from shmq.store.position import NONE
from shmq.wire.admin_headers import CloneOffsetHeader, CorrectionOffsetHeader, ResetOffsetHeader
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import V3_0_7_SNAPSHOT, Language, RequestCode, ResponseCode
from shmq.wire.command import FLAG_ONEWAY, Command
from shmq.wire.fields import read_header, write_header
from shmq.wire.reset_bodies import CorrectionOffsets, ResetOffsets
from shmq.wire.topic_bodies import TopicConfig

THE_END: Final = -1
"""As a time: the end of each queue."""

OFFSET_AHEAD: Final = (1 << 63) - 1
"""Answered for a queue in which the group that is compared is behind all the others."""


class _Queue(NamedTuple):
    """A queue of a topic, and its slot."""

    topic: str
    queue_id: int
    slot: int


def handle_reset_offset(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """222: have a group begin anew in a topic: at a time, at the end, or in one queue at an offset."""
    header = read_header(ResetOffsetHeader, request.fields)
    topic = state.topics.get(header.topic)
    if state.settings.use_server_side_reset_offset:
        if topic is None:
            raise RequestError(ResponseCode.TOPIC_NOT_EXIST, f"Topic {header.topic} does not exist")
        offsets = _reset_here(state, header, topic)
    else:
        if topic is None:
            remark = f"[reset-offset] reset offset failed, no topic in this broker. topic={header.topic}"
            raise RequestError(ResponseCode.TOPIC_NOT_EXIST, remark)
        offsets = _reset_by_clients(state, header, topic)
    return Reply(request.reply(body=ResetOffsets(offsets).to_bytes()))


def handle_clone_offset(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """314: give a group the offsets of another one, in a topic or in all that the other has offsets in."""
    header = read_header(CloneOffsetHeader, request.fields)
    source = header.source_group
    subscriptions = {}
    if source in state.clients.consumers and not header.offline:
        subscriptions = state.clients.consumers[source].subscriptions
    for each in list(state.offsets):
        is_wanted = each.group == source and (not header.topic or each.topic == header.topic)
        slot = _slot_of(state, each.topic, each.queue_id)
        if is_wanted and slot != NONE and (not subscriptions or each.topic in subscriptions):
            _commit(state, header.target_group, slot, each.offset)
    state.effects.append(Persist(DocumentName.CONSUMER_OFFSETS))
    return Reply(request.reply())


def handle_correction_offset(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """308: the least offset of any group in each queue of a topic; beyond all where the group compared is behind it."""
    header = read_header(CorrectionOffsetHeader, request.fields)
    left_out = set((header.filter_groups or "").split(","))
    least: dict[int, int] = {}
    compared: dict[int, int] = {}
    for each in state.offsets:
        slot = _slot_of(state, each.topic, each.queue_id)
        if each.topic != header.topic or slot == NONE:
            continue
        if each.group == header.compare_group:
            compared[each.queue_id] = each.offset
        min_offset, _ = state.reader.bounds(slot)
        if each.group not in left_out and each.offset >= min_offset:
            least[each.queue_id] = min(each.offset, least.get(each.queue_id, each.offset))
    corrected = {
        queue_id: OFFSET_AHEAD if queue_id in compared and offset > compared[queue_id] else offset
        for queue_id, offset in least.items()
    }
    return Reply(request.reply(body=CorrectionOffsets(corrected).to_bytes()))


def _reset_here(state: Metadata, header: ResetOffsetHeader, topic: TopicConfig) -> dict[MessageQueue, int]:
    """Change the offsets, and have them told at each queue's next pull."""
    if header.group not in state.groups:
        remark = f"Group {header.group} does not exist"
        raise RequestError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark)
    if header.queue_id >= 0:
        queue = _Queue(header.topic, header.queue_id, _slot_of(state, header.topic, header.queue_id))
        if queue.slot == NONE:
            remark = f"queueId[{header.queue_id}] is illegal, topic is {header.topic}"
            raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
        found = {queue: _target(state, header, queue)}
    else:
        found = {queue: _offset_at(state, header, queue) for queue in _queues(state, topic)}
    if not found:
        raise RequestError(ResponseCode.SYSTEM_ERROR, "No queues to reset.")
    try:
        for queue, offset in found.items():
            state.offsets.reset(header.group, queue.slot, offset)
    except StoreError as error:
        raise RequestError(ResponseCode.SYSTEM_ERROR, str(error)) from error
    state.effects.append(Persist(DocumentName.CONSUMER_OFFSETS))
    return _named(state, found)


def _target(state: Metadata, header: ResetOffsetHeader, queue: _Queue) -> int:
    """Return where a group begins anew in the one queue that is asked for."""
    if header.offset is None or header.offset == THE_END:
        return _offset_at(state, header, queue)
    min_offset, max_offset = state.reader.bounds(queue.slot)
    if not min_offset <= header.offset <= max_offset + 1:
        remark = f"Target offset {header.offset} not in consume queue range [{min_offset}-{max_offset}]"
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
    return header.offset


def _reset_by_clients(
    state: Metadata, header: ResetOffsetHeader, topic: TopicConfig
) -> dict[MessageQueue, int]:
    """Tell each member that is online where to begin anew."""
    found: dict[_Queue, int] = {}
    for queue in _queues(state, topic):
        committed = state.offsets.query(header.group, queue.topic, queue.queue_id)
        if committed == NONE:
            remark = f"THe consumer group <{header.group}> not exist"
            raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
        offset = _offset_at(state, header, queue)
        found[queue] = offset if header.force else min(offset, committed)
    group = state.clients.consumers.get(header.group)
    if group is None:
        remark = (
            f"Consumer not online, so can not reset offset, Group: {header.group} Topic: {header.topic} "
            f"Timestamp: {header.timestamp_ms}"
        )
        raise RequestError(ResponseCode.CONSUMER_NOT_ONLINE, remark)
    named = _named(state, found)
    for client in group.clients.values():
        if client.version < V3_0_7_SNAPSHOT:
            remark = f"the client does not support this feature. version={client.version}"
            raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
        state.effects.append(Push(client.channel, _told(client, header, named)))
    return named


def _told(client: Client, header: ResetOffsetHeader, offsets: dict[MessageQueue, int]) -> Command:
    """Return what a member is told; C++ reads the offsets in a form of its own."""
    told = ResetOffsetHeader(topic=header.topic, group=header.group, timestamp_ms=header.timestamp_ms)
    body = ResetOffsets(offsets)
    return Command(
        RequestCode.RESET_CONSUMER_CLIENT_OFFSET,
        flag=FLAG_ONEWAY,
        fields=write_header(told),
        body=body.to_bytes_for_cpp() if client.language == Language.CPP else body.to_bytes(),
    )


def _offset_at(state: Metadata, header: ResetOffsetHeader, queue: _Queue) -> int:
    """Return the offset of the time that is asked for."""
    if header.timestamp_ms < 0:
        return state.reader.bounds(queue.slot)[1]
    return state.reader.offset_by_time(queue.slot, queue.topic, queue.queue_id, header.timestamp_ms)


def _queues(state: Metadata, topic: TopicConfig) -> list[_Queue]:
    slots = state.topics.slots(topic.topic)[: topic.read_queue_count]
    return [_Queue(topic.topic, queue_id, slot) for queue_id, slot in enumerate(slots)]


def _slot_of(state: Metadata, topic: str, queue_id: int) -> int:
    slots = state.topics.slots(topic)
    return slots[queue_id] if 0 <= queue_id < len(slots) else NONE


def _named(state: Metadata, offsets: dict[_Queue, int]) -> dict[MessageQueue, int]:
    broker = state.settings.broker_name
    return {MessageQueue(queue.topic, broker, queue.queue_id): offset for queue, offset in offsets.items()}


def _commit(state: Metadata, group: str, slot: int, offset: int) -> None:
    try:
        state.offsets.commit(group, slot, offset)
    except StoreError as error:
        raise RequestError(ResponseCode.SYSTEM_ERROR, str(error)) from error
