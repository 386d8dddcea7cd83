"""What is asked of transactions: to end one, and to ask for one again that was given up."""

from functools import partial
from typing import Final

from shmq.broker.limits import append_bytes_max
from shmq.broker.metadata import Metadata
from shmq.broker.outcome import Append, Appended, Await, Channel, Outcome, Peer, PutStatus, Reply
from shmq.broker.transactions.decisions import Decision
from shmq.broker.transactions.half_messages import Half, find_expired, find_half
from shmq.errors import RequestError
from shmq.store.position import NONE
from shmq.store.record import size_of
from shmq.wire.admin_headers import ResumeHalfMessageHeader
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header
from shmq.wire.flags import TRANSACTION_COMMIT, TRANSACTION_ROLLBACK
from shmq.wire.message import parse_offset_message_id
from shmq.wire.send_headers import EndTransactionHeader

_NOT_STORED: Final = {
    PutStatus.MESSAGE_ILLEGAL: ResponseCode.MESSAGE_ILLEGAL,
    PutStatus.SERVICE_NOT_AVAILABLE: ResponseCode.SERVICE_NOT_AVAILABLE,
}


def handle_end_transaction(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, now_ms: int
) -> Outcome:
    """37: commit a half message or roll it back; the first decision stands, whoever repeats it or says otherwise."""
    header = read_header(EndTransactionHeader, request.fields)
    if header.commit_or_rollback not in (TRANSACTION_COMMIT, TRANSACTION_ROLLBACK):
        return Reply(request.reply())  # the producer does not know; it will be asked
    return _end(state, request, header, now_ms)


def handle_resume_check(
    state: Metadata, request: Command, _channel: Channel, _peer: Peer, _now_ms: int
) -> Outcome:
    """323: ask again, from the first time on, for a transaction that is open or was given up."""
    header = read_header(ResumeHalfMessageHeader, request.fields)
    _, position = parse_offset_message_id(header.message_id or "")
    return _resume(state, request, position)


def _end(state: Metadata, request: Command, header: EndTransactionHeader, now_ms: int) -> Outcome:
    table = state.transactions
    again = partial(_end, state, request, header, now_ms)
    if not table.is_ready:
        return Await(table.when_ready, again)
    half = _named_half(state, header, now_ms)
    root = half.root
    if table.is_under_way(root):
        return Await(partial(table.when_free, root), again)
    if not table.may_be_decided(root):
        return Reply(request.reply())
    if header.commit_or_rollback == TRANSACTION_COMMIT:
        return _commit(state, request, half)
    table.begin(root)
    decision = table.roll_back(root, half.message.queue_offset, half.message.store_host)
    return Await(partial(table.when_free, root), partial(_rolled_back, request, decision))


def _named_half(state: Metadata, header: EndTransactionHeader, now_ms: int) -> Half:
    """Return the half message that a header names, if all that it says of it is right."""
    half = find_half(state.reader.message(header.position))
    if half is None:
        raise RequestError(ResponseCode.SYSTEM_ERROR, "Find prepared transaction message failed")
    immunity_ms = half.immunity_ms(state.settings.transaction_timeout_ms)
    age_ms = now_ms - half.message.born_timestamp_ms
    if immunity_ms is not None and age_ms > immunity_ms and not header.from_check:
        remark = f"the message wanted to be decided within {immunity_ms} ms; its producer group will be asked"
        raise RequestError(ResponseCode.ILLEGAL_OPERATION, remark)
    if half.group != header.producer_group:
        raise RequestError(ResponseCode.SYSTEM_ERROR, "The producer group wrong")
    if half.message.queue_offset != header.half_queue_offset:
        raise RequestError(ResponseCode.SYSTEM_ERROR, "The transaction state table offset wrong")
    return half


def _commit(state: Metadata, request: Command, half: Half) -> Await:
    slot = state.find_slot(half.topic, half.queue_id)
    if slot == NONE:
        remark = f"the half message is bound for no queue that can be: {half.topic} {half.queue_id}"
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
    final = half.final()
    if size_of(final) > append_bytes_max(state.settings):
        raise RequestError(ResponseCode.MESSAGE_ILLEGAL, "the message is too long for its topic")
    table, root, message = state.transactions, half.root, half.message
    table.begin_commit(root)

    def then(appended: Appended) -> Outcome:
        if not appended.status.is_stored:
            table.end(root)
            return _refuse(appended)
        table.close(root, message.queue_offset, message.store_host)
        return Reply(request.reply())

    return Await(table.when_noted, lambda: Append(slot, (final,), wait_flush=False, then=then))


def _rolled_back(request: Command, decision: Decision) -> Outcome:
    if not decision.is_stored:
        raise RequestError(ResponseCode.SYSTEM_ERROR, "the rollback could not be stored")
    return Reply(request.reply())


def _resume(state: Metadata, request: Command, position: int) -> Outcome:
    table = state.transactions
    again = partial(_resume, state, request, position)
    if not table.is_ready:
        return Await(table.when_ready, again)
    message = state.reader.message(position)
    half = find_half(message) or find_expired(message)
    if half is None:
        raise RequestError(ResponseCode.SYSTEM_ERROR, "no half message lies there")
    root = half.root
    if root != NONE and table.is_under_way(root):
        return Await(partial(table.when_free, root), again)
    if root != NONE and not table.may_be_decided(root):
        raise RequestError(ResponseCode.SYSTEM_ERROR, "the transaction is decided")
    if root != NONE:
        table.begin(root)

    def then(appended: Appended) -> Outcome:
        is_stored = appended.status.is_stored
        if root != NONE:
            if is_stored:
                table.reopen(root, appended.queue_offset)
            table.end(root)
        return Reply(request.reply()) if is_stored else _refuse(appended)

    return Append(table.places.half_slot, (half.copy(root, 0),), wait_flush=False, then=then)


def _refuse(appended: Appended) -> Outcome:
    code = _NOT_STORED.get(appended.status, ResponseCode.SYSTEM_ERROR)
    raise RequestError(code, f"the message could not be stored: {appended.status.name}")
