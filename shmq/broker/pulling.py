"""Pull: the checks of a request, the messages it gets, and when it waits for some.

A request is checked in RocketMQ's order; the first failure is answered with its code. Messages are answered as slices
of the mapped log. Where there is none the request may be parked: it is looked at again when its queue has grown, with
all its checks, and goes on waiting while nothing matches its filter. How far it has looked is remembered, so that no
entry is filtered twice, and told to the client when the time is over, which then asks from there.

An offset that the client commits by the way is stored once, when the request comes; but where a reset of the group's
offset is pending the answer is where to begin anew, and nothing else.
"""

from dataclasses import dataclass, replace
from typing import Final, NoReturn

from shmq.broker.filters import (
    MessageFilter,
    RetryFilter,
    is_tag_type,
    parse_tags,
    subscription_filter,
)
from shmq.broker.names import RETRY_PREFIX
from shmq.broker.outcome import Answered, Ask, Outcome, Park, Peer, Reply
from shmq.broker.questions import ask_group, ask_offset
from shmq.broker.replica import GroupView, Replica, TopicView
from shmq.broker.sql.compiling import compile_sql
from shmq.broker.sql.tree import SqlError
from shmq.errors import RequestError
from shmq.store.position import NONE
from shmq.store.read import ReadResult, ReadStatus
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.consume_headers import PullHeader, PullResponseHeader
from shmq.wire.fields import read_header, write_header
from shmq.wire.flags import PERM_READ, PULL_COMMIT_OFFSET, PULL_SUBSCRIPTION, PULL_SUSPEND
from shmq.wire.heartbeat_bodies import EXPRESSION_SQL92, MessageModel, SubscriptionData

# What is forbidden, in the header of an answer with NO_PERMISSION.
BROKER_FORBIDDEN: Final = 1
GROUP_FORBIDDEN: Final = 2
TOPIC_FORBIDDEN: Final = 3
BROADCASTING_FORBIDDEN: Final = 4
SUBSCRIPTION_FORBIDDEN: Final = 5

MASTER_ID: Final = 0
SUSPEND_MS_MAX: Final = 24 * 3600 * 1000  # no client waits for so long; larger numbers are nonsense

_CODES: Final = {
    ReadStatus.FOUND: ResponseCode.SUCCESS,
    ReadStatus.NO_MATCHED_MESSAGE: ResponseCode.PULL_RETRY_IMMEDIATELY,
    ReadStatus.MESSAGE_WAS_REMOVING: ResponseCode.PULL_RETRY_IMMEDIATELY,
    ReadStatus.OFFSET_FOUND_NULL: ResponseCode.PULL_NOT_FOUND,
    ReadStatus.OFFSET_OVERFLOW_ONE: ResponseCode.PULL_NOT_FOUND,
    ReadStatus.OFFSET_OVERFLOW_BADLY: ResponseCode.PULL_OFFSET_MOVED,
    ReadStatus.OFFSET_TOO_SMALL: ResponseCode.PULL_OFFSET_MOVED,
}


@dataclass(frozen=True, slots=True)
class _Pull:
    """A pull request, and what it has come to.

    Attributes:
        broker: the tables.
        request: as it came.
        header: its fields.
        deadline_ms: until when it may wait.
        has_waited: whether this is not its first pass.
        is_last: whether it must be answered now.
        scanned: the filter, and the offset up to which nothing matched it; None before the first pass ended.
    """

    broker: Replica
    request: Command
    header: PullHeader
    deadline_ms: int
    has_waited: bool = False
    is_last: bool = False
    scanned: tuple[MessageFilter, int] | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a pull reads, once it may."""

    topic: TopicView
    group: GroupView
    slot: int
    wanted: MessageFilter


def handle_pull(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """PULL_MESSAGE, LITE_PULL_MESSAGE: messages of one queue from an offset on."""
    del peer
    header = read_header(PullHeader, request.fields)
    wait_ms = (
        header.suspend_timeout_ms if broker.config.long_polling_enable else broker.config.short_polling_ms
    )
    return _pull(_Pull(broker, request, header, now_ms + min(max(wait_ms, 0), SUSPEND_MS_MAX)))


def _pull(pull: _Pull) -> Outcome:
    broker, header = pull.broker, pull.header
    if not broker.config.broker_permission & PERM_READ:
        _forbid(BROKER_FORBIDDEN, f"the broker[{broker.broker_host}] pulling message is forbidden")
    group = broker.groups.get(header.consumer_group)
    if group is None:
        return _ask_for_group(pull)
    topic = _readable_topic(pull, group)
    source = _Source(topic, group, topic.slots[header.queue_id], _wanted(pull, group))
    reset = broker.take_reset(group.group_id, source.slot)
    if reset != NONE:
        return _answer_reset(pull, source, reset)
    if not pull.has_waited and header.sys_flag & PULL_COMMIT_OFFSET and header.commit_offset >= 0:
        return _commit(pull, source)
    return _read(pull, source)


def _read(pull: _Pull, source: _Source) -> Outcome:
    """Answer what there is, or wait for more."""
    header = pull.header
    begin = header.queue_offset
    if pull.scanned is not None and pull.scanned[0] == source.wanted:
        begin = max(begin, pull.scanned[1])
    count_max = max(header.message_count_max, 1)  # a first message is always given
    result = pull.broker.read(source.topic, header.queue_id, begin, count_max, source.wanted)
    code = _code(begin, result)
    if not header.sys_flag & PULL_SUSPEND or pull.is_last or not _is_awaited(pull, result, code):
        return _answer(pull, source, result, code)
    waiting = replace(pull, has_waited=True, scanned=(source.wanted, result.next_offset))
    return Park(
        source.slot,
        result.next_offset,
        pull.deadline_ms,
        lambda _, is_last: _pull(replace(waiting, is_last=is_last)),
    )


def _is_awaited(pull: _Pull, result: ReadResult, code: ResponseCode) -> bool:
    """Whether a client that may wait should, rather than be told that it found nothing."""
    if result.status == ReadStatus.OFFSET_FOUND_NULL:
        return False  # more is there, in the next file
    if result.status == ReadStatus.NO_MATCHED_MESSAGE:
        return pull.has_waited  # a first pass may be far behind: its client is told how far it got
    return code == ResponseCode.PULL_NOT_FOUND


def _code(begin: int, result: ReadResult) -> ResponseCode:
    code = _CODES.get(result.status)
    if code is None:  # nothing was ever stored in the queue
        code = ResponseCode.PULL_NOT_FOUND if begin == 0 else ResponseCode.PULL_OFFSET_MOVED
    return code


def _answer(pull: _Pull, source: _Source, result: ReadResult, code: ResponseCode) -> Reply:
    status = result.status
    if status == ReadStatus.OFFSET_OVERFLOW_ONE and result.next_offset > pull.header.queue_offset:
        # Messages came while the pull waited, and none of them matched.
        status, code = ReadStatus.NO_MATCHED_MESSAGE, ResponseCode.PULL_RETRY_IMMEDIATELY
    header = PullResponseHeader(
        suggested_broker_id=MASTER_ID,
        next_offset=result.next_offset,
        min_offset=result.min_offset,
        max_offset=result.max_offset,
        topic_sys_flag=source.topic.config.topic_sys_flag,
        group_sys_flag=source.group.config.group_sys_flag,
    )
    return Reply(pull.request.reply(code, status.name, write_header(header)), tuple(result.slices))


def _answer_reset(pull: _Pull, source: _Source, offset: int) -> Reply:
    """Tell a client where an administrator wants its group to begin anew; what it commits by the way is of before."""
    min_offset, max_offset = pull.broker.reader.bounds(source.slot)
    result = ReadResult(ReadStatus.OFFSET_RESET, offset, min_offset, max_offset)
    return _answer(pull, source, result, ResponseCode.PULL_OFFSET_MOVED)


def _commit(pull: _Pull, source: _Source) -> Outcome:
    """Store the offset that comes with the pull, then read."""
    broker, header = pull.broker, pull.header
    if broker.commit_offset(source.group.group_id, source.slot, header.commit_offset):
        return _read(pull, source)

    def then(answered: Answered) -> Outcome:
        if answered.code != ResponseCode.SUCCESS:
            raise RequestError(answered.code, answered.remark)
        return _read(pull, source)

    return Ask(ask_offset(source.group.name, header.topic, header.queue_id, header.commit_offset), then)


def _ask_for_group(pull: _Pull) -> Ask:
    name = pull.header.consumer_group

    def then(answered: Answered) -> Outcome:
        if answered.code != ResponseCode.SUCCESS or name not in pull.broker.groups:
            remark = f"subscription group [{name}] does not exist"
            raise RequestError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark)
        return _pull(pull)

    return Ask(ask_group(name), then)


def _readable_topic(pull: _Pull, group: GroupView) -> TopicView:
    """Return the topic of a pull, whose group and queue may be read."""
    header = pull.header
    if not group.config.consume_enable:
        _forbid(GROUP_FORBIDDEN, f"subscription group no permission, {group.name}")
    topic = pull.broker.topics.get(header.topic)
    if topic is None:
        remark = f"topic[{header.topic}] not exist, apply first please!"
        raise RequestError(ResponseCode.TOPIC_NOT_EXIST, remark)
    if not topic.config.permission & PERM_READ:
        _forbid(TOPIC_FORBIDDEN, f"the topic[{topic.name}] pulling message is forbidden")
    queue_count = topic.config.read_queue_count
    if not 0 <= header.queue_id < queue_count:
        remark = (
            f"queueId[{header.queue_id}] is illegal, topic:[{topic.name}] "
            f"topicConfig.readQueueNums:[{queue_count}]"
        )
        raise RequestError(ResponseCode.INVALID_PARAMETER, remark)
    return topic


def _wanted(pull: _Pull, group: GroupView) -> MessageFilter:
    """Return the filter that the request brings, or else that of the group's subscription."""
    header = pull.header
    if header.sys_flag & PULL_SUBSCRIPTION:
        return _requested(pull)
    members = pull.broker.members.get(group.name)
    if members is None:
        raise RequestError(ResponseCode.SUBSCRIPTION_NOT_EXIST, "the consumer's group info not exist")
    if not group.config.consume_broadcast_enable and members.message_model == MessageModel.BROADCASTING:
        _forbid(BROADCASTING_FORBIDDEN, f"the consumer group[{group.name}] can not consume by broadcast way")
    if header.topic in group.forbidden:
        remark = f"the consumer group[{group.name}] is forbidden for topic[{header.topic}]"
        _forbid(SUBSCRIPTION_FORBIDDEN, remark)
    subscription = members.subscriptions.get(header.topic)
    if subscription is None:
        raise RequestError(ResponseCode.SUBSCRIPTION_NOT_EXIST, "the consumer's subscription not exist")
    if subscription.version < header.subscription_version:
        raise RequestError(ResponseCode.SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest")
    if not is_tag_type(subscription.expression_type):
        return _registered(pull, group, subscription)
    return subscription_filter(subscription)


def _registered(pull: _Pull, group: GroupView, subscription: SubscriptionData) -> MessageFilter:
    """Return the expression that a heartbeat of the group has registered."""
    broker, header = pull.broker, pull.header
    expressions = broker.filters.get(group.name, {})
    found = expressions.get(header.topic)
    if found is None or found.expression is None:
        remark = "The broker's consumer filter data is not exist!Your expression may be wrong!"
        raise RequestError(ResponseCode.FILTER_DATA_NOT_EXIST, remark)
    if found.version < header.subscription_version:
        remark = "the consumer's consumer filter data not latest"
        raise RequestError(ResponseCode.FILTER_DATA_NOT_LATEST, remark)
    if not broker.config.property_filter_enable:
        _refuse_expression(subscription.expression_type)
    if subscription.class_filter:
        return None
    if broker.config.filter_support_retry and header.topic.startswith(RETRY_PREFIX):
        return _retry_filter(broker, group.name)
    return broker.registered_filter(found)


def _retry_filter(broker: Replica, group: str) -> RetryFilter:
    expressions = broker.filters.get(group, {}).values()
    return RetryFilter({each.topic: compile_sql(each.expression) for each in expressions if each.expression})


def _requested(pull: _Pull) -> MessageFilter:
    """Return the filter that the request brings."""
    broker, header = pull.broker, pull.header
    kind, expression = header.expression_type, header.subscription
    try:
        if kind is None or is_tag_type(kind):
            return parse_tags(expression)
        if kind != EXPRESSION_SQL92 or not expression:
            raise SqlError(f"no expression of the type {kind}")
        if not broker.config.property_filter_enable:
            _refuse_expression(kind)
        if broker.config.filter_support_retry and header.topic.startswith(RETRY_PREFIX):
            compile_sql(expression)
            return _retry_filter(broker, header.consumer_group)
        return compile_sql(expression)
    except ValueError as error:
        remark = "parse the consumer's subscription failed"
        raise RequestError(ResponseCode.SUBSCRIPTION_PARSE_FAILED, remark) from error


def _refuse_expression(kind: str) -> NoReturn:
    remark = f"The broker does not support consumer to filter message by {kind}"
    raise RequestError(ResponseCode.SYSTEM_ERROR, remark)


def _forbid(kind: int, remark: str) -> NoReturn:
    raise RequestError(ResponseCode.NO_PERMISSION, remark, {"forbiddenType": str(kind)})
