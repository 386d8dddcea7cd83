"""Replies: what a consumer answers to a producer that waits for it, passed on at once and stored as well.

The producer is found by the client id in the reply's properties, on whichever network worker it is; so the conductor
does it, who knows all of them. What the consumer is told is how the passing on went: a reply that was stored and reached
nobody is an error, and one that reached the producer is none, whatever became of the storing.
"""

from dataclasses import dataclass
from typing import Final

from shmq.broker import message_properties as names
from shmq.broker.membership import host_text
from shmq.broker.message_ids import offset_id
from shmq.broker.metadata import Metadata
from shmq.broker.names import TOPICS_CLOSED_TO_CLIENTS, topic_problem
from shmq.broker.outcome import Append, Appended, Call, Channel, Outcome, Peer, PutStatus, Reply
from shmq.config.addresses import split_address
from shmq.errors import RequestError
from shmq.store import properties as property_text
from shmq.store.record import PROPERTIES_BYTES_MAX, NewRecord
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header, write_header
from shmq.wire.flags import PERM_WRITE, TRANSACTION_NONE, with_transaction_type
from shmq.wire.send_headers import (
    DEFAULT_REGION,
    SHORT_SEND_CODES,
    PushReplyHeader,
    SendHeader,
    SendResponseHeader,
)
from shmq.wire.topic_bodies import TopicConfig

PUSH_PATIENCE_MS: Final = 10_000
_NOT_STORED_ID: Final = "0"


@dataclass(frozen=True, slots=True)
class _Answer:
    """A reply under way.

    Attributes:
        state: the tables.
        request: as it came.
        header: its fields.
        peer: who replies.
        queue_id: where the reply is stored.
    """

    state: Metadata
    request: Command
    header: SendHeader
    peer: Peer
    queue_id: int


def handle_reply(state: Metadata, request: Command, _channel: Channel, peer: Peer, now_ms: int) -> Outcome:
    """324, 325: hand a reply to the producer that waits for it, and store it."""
    header = read_header(SendHeader, request.fields, short=request.code in SHORT_SEND_CODES)
    topic = _topic(state, header, now_ms)
    queue_id = header.queue_id
    if queue_id < 0:
        queue_id = state.random.randrange(max(topic.write_queue_count, 1))
    answer = _Answer(state, request, header, peer, queue_id)
    properties = property_text.parse((header.properties or "").encode())
    requester = properties.get(names.REPLY_TO_CLIENT)
    if requester is None:
        return _store(answer, f"reply message properties[{names.REPLY_TO_CLIENT}] is null")
    client = state.clients.find_producer(requester)
    if client is None:
        return _store(answer, f"push reply message fail, channel of <{requester}> not found.")
    properties[names.PUSH_REPLY_TIME] = str(now_ms)
    pushed = Command(
        RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT,
        fields=write_header(_push_header(answer, properties, now_ms)),
        body=request.body,
    )

    def then(heard: Command | None) -> Outcome:
        is_taken = heard is not None and heard.code == ResponseCode.SUCCESS
        return _store(answer, "" if is_taken else f"push reply message to {requester}fail.")

    return Call(client.channel, pushed, PUSH_PATIENCE_MS, then)


def _topic(state: Metadata, header: SendHeader, now_ms: int) -> TopicConfig:
    """Return the topic that a reply is sent to, made as for any message; refuse one that no client may send to."""
    problem = topic_problem(header.topic)
    if problem is not None:
        raise RequestError(ResponseCode.INVALID_PARAMETER, problem)
    if header.topic in TOPICS_CLOSED_TO_CLIENTS:
        remark = f"Sending message to topic[{header.topic}] is forbidden."
        raise RequestError(ResponseCode.NO_PERMISSION, remark)
    state.topics.make_after(header.topic, header.default_topic, header.default_topic_queue_count, 0, now_ms)
    topic = state.topics.get(header.topic)
    assert topic is not None, "make_after() makes it, or refuses"
    if topic.order and not state.settings.broker_permission & PERM_WRITE:
        host = split_address(state.settings.effective_advertised_address())[0]
        raise RequestError(ResponseCode.NO_PERMISSION, f"the broker[{host}] sending message is forbidden")
    queue_count = max(topic.read_queue_count, topic.write_queue_count)
    if header.queue_id >= queue_count:
        remark = (
            f"request queueId[{header.queue_id}] is illegal, topic [{topic.topic}] has {queue_count} queues"
        )
        raise RequestError(ResponseCode.INVALID_PARAMETER, remark)
    return topic


def _push_header(answer: _Answer, properties: dict[str, str], now_ms: int) -> PushReplyHeader:
    header = answer.header
    return PushReplyHeader(
        producer_group=header.producer_group,
        topic=header.topic,
        default_topic=header.default_topic,
        default_topic_queue_count=header.default_topic_queue_count,
        queue_id=header.queue_id,
        sys_flag=header.sys_flag,
        born_timestamp_ms=header.born_timestamp_ms,
        flag=header.flag,
        properties=property_text.join(properties).decode(),
        reconsume_times=header.reconsume_times,
        unit_mode=header.unit_mode,
        born_host=host_text(answer.peer),
        store_host=host_text(answer.peer._replace(host=answer.peer.advertised)),
        store_timestamp_ms=now_ms,
    )


def _store(answer: _Answer, failure: str) -> Outcome:
    """Store the reply where that is wanted and possible; then answer how the passing on went."""
    state, header, request = answer.state, answer.header, answer.request
    record = NewRecord(
        topic=header.topic.encode(),
        queue_id=answer.queue_id,
        flag=header.flag,
        sys_flag=with_transaction_type(header.sys_flag, TRANSACTION_NONE),
        born_timestamp_ms=header.born_timestamp_ms,
        born_host=answer.peer.host,
        store_host=answer.peer.advertised,
        reconsume_times=header.reconsume_times,
        prepared_position=0,
        body=bytes(request.body),
        properties=(header.properties or "").encode(),
    )
    is_storable = 0 < len(record.body) <= state.settings.message_bytes_max
    is_storable &= len(record.properties) <= PROPERTIES_BYTES_MAX
    if not state.settings.store_reply_message_enable or not is_storable:
        return _say(answer, failure, None)
    slot = state.find_slot(header.topic, answer.queue_id)
    return Append(slot, (record,), wait_flush=False, then=lambda done: _say(answer, failure, done))


def _say(answer: _Answer, failure: str, appended: Appended | None) -> Reply:
    message_id, queue_offset = _NOT_STORED_ID, 0
    if appended is not None and appended.status in (PutStatus.PUT_OK, PutStatus.FLUSH_DISK_TIMEOUT):
        message_id = offset_id(answer.peer.advertised, appended.positions[0])
        queue_offset = appended.queue_offset
    header = SendResponseHeader(
        message_id=message_id,
        queue_id=answer.queue_id,
        queue_offset=queue_offset,
        region_id=DEFAULT_REGION,
        trace_on=True,
    )
    code = ResponseCode.SYSTEM_ERROR if failure else ResponseCode.SUCCESS
    return Reply(answer.request.reply(code, failure or None, write_header(header)))
