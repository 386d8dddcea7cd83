"""Membership: heartbeats, who is in a group, and who holds which queue.

A heartbeat is applied whole before it is answered: the pulls that follow it on other connections find the group,
its retry topic and its subscriptions.
"""

import ipaddress
from typing import Final

from shmq.broker.clients import Client
from shmq.broker.filters import is_tag_type
from shmq.broker.metadata import Metadata
from shmq.broker.names import retry_topic
from shmq.broker.outcome import Channel, Outcome, Peer, Reply
from shmq.broker.sql.compiling import compile_sql
from shmq.broker.sql.tree import SqlError
from shmq.config.addresses import join_address, split_address
from shmq.errors import RequestError
from shmq.wire.bodies import ConsumerList, LockBatchRequest, LockBatchResponse
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.consume_headers import (
    GetConsumerListHeader,
    HeartbeatResponseHeader,
    RegisterFilterServerHeader,
    RegisterFilterServerResponseHeader,
    UnregisterClientHeader,
)
from shmq.wire.fields import read_header, write_header
from shmq.wire.flags import TOPIC_UNIT_SUB
from shmq.wire.heartbeat_bodies import EXPRESSION_SQL92, CheckClientRequest, ConsumerData, HeartbeatData
from shmq.wire.topic_bodies import TopicConfig

_FINGERPRINT_ABSENT: Final = 0  # from clients that always say everything


def handle_heartbeat(state: Metadata, request: Command, channel: Channel, peer: Peer, now_ms: int) -> Outcome:
    """34: note who is there, and what it produces and consumes.

    Consumer groups that do not exist and may not be made are passed over in silence, as RocketMQ does.
    """
    beat = HeartbeatData.from_bytes(request.body)
    client = Client(channel, beat.client_id, request.language, request.version, host_text(peer), now_ms)
    says_all = beat.fingerprint == _FINGERPRINT_ABSENT
    must_repeat = says_all
    for consumer in beat.consumers:
        must_repeat |= _hear(state, client, beat, consumer) and not says_all
    for group in beat.producer_groups:
        state.clients.hear_producer(group, client)
    fields = write_header(HeartbeatResponseHeader(subscription_changed=must_repeat))
    return Reply(request.reply(fields=fields))


def handle_unregister(
    state: Metadata, request: Command, channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """35: a client leaves the groups that it names."""
    header = read_header(UnregisterClientHeader, request.fields)
    if header.producer_group is not None:
        state.clients.leave_producers(header.producer_group, channel)
    if header.consumer_group is not None:
        config = state.groups.find(header.consumer_group, now_ms)
        notify = config is None or config.notify_consumer_ids_changed_enable
        state.clients.leave_consumers(header.consumer_group, channel, notify=notify)
    return Reply(request.reply())


def handle_consumer_list(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """38: the ids of a group's members; that there are none is an error."""
    group = read_header(GetConsumerListHeader, request.fields).consumer_group
    client_ids = state.clients.client_ids(group)
    if not client_ids:
        raise RequestError(ResponseCode.SYSTEM_ERROR, f"no consumer for this group, {group}")
    return Reply(request.reply(body=ConsumerList(client_ids).to_bytes()))


def handle_lock(state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int) -> Outcome:
    """41: lock queues for a client; the answer names those that it holds now."""
    wanted = LockBatchRequest.from_bytes(request.body)
    taken = state.locks.take(wanted.consumer_group, wanted.client_id, wanted.queues, now_ms)
    return Reply(request.reply(body=LockBatchResponse(taken).to_bytes()))


def handle_unlock(state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int) -> Outcome:
    """42: unlock queues that a client holds."""
    given = LockBatchRequest.from_bytes(request.body)
    state.locks.give_back(given.consumer_group, given.client_id, given.queues)
    return Reply(request.reply())


def handle_register_filter_server(
    state: Metadata, request: Command, channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """301: a filter server says that it is there, and its routes will say so too; repeated as a heartbeat."""
    address = read_header(RegisterFilterServerHeader, request.fields).address
    known = {*state.filter_servers.addresses, address}
    if len(known) > state.settings.filter_servers_max:
        remark = f"this broker takes {state.settings.filter_servers_max} filter servers (filter_servers_max)"
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
    try:
        split_address(address)
    except ValueError as error:
        raise RequestError(ResponseCode.INVALID_PARAMETER, f"filterServerAddr {address}: {error}") from error
    state.filter_servers.hear(channel, address, now_ms)
    header = RegisterFilterServerResponseHeader(
        broker_name=state.settings.broker_name, broker_id=state.settings.broker_id
    )
    return Reply(request.reply(fields=write_header(header)))


def handle_check_client(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """46: would this subscription be accepted; those of tags always are."""
    subscription = CheckClientRequest.from_bytes(request.body).subscription
    kind = subscription.expression_type
    if is_tag_type(kind):
        return Reply(request.reply())
    if not state.settings.property_filter_enable:
        remark = f"The broker does not support consumer to filter message by {kind}"
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
    if kind != EXPRESSION_SQL92:
        raise RequestError(ResponseCode.SUBSCRIPTION_PARSE_FAILED, f"no expression is of the type {kind}")
    try:
        compile_sql(subscription.expression)
    except SqlError as error:
        remark = f"Invalid MessageSelector: {error}"
        raise RequestError(ResponseCode.SUBSCRIPTION_PARSE_FAILED, remark) from error
    return Reply(request.reply())


def host_text(peer: Peer) -> str:
    """Return a client's address as administrators read it."""
    return join_address(str(ipaddress.ip_address(peer.host.address)), peer.host.port)


def _hear(state: Metadata, client: Client, beat: HeartbeatData, consumer: ConsumerData) -> bool:
    """Note what a heartbeat says of one consumer group; return whether the client must say all of it again."""
    config = state.groups.find(consumer.group_name, client.seen_ms)
    if config is None:
        return False
    topic = TopicConfig(
        retry_topic(consumer.group_name),
        config.retry_queue_count,
        config.retry_queue_count,
        topic_sys_flag=TOPIC_UNIT_SUB if consumer.unit_mode else 0,
        order=any(_is_ordered(state, each.topic) for each in consumer.subscriptions),
    )
    state.topics.make_if_absent(topic, client.seen_ms)
    notify = config.notify_consumer_ids_changed_enable
    if not beat.without_subscriptions:
        state.filters.hear(consumer.group_name, consumer.subscriptions, client.seen_ms)
    hear = state.clients.hear_again if beat.without_subscriptions else state.clients.hear_consumer
    return hear(client, consumer, beat.fingerprint, notify=notify)


def _is_ordered(state: Metadata, topic: str) -> bool:
    config = state.topics.get(topic)
    return config is not None and config.order
