"""What an administrator wants to know of consumers, or have them do: the broker asks them and passes the answer on.

A consumer that is not there, or takes too long, is an error with RocketMQ's code and words. Nothing is kept here
between the two: after a crash of the conductor the administrator's request is asked again, and a consumer may so be
asked twice.
"""

from typing import Final, NoReturn

from shmq.broker.clients import Client
from shmq.broker.metadata import Metadata
from shmq.broker.outcome import Call, Channel, Outcome, Peer, Reply
from shmq.errors import RequestError
from shmq.wire import message
from shmq.wire.admin_headers import ConsumeDirectlyHeader, ConsumerRunningInfoHeader, ConsumerStatusHeader
from shmq.wire.codes import V3_0_7_SNAPSHOT, V3_1_8_SNAPSHOT, RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header, write_header
from shmq.wire.reset_bodies import ConsumerStatus

CALL_PATIENCE_MS: Final = 10_000
STATUS_PATIENCE_MS: Final = 5_000


def handle_running_info(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """307: what one consumer of a group says of itself: its settings, queues, rates, and its threads' stacks."""
    header = read_header(ConsumerRunningInfoHeader, request.fields)
    return _pass_on(state, request, header.consumer_group, header.client_id)


def handle_consume_directly(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """309: have one consumer of a group handle a message of the log now, whoever has handled it before."""
    header = read_header(ConsumeDirectlyHeader, request.fields)
    found = None
    if header.message_id is not None:
        _, position = message.parse_offset_message_id(header.message_id)
        found = state.reader.raw_message(position)
    if found is None:
        remark = f"can not find message by the id, {header.message_id}"
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
    request.fields["brokerName"] = state.settings.broker_name
    topic = None if header.topic is None else state.topics.get(header.topic)
    if topic is not None:
        request.fields["topicSysFlag"] = str(topic.topic_sys_flag)
    group = state.groups.get(header.consumer_group)
    if group is not None:
        request.fields["groupSysFlag"] = str(group.group_sys_flag)
    request.body = found
    return _pass_on(state, request, header.consumer_group, header.client_id)


def handle_consumer_status(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """223: how far the consumers of a group are in a topic's queues, in their own view."""
    header = read_header(ConsumerStatusHeader, request.fields)
    group = state.clients.consumers.get(header.group)
    if group is None:
        remark = f"No Any Consumer online in the consumer group: [{header.group}]"
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
    wanted = [
        client
        for client in group.clients.values()
        if not header.client_id or client.client_id == header.client_id
    ]
    for client in group.clients.values():
        _check_version(client, V3_0_7_SNAPSHOT)
    question = write_header(ConsumerStatusHeader(topic=header.topic, group=header.group))
    return _ask_next(request, question, wanted, {})


def _ask_next(
    request: Command, question: dict[str, str], clients: list[Client], status: dict[str, ConsumerStatus]
) -> Outcome:
    """Ask the next consumer, or answer with what all have said; who says nothing is left out."""
    if not clients:
        return Reply(request.reply(body=ConsumerStatus.join(status)))
    client, *others = clients
    command = Command(RequestCode.GET_CONSUMER_STATUS_FROM_CLIENT, fields=dict(question))

    def then(answer: Command | None) -> Outcome:
        said = dict(status)
        if answer is not None and answer.code == ResponseCode.SUCCESS and answer.body:
            said[client.client_id] = ConsumerStatus.from_bytes(answer.body)
        return _ask_next(request, question, others, said)

    return Call(client.channel, command, STATUS_PATIENCE_MS, then)


def _pass_on(state: Metadata, request: Command, group: str, client_id: str | None) -> Outcome:
    """Have a consumer answer a request as it is."""
    client = state.clients.find_consumer(group, client_id or "")
    if client is None:
        remark = f"The Consumer <{group}> <{client_id}> not online"
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
    if client.version < V3_1_8_SNAPSHOT:
        remark = (
            f"The Consumer <{client_id}> Version <{client.version}> too low to finish, "
            "please upgrade it to V3_1_8_SNAPSHOT"
        )
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
    command = Command(request.code, fields=dict(request.fields), body=request.body)

    def then(answer: Command | None) -> Outcome:
        if answer is None:
            _refuse_silent(group, client_id)
        return Reply(request.reply(answer.code, answer.remark, answer.fields, answer.body))

    return Call(client.channel, command, CALL_PATIENCE_MS, then)


def _refuse_silent(group: str, client_id: str | None) -> NoReturn:
    remark = (
        f"consumer <{group}> <{client_id}> Timeout: no answer within {CALL_PATIENCE_MS} ms, or it went away"
    )
    raise RequestError(ResponseCode.CONSUME_MSG_TIMEOUT, remark)


def _check_version(client: Client, least: int) -> None:
    if client.version < least:
        remark = f"the client does not support this feature. version={client.version}"
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
