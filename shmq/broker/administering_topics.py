"""Administering topics: make, change, delete and list them, and say how far their queues reach."""

from dataclasses import replace
from typing import Final

from shmq.broker.attributes import MESSAGE_TYPE, MIXED, parse_changes
from shmq.broker.effects import DocumentName, Persist
from shmq.broker.metadata import Metadata
from shmq.broker.names import retry_topic, topic_problem
from shmq.broker.outcome import Channel, Outcome, Peer, Reply
from shmq.broker.paging import choose_page
from shmq.errors import RequestError
from shmq.memory.words import load_word
from shmq.store.queue_table import max_address, min_address
from shmq.wire import fastjson
from shmq.wire.admin_headers import (
    CreateTopicHeader,
    GetAllTopicsHeader,
    GetAllTopicsResponseHeader,
    TopicHeader,
)
from shmq.wire.bodies import MessageQueue, TopicList
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header, write_header
from shmq.wire.members import objects_of, read_object
from shmq.wire.stats_bodies import TopicOffset, TopicStatsTable
from shmq.wire.topic_bodies import TopicConfig

_FILTER_TYPES: Final = frozenset({"SINGLE_TAG", "MULTI_TAG"})


def handle_put_topic(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """17: make or change a topic."""
    header = read_header(CreateTopicHeader, request.fields)
    config = TopicConfig(
        header.topic,
        header.read_queue_count,
        header.write_queue_count,
        header.permission,
        header.topic_filter_type,
        header.topic_sys_flag,
        order=header.order,
        attributes=parse_changes(header.attributes),
    )
    _check(state, config)
    _alter(state, config, now_ms)
    return Reply(request.reply())


def handle_put_topics(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """18: make or change several topics; where one of them cannot be, none is touched."""
    source = read_object(request.body)
    configs = [TopicConfig.from_json(each) for each in objects_of(source, "topicConfigList")]
    for config in configs:
        _check(state, config)
    for config in configs:
        _alter(state, config, now_ms)
    return Reply(request.reply())


def handle_delete_topic(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """215: delete a topic, its groups' offsets, and the topics of their pop retries."""
    topic = read_header(TopicHeader, request.fields).topic
    if not topic.strip():
        raise RequestError(ResponseCode.INVALID_PARAMETER, "The specified topic is blank.")
    _refuse_system_topic(state, topic)
    retries = [
        name
        for group in state.offsets.groups_of(topic)
        for name in (f"{retry_topic(group)}+{topic}", f"{retry_topic(group)}_{topic}")
        if name in state.topics
    ]
    for name in (topic, *retries):
        state.topics.delete(name, now_ms)
        state.offsets.forget_topic(name)
        state.pops.forget_topic(name)
    state.effects.append(Persist(DocumentName.CONSUMER_OFFSETS))  # a restart must not bring them back
    return Reply(request.reply())


def handle_all_topics(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """21: the table of topics, or a page of it."""
    header = read_header(GetAllTopicsHeader, request.fields)
    topics = state.topics
    names = choose_page(
        (config.topic for config in topics),
        header.topic_index,
        header.topic_count_max,
        header.data_version,
        topics.version,
    )
    body = {
        **topics.to_json(names),
        "mappingDataVersion": topics.version.to_json(),
        "topicQueueMappingDetailMap": {},
        "topicQueueMappingInfoMap": {},
    }
    fields = write_header(GetAllTopicsResponseHeader(topic_count=len(topics)))
    return Reply(request.reply(fields=fields, body=fastjson.dumps(body)))


def handle_get_topic(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """351: one topic."""
    name = read_header(TopicHeader, request.fields).topic
    config = state.topics.get(name)
    if config is None:
        raise RequestError(ResponseCode.TOPIC_NOT_EXIST, f"No topic in this broker. topic: {name}")
    return Reply(request.reply(body=config.to_bytes()))


def handle_system_topics(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """305: the topics that are the broker's own business."""
    return Reply(request.reply(body=TopicList(tuple(state.topics.system_names())).to_bytes()))


def handle_topic_stats(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """202: how far each queue of a topic reaches, and when its last message was stored."""
    name = read_header(TopicHeader, request.fields).topic
    if name not in state.topics:
        raise RequestError(ResponseCode.TOPIC_NOT_EXIST, f"topic[{name}] not exist")
    table = state.tables.queues.address
    offsets: dict[MessageQueue, TopicOffset] = {}
    for queue_id, slot in enumerate(state.topics.slots(name)):
        reach = load_word(max_address(table, slot))  # pairs with the dispatcher's release
        begin = load_word(min_address(table, slot))  # pairs with retention's release
        stored_ms = state.reader.stored_ms(slot, name, queue_id, reach - 1) if reach > 0 else 0
        queue = MessageQueue(name, state.settings.broker_name, queue_id)
        offsets[queue] = TopicOffset(begin, reach, stored_ms)
    return Reply(request.reply(body=TopicStatsTable(offsets).to_bytes()))


def _check(state: Metadata, config: TopicConfig) -> None:
    """Refuse a topic that an administrator may not make; its attributes are changes with a sign."""
    problem = topic_problem(config.topic)
    if problem is not None:
        raise RequestError(ResponseCode.INVALID_PARAMETER, problem)
    _refuse_system_topic(state, config.topic)
    if config.attributes.get(f"+{MESSAGE_TYPE}") == MIXED:
        raise RequestError(ResponseCode.INVALID_PARAMETER, "MIXED message type is not supported.")
    if config.topic_filter_type not in _FILTER_TYPES:
        remark = f"topicFilterType[{config.topic_filter_type}] is neither SINGLE_TAG nor MULTI_TAG"
        raise RequestError(ResponseCode.INVALID_PARAMETER, remark)
    if min(config.read_queue_count, config.write_queue_count) < 0:
        raise RequestError(ResponseCode.INVALID_PARAMETER, "a topic cannot have fewer than 0 queues")


def _alter(state: Metadata, config: TopicConfig, now_ms: int) -> None:
    state.topics.alter(replace(config, attributes={}), dict(config.attributes), now_ms)


def _refuse_system_topic(state: Metadata, topic: str) -> None:
    if state.topics.is_system(topic):
        remark = f"The topic[{topic}] is conflict with system topic."
        raise RequestError(ResponseCode.INVALID_PARAMETER, remark)
