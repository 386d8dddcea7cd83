"""What consumers do with popped messages: acknowledge them, one or many, or have them hidden for another time.

An acknowledgement of a delivery that is over is accepted and changes nothing: the message was tried again, or will be.
"""

from collections.abc import Iterator

import orjson

from shmq.broker.names import topic_of_kind
from shmq.broker.outcome import Answered, Ask, Outcome, Peer, Reply
from shmq.broker.pop.checks import popped_queue
from shmq.broker.pop.questions import PopAckQuestion, PopChangeQuestion, ask
from shmq.broker.replica import Replica
from shmq.errors import RequestError
from shmq.store.position import NONE
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header, write_header
from shmq.wire.pop_bodies import BatchAck, BatchAckBody
from shmq.wire.pop_headers import (
    ORDER_REVIVE_QUEUE,
    AckHeader,
    ChangeInvisibleHeader,
    ChangeInvisibleResponseHeader,
    read_receipt,
)


def handle_ack(broker: Replica, request: Command, _peer: Peer, _now_ms: int) -> Outcome:
    """ACK_MESSAGE: a popped message was consumed."""
    header = read_header(AckHeader, request.fields)
    topic = popped_queue(broker, header.topic, header.queue_id)
    min_offset, max_offset = broker.reader.bounds(topic.slots[header.queue_id])
    if not min_offset <= header.offset <= max_offset:
        remark = (
            f"offset is illegal, key:{header.topic}@{header.queue_id}, commit:{header.offset}, "
            f"store:{min_offset}~{max_offset}"
        )
        raise RequestError(ResponseCode.NO_MESSAGE, remark)
    receipt = read_receipt(header.receipt, header.offset)
    question = PopAckQuestion(
        group=header.consumer_group,
        topic=header.topic,
        queue_id=header.queue_id,
        pop_ms=receipt.pop_ms,
        invisible_ms=receipt.invisible_ms,
        is_order=receipt.is_order,
        offsets=[header.offset],
    )
    return _ask_all(request, iter((question,)))


def handle_batch_ack(broker: Replica, request: Command, _peer: Peer, _now_ms: int) -> Outcome:
    """BATCH_ACK_MESSAGE: popped messages were consumed; those that there are not are passed over."""
    acks = BatchAckBody.from_bytes(request.body).acks if len(request.body) else ()
    if not acks:
        return Reply(request.reply(ResponseCode.NO_MESSAGE))
    questions = [question for ack in acks if (question := _question(broker, ack)) is not None]
    return _ask_all(request, iter(questions))


def handle_change_invisible(broker: Replica, request: Command, _peer: Peer, now_ms: int) -> Outcome:
    """CHANGE_MESSAGE_INVISIBLETIME: hide a popped message for another time; the receipt before is dead."""
    header = read_header(ChangeInvisibleHeader, request.fields)
    topic = popped_queue(broker, header.topic, header.queue_id)
    min_offset, max_offset = broker.reader.bounds(topic.slots[header.queue_id])
    if not min_offset <= header.offset < max_offset:
        return Reply(request.reply(ResponseCode.NO_MESSAGE))
    receipt = read_receipt(header.receipt, header.offset)
    question = PopChangeQuestion(
        group=header.consumer_group,
        topic=header.topic,
        queue_id=header.queue_id,
        offset=header.offset,
        pop_ms=receipt.pop_ms,
        invisible_ms=receipt.invisible_ms,
        is_order=receipt.is_order,
        from_ms=now_ms,
        for_ms=header.invisible_ms,
    )

    def then(answered: Answered) -> Outcome:
        if answered.code != ResponseCode.SUCCESS:
            raise RequestError(answered.code, answered.remark)
        pop_ms, invisible_ms = orjson.loads(answered.remark)
        response = ChangeInvisibleResponseHeader(
            pop_ms=pop_ms, invisible_ms=invisible_ms, revive_queue_id=receipt.revive_queue_id
        )
        return Reply(request.reply(fields=write_header(response)))

    return Ask(ask(question), then)


def _question(broker: Replica, ack: BatchAck) -> PopAckQuestion | None:
    """Return what to acknowledge of one queue; None where there is nothing."""
    name = topic_of_kind(ack.topic, ack.consumer_group, ack.retry)
    if name is None:
        raise RequestError(ResponseCode.INVALID_PARAMETER, f"no topic is of the kind {ack.retry[:16]!r}")
    queue = broker.queue(name, ack.queue_id)
    if queue.slot == NONE:
        return None
    min_offset, max_offset = broker.reader.bounds(queue.slot)
    offsets = [offset for offset in ack.offsets if min_offset <= offset <= max_offset]
    if not offsets:
        return None
    return PopAckQuestion(
        group=ack.consumer_group,
        topic=name,
        queue_id=ack.queue_id,
        pop_ms=ack.pop_time_ms,
        invisible_ms=ack.invisible_ms,
        is_order=ack.revive_queue_id == ORDER_REVIVE_QUEUE,
        offsets=offsets,
    )


def _ask_all(request: Command, questions: Iterator[PopAckQuestion]) -> Outcome:
    """Ask one question after the other; the first that cannot be answered ends it."""
    question = next(questions, None)
    if question is None:
        return Reply(request.reply())

    def then(answered: Answered) -> Outcome:
        if answered.code != ResponseCode.SUCCESS:
            raise RequestError(answered.code, answered.remark)
        return _ask_all(request, questions)

    return Ask(ask(question), then)
