"""Recall: a producer takes back a message that waits for its moment.

What is stored is a message to the same tick that names the other: where the tick's messages are delivered, it is found
first. So a recall is as durable as a message, and success says that it will be heeded, not that there was anything to
take back, as in RocketMQ. One that would be stored too late to be heeded is refused, whatever was thought when it came.
"""

from typing import Final

from shmq.broker import message_properties as names
from shmq.broker.names import TIMER_TOPIC
from shmq.broker.outcome import Append, Appended, Outcome, Peer, Reply
from shmq.broker.replica import Replica
from shmq.broker.send_checks import check_sizes
from shmq.broker.timers.due import RECALL_GRACE_MS
from shmq.broker.timers.sending import RecallHandle, read_handle, recalled_key, tick_ms
from shmq.errors import RequestError
from shmq.store import properties as property_text
from shmq.store.record import NewRecord
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import parse_int64, read_header, write_header
from shmq.wire.flags import PERM_WRITE
from shmq.wire.send_headers import DEFAULT_REGION, RecallHeader, RecallResponseHeader

RECALL_TAG: Final = "_RECALL_TAG_"
_BODY: Final = b"0"


def handle_recall(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """370: take a message back."""
    header = read_header(RecallHeader, request.fields)
    settings = broker.config
    if not settings.recall_message_enable:
        raise RequestError(ResponseCode.NO_PERMISSION, "recall failed, operation is forbidden")
    if not settings.broker_permission & PERM_WRITE:
        raise RequestError(ResponseCode.SERVICE_NOT_AVAILABLE, "recall failed, broker service not available")
    if header.topic not in broker.topics:
        remark = f"recall failed, the topic[{header.topic}] not exist"
        raise RequestError(ResponseCode.TOPIC_NOT_EXIST, remark)
    handle = read_handle(header.recall_handle)
    _check_handle(broker, header, handle)
    time_ms = _time_left(broker, handle, now_ms)
    if not settings.timer_wheel_enable:
        raise RequestError(ResponseCode.SYSTEM_ERROR, "recall failed, execute error")
    out_ms = tick_ms(time_ms, settings.timer_precision_ms)
    record = _record(header, handle, out_ms, peer, now_ms)
    check_sizes(broker, (record,))

    def then(appended: Appended) -> Outcome:
        if not appended.status.is_stored:
            raise RequestError(ResponseCode.SYSTEM_ERROR, "recall failed, execute error")
        if appended.store_timestamp_ms > out_ms + RECALL_GRACE_MS:
            raise RequestError(ResponseCode.ILLEGAL_OPERATION, "recall failed, timestamp invalid")
        answer = RecallResponseHeader(message_id=handle.unique_key, region_id=DEFAULT_REGION)
        return Reply(request.reply(fields=write_header(answer)))

    return Append(broker.topics[TIMER_TOPIC].slots[0], (record,), wait_flush=True, then=then)


def _check_handle(broker: Replica, header: RecallHeader, handle: RecallHandle) -> None:
    if handle.topic != header.topic:
        raise RequestError(ResponseCode.ILLEGAL_OPERATION, "recall failed, topic not match")
    if handle.broker_name != broker.config.broker_name:
        raise RequestError(ResponseCode.ILLEGAL_OPERATION, "recall failed, broker service not available")


def _time_left(broker: Replica, handle: RecallHandle, now_ms: int) -> int:
    """The time that a handle names, which must lie ahead, and not too far."""
    try:
        time_ms = parse_int64(handle.time_text)
    except ValueError:
        time_ms = -1
    if not 0 < time_ms - now_ms < broker.config.timer_delay_ms_max:
        raise RequestError(ResponseCode.ILLEGAL_OPERATION, "recall failed, timestamp invalid")
    return time_ms


def _record(header: RecallHeader, handle: RecallHandle, out_ms: int, peer: Peer, now_ms: int) -> NewRecord:
    properties = {
        names.TIMER_RECALLED_KEY: recalled_key(handle.topic, handle.unique_key),
        names.UNIQUE_KEY: handle.unique_key,
        names.TIMER_DELIVER_MS: handle.time_text,
        names.BORN_TIMESTAMP: str(now_ms),
        names.TAGS: RECALL_TAG,
        names.TIMER_OUT_MS: str(out_ms),
        names.REAL_TOPIC: handle.topic,
        names.REAL_QUEUE_ID: "0",
    }
    if header.producer_group is not None:
        properties[names.PRODUCER_GROUP] = header.producer_group
    return NewRecord(
        topic=TIMER_TOPIC.encode(),
        queue_id=0,
        flag=0,
        sys_flag=0,
        born_timestamp_ms=now_ms,
        born_host=peer.host,
        store_host=peer.advertised,
        reconsume_times=0,
        prepared_position=0,
        body=_BODY,
        properties=property_text.join(properties),
    )
