"""Send, single and batch: the checks of a message, the record made of it, and the answer to its producer.

A request is checked in RocketMQ's order; the first failure is answered with its code. What the conductor must do
first, such as to make the topic, is asked of it, and then the request begins again with what the tables say now.

Every answer, errors included, says the region and whether to trace, as clients expect. Nothing is written here: the
record goes to the commit writer whole or not at all, so a worker that dies leaves no half of a message.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, NoReturn

from shmq.broker import message_properties as names
from shmq.broker.message_ids import offset_id
from shmq.broker.names import (
    HALF_TOPIC,
    RETRY_PREFIX,
    SCHEDULE_TOPIC,
    TIMER_TOPIC,
    dlq_topic,
)
from shmq.broker.outcome import Answered, Append, Appended, Ask, Outcome, Peer, PutStatus, Reply
from shmq.broker.questions import ask_group, ask_locks, ask_retry_topic, ask_topic
from shmq.broker.replica import Replica, TopicView
from shmq.broker.send_checks import (
    check_half,
    check_key,
    check_message,
    check_name,
    check_sizes,
    refuse,
    refuse_illegal,
    refuse_transaction,
    refuse_transaction_flag,
)
from shmq.broker.timers import sending as timed_sending
from shmq.broker.transactions.half_messages import HALF_QUEUE, to_half
from shmq.store import properties as property_text
from shmq.store.record import TOPIC_BYTES_V1_MAX, NewRecord
from shmq.wire.batch import BatchEntry, split_batch
from shmq.wire.codes import V3_4_9, RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import parse_boolean, read_header, write_header
from shmq.wire.flags import (
    MESSAGE_MULTI_TAGS,
    TOPIC_UNIT,
    TOPIC_UNIT_SUB,
    TRANSACTION_COMMIT,
    TRANSACTION_NONE,
    transaction_type,
    with_transaction_type,
)
from shmq.wire.send_headers import (
    DEFAULT_REGION,
    SHORT_SEND_CODES,
    SendHeader,
    SendResponseHeader,
)

MULTI_TAG: Final = "MULTI_TAG"

_STORED: Final = {
    PutStatus.PUT_OK: ResponseCode.SUCCESS,
    PutStatus.FLUSH_DISK_TIMEOUT: ResponseCode.FLUSH_DISK_TIMEOUT,
}
_NOT_STORED: Final = {
    PutStatus.SERVICE_NOT_AVAILABLE: (
        ResponseCode.SERVICE_NOT_AVAILABLE,
        "service not available now: the broker's disk is full, or its store has been shut down",
    ),
    PutStatus.SYSTEM_BUSY: (
        ResponseCode.SYSTEM_BUSY,
        "[PC_SYNCHRONIZED]broker busy, start flow control for a while",
    ),
    PutStatus.UNKNOWN_ERROR: (ResponseCode.SYSTEM_ERROR, "UNKNOWN_ERROR"),
}


@dataclass(frozen=True, slots=True)
class _Send:
    """A request to send, and what it needs everywhere.

    Attributes:
        broker: the tables.
        request: as it came.
        header: its fields.
        peer: who sent it.
        now_ms: when it came.
        asked: what the conductor has done for it already; nothing is asked twice.
        is_ordered: whether the consumer group of a retry holds locks of queues; None: not known yet.
    """

    broker: Replica
    request: Command
    header: SendHeader
    peer: Peer
    now_ms: int
    asked: frozenset[str] = frozenset()
    is_ordered: bool | None = None


class _Place(NamedTuple):
    """Where a message goes: a topic, and one of its queues."""

    topic: TopicView
    queue_id: int


def handle_send(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """SEND_MESSAGE, SEND_MESSAGE_V2, SEND_BATCH_MESSAGE: store a message, or a batch where the header says so."""
    header = read_header(SendHeader, request.fields, short=request.code in SHORT_SEND_CODES)
    return _send(_Send(broker, request, header, peer, now_ms))


def refuse_unstored(broker: Replica, status: PutStatus) -> NoReturn:
    """Refuse a message that the commit writer did not store."""
    if status == PutStatus.MESSAGE_ILLEGAL:
        refuse_illegal(broker)
    refuse(*_NOT_STORED[status])


def _send(send: _Send) -> Outcome:
    header = send.header
    check_name(send.broker, header.topic)
    topic = send.broker.topics.get(header.topic)
    if topic is None:
        return _ask_for_topic(send)
    place = _Place(topic, _queue_id(send, topic))
    if not len(send.request.body):
        refuse_illegal(send.broker)
    if header.batch:
        return _send_batch(send, place)
    if header.topic.startswith(RETRY_PREFIX):
        return _send_retry(send, place)
    return _send_single(send, place, _properties(send))


def _send_single(send: _Send, place: _Place, properties: dict[str, str]) -> Outcome:
    """Store one message; place is where it is bound for, be it after a delay."""
    broker = send.broker
    if names.UNIQUE_KEY not in properties:
        properties[names.UNIQUE_KEY] = broker.unique_ids.make(send.peer.advertised.address, send.now_ms)
    check_key(place.topic, properties)
    properties[names.CLUSTER] = broker.config.cluster_name
    level = _delay_level(properties)
    sys_flag = _sys_flag(send, place.topic)
    is_half = _begins_transaction(send, level, sys_flag, properties)
    if is_half or parse_boolean(properties.get(names.HALF_MESSAGE, "")):
        # Clients before 4.6.1 leave the marks of the transaction on what they send to be consumed again.
        sys_flag = with_transaction_type(sys_flag, TRANSACTION_NONE)
    check_message(send.broker, place.topic, sys_flag, properties)
    stored = place
    if is_half:
        to_half(properties, place.topic.name, place.queue_id)
        stored = _Place(broker.topics[HALF_TOPIC], HALF_QUEUE)
    elif level > 0:
        level = min(level, broker.delay_level_count)
        queue_id = names.to_delayed(properties, place.topic.name, place.queue_id, level)
        stored = _Place(broker.topics[SCHEDULE_TOPIC], queue_id)
    elif timed_sending.to_timed(broker.config, properties, place.topic.name, place.queue_id, send.now_ms):
        stored = _Place(broker.topics[TIMER_TOPIC], 0)
    text = property_text.join(properties)
    record = _record(send, stored, sys_flag, BatchEntry(send.header.flag, send.request.body, text))
    check_sizes(send.broker, (record,))
    if is_half:
        check_half(send.broker, record, place.topic)
    return _append(send, place, stored, (record,), properties)


def _send_batch(send: _Send, place: _Place) -> Outcome:
    """Store the messages of a batch next to each other; they keep their own properties and get no others."""
    header, body = send.header, send.request.body
    if len(header.topic) > TOPIC_BYTES_V1_MAX:
        refuse(ResponseCode.MESSAGE_ILLEGAL, f"message topic length too long {len(header.topic)}")
    if header.topic.startswith(RETRY_PREFIX):
        refuse(ResponseCode.MESSAGE_ILLEGAL, f"batch request does not support retry group {header.topic}")
    properties = _properties(send)
    sys_flag = _sys_flag(send, place.topic)
    check_message(send.broker, place.topic, sys_flag, properties)
    if _delay_level(properties) > 0 or transaction_type(sys_flag) != TRANSACTION_NONE:
        refuse_illegal(send.broker)
    if timed_sending.is_timed(place.topic.name, properties):
        refuse_illegal(send.broker)  # RocketMQ stores it, and can never deliver it
    if len(body) > send.broker.config.message_bytes_max:
        refuse_illegal(send.broker)
    records = tuple(_record(send, place, sys_flag, entry) for entry in split_batch(body))
    check_sizes(send.broker, records)
    return _append(send, place, place, records, properties)


def _send_retry(send: _Send, place: _Place) -> Outcome:
    """Store a message that a consumer sends to its retry topic, or among the dead letters if it came too often.

    A group that holds locks consumes in order and has tried enough by itself: all it sends are dead letters.
    """
    broker, header = send.broker, send.header
    group = header.topic.removeprefix(RETRY_PREFIX)
    known = broker.groups.get(group)
    if known is None:
        return _ask(send, ask_group(group))
    reconsume_times_max = known.config.retry_times_max
    if send.request.version >= V3_4_9 and header.reconsume_times_max is not None:
        reconsume_times_max = header.reconsume_times_max
    properties = _properties(send)
    if header.reconsume_times <= reconsume_times_max:
        if send.is_ordered is None:
            return Ask(ask_locks(group), lambda answered: _send(_knowing_order(send, answered)))
        if not send.is_ordered:
            return _send_single(send, place, properties)
    dead_letters = broker.topics.get(dlq_topic(group))
    if dead_letters is None:
        return _ask(send, ask_retry_topic(dlq_topic(group)))
    properties[names.DELAY] = names.NO_DELAY
    return _send_single(send, _Place(dead_letters, 0), properties)


def _ask_for_topic(send: _Send) -> Ask:
    """Have the topic made as the client wants it; a retry topic is made even where the client may make none."""
    header = send.header
    is_retry = header.topic.startswith(RETRY_PREFIX)
    sys_flag = 0
    if header.unit_mode:
        sys_flag = TOPIC_UNIT_SUB if is_retry else TOPIC_UNIT
    question = ask_topic(header.topic, header.default_topic, header.default_topic_queue_count, sys_flag)
    if not is_retry:
        return _ask(send, question)
    if _key(question) in send.asked:
        return _ask(send, ask_retry_topic(header.topic, sys_flag=sys_flag))
    # Whatever the answer, the topic is looked for again, and made in the other way where it is still missing.
    return Ask(question, lambda _: _send(_having_asked(send, question)))


def _ask(send: _Send, question: dict[str, Any]) -> Ask:
    """Have the conductor do something, then begin again."""
    if _key(question) in send.asked:
        refuse(ResponseCode.SYSTEM_ERROR, f"the broker has made {_key(question)}, which is gone already")

    def then(answered: Answered) -> Outcome:
        if answered.code != ResponseCode.SUCCESS:
            refuse(answered.code, answered.remark)
        return _send(_having_asked(send, question))

    return Ask(question, then)


def _having_asked(send: _Send, question: dict[str, Any]) -> _Send:
    return replace(send, asked=send.asked | {_key(question)})


def _knowing_order(send: _Send, answered: Answered) -> _Send:
    return replace(send, is_ordered=answered.code == ResponseCode.SUCCESS)


def _key(question: dict[str, Any]) -> str:
    """Return what tells a question from others of the same request."""
    return f"{question['ask']} {question.get('topic', question.get('group'))}"


def _append(
    send: _Send, place: _Place, stored: _Place, records: tuple[NewRecord, ...], properties: dict[str, str]
) -> Append:
    """Commit the records; the answer names the queue that they are bound for, and offsets of where they lie."""

    def then(appended: Appended) -> Outcome:
        return _answer(send, place.queue_id, properties, appended)

    slot = stored.topic.slots[stored.queue_id]
    return Append(slot, records, names.waits_for_store(properties), then)


def _answer(send: _Send, queue_id: int, properties: dict[str, str], appended: Appended) -> Reply:
    code = _STORED.get(appended.status)
    if code is None:
        if appended.waited_ms:
            _refuse_late(appended)
        refuse_unstored(send.broker, appended.status)
    store_host = send.peer.advertised
    recall_handle = None
    if send.request.code != RequestCode.SEND_BATCH_MESSAGE:
        recall_handle = timed_sending.recall_handle(send.broker.config.broker_name, properties)
    header = SendResponseHeader(
        message_id=",".join(offset_id(store_host, position) for position in appended.positions),
        queue_id=queue_id,
        queue_offset=appended.queue_offset,
        transaction_id=properties.get(names.UNIQUE_KEY),
        recall_handle=recall_handle,
        region_id=DEFAULT_REGION,
        trace_on=True,
    )
    return Reply(send.request.reply(code, fields=write_header(header)))


def _refuse_late(appended: Appended) -> NoReturn:
    """Refuse a message that has waited for the writer for too long, in the words that clients look for."""
    remark = (
        "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, "
        f"period in queue: {appended.waited_ms}ms, size of queue: {appended.waiting_count}"
    )
    refuse(ResponseCode.SYSTEM_BUSY, remark)


def _record(send: _Send, stored: _Place, sys_flag: int, content: BatchEntry) -> NewRecord:
    return NewRecord(
        topic=stored.topic.name_bytes,
        queue_id=stored.queue_id,
        flag=content.flag,
        sys_flag=sys_flag,
        born_timestamp_ms=send.header.born_timestamp_ms,
        born_host=send.peer.host,
        store_host=send.peer.advertised,
        reconsume_times=send.header.reconsume_times,
        prepared_position=0,
        body=content.body,
        properties=bytes(content.properties),
    )


def _properties(send: _Send) -> dict[str, str]:
    """Return the properties of the header with what every message gets, and without what none may have."""
    properties = property_text.parse((send.header.properties or "").encode())
    properties[names.REGION] = DEFAULT_REGION
    properties[names.TRACE] = "true"
    properties.pop(names.POP_CHECK_POINT, None)
    return properties


def _delay_level(properties: dict[str, str]) -> int:
    try:
        return names.delay_level(properties)
    except ValueError:
        refuse(
            ResponseCode.MESSAGE_ILLEGAL, f"the delay level is no number: {properties[names.DELAY][:64]!r}"
        )


def _sys_flag(send: _Send, topic: TopicView) -> int:
    if topic.config.topic_filter_type == MULTI_TAG:
        return send.header.sys_flag | MESSAGE_MULTI_TAGS
    return send.header.sys_flag


def _begins_transaction(send: _Send, level: int, sys_flag: int, properties: dict[str, str]) -> bool:
    """Whether a message is to wait until its producer has committed it.

    What a consumer sends to be consumed again never does, though clients before 4.6.1 leave the mark on it.
    """
    if not parse_boolean(properties.get(names.HALF_MESSAGE, "")):
        if transaction_type(sys_flag) not in (TRANSACTION_NONE, TRANSACTION_COMMIT):
            refuse_transaction_flag()
        return False
    is_again = send.header.reconsume_times > 0 and (level > 0 or send.header.topic.startswith(RETRY_PREFIX))
    if not is_again and send.broker.config.reject_transaction_message:
        refuse_transaction(send.broker)
    return not is_again


def _queue_id(send: _Send, topic: TopicView) -> int:
    """Return the queue that the client names, or any that may be written where it names none."""
    wanted, queue_count = send.header.queue_id, topic.queue_count
    if wanted >= queue_count:
        remark = f"request queueId[{wanted}] is illegal, topic [{topic.name}] has {queue_count} queues"
        refuse(ResponseCode.INVALID_PARAMETER, remark)
    if wanted >= 0:
        return wanted
    if topic.config.write_queue_count <= 0:
        refuse(ResponseCode.SYSTEM_ERROR, f"the topic[{topic.name}] has no queue to write to")
    return send.broker.random.randrange(topic.config.write_queue_count)
