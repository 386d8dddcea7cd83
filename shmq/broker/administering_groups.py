"""Administering groups: make, change, delete and list them, and say what they consume and how far they are."""

from typing import Any

from shmq.broker.effects import DocumentName, Persist
from shmq.broker.metadata import Metadata
from shmq.broker.names import group_problem
from shmq.broker.outcome import Channel, Outcome, Peer, Reply
from shmq.broker.paging import choose_page
from shmq.errors import RequestError
from shmq.memory.words import load_word
from shmq.store.queue_table import max_address
from shmq.wire import fastjson
from shmq.wire.admin_headers import (
    ConsumeStatsHeader,
    DeleteGroupHeader,
    GetAllGroupsHeader,
    GetAllGroupsResponseHeader,
    GroupForbiddenHeader,
    GroupHeader,
    GroupSubscriptionHeader,
    TopicHeader,
)
from shmq.wire.bodies import MessageQueue, TopicList
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header, write_header
from shmq.wire.members import objects_of, read_object
from shmq.wire.stats_bodies import ConsumeStats, OffsetWrapper
from shmq.wire.topic_bodies import SubscriptionGroupConfig


def handle_put_group(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """200: make or change a group."""
    _put(state, [SubscriptionGroupConfig.from_bytes(request.body)], now_ms)
    return Reply(request.reply())


def handle_put_groups(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """225: make or change several groups; where one of them cannot be, none is touched."""
    source = read_object(request.body)
    _put(
        state,
        [SubscriptionGroupConfig.from_json(each) for each in objects_of(source, "groupConfigList")],
        now_ms,
    )
    return Reply(request.reply())


def handle_delete_group(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """207: delete a group, and its offsets where that is asked for."""
    header = read_header(DeleteGroupHeader, request.fields)
    state.groups.delete(header.group_name, now_ms)
    if header.clean_offset:
        state.offsets.forget_group(header.group_name)
        state.pops.forget_group(header.group_name)
        state.effects.append(Persist(DocumentName.CONSUMER_OFFSETS))  # a restart must not bring them back
    return Reply(request.reply())


def handle_all_groups(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """201: the table of groups, or a page of it."""
    header = read_header(GetAllGroupsHeader, request.fields)
    groups = state.groups
    names = choose_page(
        (config.group_name for config in groups),
        header.group_index,
        header.group_count_max,
        header.data_version,
        groups.version,
    )
    fields = write_header(GetAllGroupsResponseHeader(group_count=len(groups)))
    return Reply(request.reply(fields=fields, body=fastjson.dumps(groups.to_json(names))))


def handle_get_group(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """352: one group, which is made by being asked for, as everywhere."""
    config = state.groups.find(read_header(GroupHeader, request.fields).group, now_ms)
    if config is None:
        raise RequestError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "No group in this broker")
    return Reply(request.reply(body=config.to_bytes()))


def handle_forbidden(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """353: forbid a group to read a topic, allow it, or only ask."""
    header = read_header(GroupForbiddenHeader, request.fields)
    if header.readable is not None:
        state.groups.forbid_read(header.group, header.topic, now_ms, forbid=not header.readable)
    readable = not state.groups.is_read_forbidden(header.group, header.topic)
    body = {"group": header.group, "readable": readable, "topic": header.topic}
    return Reply(request.reply(body=fastjson.dumps(body)))


def handle_all_offsets(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """43: the committed offsets of every group."""
    saved = state.offsets.to_json(now_ms)
    table = {
        key: fastjson.number_keyed({int(queue_id): offset for queue_id, offset in queues.items()})
        for key, queues in saved["offsetTable"].items()
    }
    body = {"dataVersion": saved["dataVersion"], "offsetTable": table}
    return Reply(request.reply(body=fastjson.dumps(body)))


def handle_groups_of_topic(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """300: the groups that consume a topic: those online that subscribe to it, and those with an offset."""
    topic = read_header(TopicHeader, request.fields).topic
    online = {group.name for group in state.clients.consumers.values() if topic in group.subscriptions}
    groups = sorted(online | state.offsets.groups_of(topic))
    return Reply(request.reply(body=fastjson.dumps({"groupList": groups})))


def handle_topics_of_group(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """343: the topics in which a group has an offset."""
    topics = sorted(state.offsets.topics_of(read_header(GroupHeader, request.fields).group))
    address = state.settings.effective_advertised_address()
    return Reply(request.reply(body=TopicList(tuple(topics), address).to_bytes()))


def handle_subscription(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """345: what a group that is online wants of a topic."""
    header = read_header(GroupSubscriptionHeader, request.fields)
    body: dict[str, Any] = {"group": header.group}
    online = state.clients.consumers.get(header.group)
    if header.topic is not None:
        body["topic"] = header.topic
        if online is not None and header.topic in online.subscriptions:
            body["subscriptionData"] = online.subscriptions[header.topic].to_json()
    return Reply(request.reply(body=fastjson.dumps(body)))


def handle_consume_stats(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """208: how far a group is in each queue, and how far the queue reaches."""
    header = read_header(ConsumeStatsHeader, request.fields)
    offsets: dict[MessageQueue, OffsetWrapper] = {}
    for topic in _topics_of_interest(state, header):
        config = state.topics.get(topic)
        if config is None:
            continue
        for queue_id, slot in enumerate(state.topics.slots(topic)[: config.read_queue_count]):
            reach = load_word(
                max_address(state.tables.queues.address, slot)
            )  # pairs with the dispatcher's release
            consumed = max(state.offsets.query(header.consumer_group, topic, queue_id), 0)
            stored_ms = state.reader.stored_ms(slot, topic, queue_id, consumed - 1) if consumed > 0 else 0
            queue = MessageQueue(topic, state.settings.broker_name, queue_id)
            offsets[queue] = OffsetWrapper(reach, consumed, consumed, max(stored_ms, 0))
    return Reply(request.reply(body=ConsumeStats(offsets).to_bytes()))


def _put(state: Metadata, configs: list[SubscriptionGroupConfig], now_ms: int) -> None:
    for config in configs:
        problem = group_problem(config.group_name)
        if problem is not None:
            raise RequestError(ResponseCode.INVALID_PARAMETER, problem)
    for config in configs:
        state.groups.alter(config, now_ms)


def _topics_of_interest(state: Metadata, header: ConsumeStatsHeader) -> list[str]:
    """Return the topics that an administrator lists, or the one, or all with an offset, if the group wants them."""
    listed = [topic for topic in (header.topic_list or "").split(";") if topic.strip()]
    if listed:
        return sorted(set(listed))
    topics = (
        {header.topic}
        if header.topic and header.topic.strip()
        else state.offsets.topics_of(header.consumer_group)
    )
    online = state.clients.consumers.get(header.consumer_group)
    if online is not None and online.subscriptions:
        topics &= online.subscriptions.keys()
    return sorted(topics)
