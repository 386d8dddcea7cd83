"""Assignment: which queues of a topic a member of a group gets, where members leave that to the broker.

A broker knows its own queues alone; where several serve a topic, members have to share its queues among themselves.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from shmq.broker.metadata import Metadata
from shmq.broker.names import RETRY_PREFIX
from shmq.broker.outcome import Channel, Outcome, Peer, Reply
from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.assignment_bodies import AssignmentQuery, ModeSetting, RequestMode, assignment_body
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.flags import PERM_READ
from shmq.wire.heartbeat_bodies import MessageModel

AVERAGELY: Final = "AVG"
BY_CIRCLE: Final = "AVG_BY_CIRCLE"
ANY_QUEUE: Final = -1

QueueT = TypeVar("QueueT")


def handle_query_assignment(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """400: the queues of a member, and whether it pulls or pops them; nothing where that cannot be said now."""
    query = AssignmentQuery.from_bytes(request.body)
    setting = state.modes.find(query.topic, query.consumer_group)
    body = assignment_body(
        query.topic, state.settings.broker_name, _assign(state, query, setting), setting.mode
    )
    return Reply(request.reply(body=body))


def handle_set_request_mode(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """401: set whether a group pulls or pops a topic."""
    setting = ModeSetting.from_bytes(request.body)
    if setting.topic.startswith(RETRY_PREFIX):
        raise RequestError(ResponseCode.NO_PERMISSION, "retry topic is not allowed to set mode")
    if setting.topic not in state.topics:
        raise RequestError(ResponseCode.TOPIC_NOT_EXIST, f"topic[{setting.topic}] not exist")
    if state.groups.find(setting.consumer_group, now_ms) is None:
        raise RequestError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group does not exist")
    state.modes.set(setting)
    return Reply(request.reply())


def handle_all_request_modes(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """402: everything that was set by 401."""
    return Reply(request.reply(body=fastjson.dumps(state.modes.to_json())))


def allocate(strategy: str, queues: Sequence[QueueT], index: int, member_count: int) -> list[QueueT]:
    """Return the queues of one member.

    Args:
        strategy: AVERAGELY gives neighbours, BY_CIRCLE every so many-th.
        queues: all of them, in an order that every member sees.
        index: the member's place among all.
        member_count: how many members there are.
    """
    if strategy == BY_CIRCLE:
        return list(queues[index::member_count])
    size, more = divmod(len(queues), member_count)
    begin = index * size + min(index, more)
    return list(queues[begin : begin + size + (index < more)])


def _assign(state: Metadata, query: AssignmentQuery, setting: ModeSetting) -> list[int] | None:
    config = state.topics.get(query.topic)
    if config is None or not config.permission & PERM_READ:
        return None
    queues = range(config.read_queue_count)
    if query.message_model == MessageModel.BROADCASTING or not state.settings.assignment_enable:
        return list(queues)
    members = sorted(state.clients.client_ids(query.consumer_group))
    if not members or query.strategy not in (AVERAGELY, BY_CIRCLE):
        return None
    is_pop = setting.mode is RequestMode.POP
    if is_pop and not 0 < setting.share_count < len(members) - 1:
        return [ANY_QUEUE]  # everybody pops all of them
    if query.client_id not in members:
        return []
    share_count = setting.share_count if is_pop else 0
    return _share(query.strategy, queues, members.index(query.client_id), len(members), share_count)


def _share(
    strategy: str, queues: Sequence[int], index: int, member_count: int, share_count: int
) -> list[int]:
    """Return a member's own queues and those of the next ones; who shares gets one where there are too few for all."""
    if share_count and 0 < len(queues) < member_count:
        return [queues[index % len(queues)]]
    shared: list[int] = []
    for further in range(share_count + 1):
        shared += allocate(strategy, queues, (index + further) % member_count, member_count)
    return list(dict.fromkeys(shared))
