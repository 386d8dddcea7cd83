"""The checks that all requests of pop consumption share, in RocketMQ's order and words."""

from shmq.broker.filters import MessageFilter, is_tag_type, parse_tags
from shmq.broker.replica import GroupView, Replica, TopicView
from shmq.broker.sql.compiling import compile_sql
from shmq.errors import RequestError
from shmq.wire.codes import ResponseCode
from shmq.wire.flags import PERM_READ
from shmq.wire.heartbeat_bodies import EXPRESSION_SQL92


def check_readable(broker: Replica, action: str) -> None:
    """Refuse where nobody may read from the broker."""
    if not broker.config.broker_permission & PERM_READ:
        remark = f"the broker[{broker.broker_host}] {action} is forbidden"
        raise RequestError(ResponseCode.NO_PERMISSION, remark)


def existing_topic(broker: Replica, name: str) -> TopicView:
    """Return a topic.

    Raises:
        RequestError: TOPIC_NOT_EXIST.
    """
    topic = broker.topics.get(name)
    if topic is None:
        raise RequestError(ResponseCode.TOPIC_NOT_EXIST, f"topic[{name}] not exist, apply first please!")
    return topic


def readable_topic(broker: Replica, name: str, queue_id: int) -> TopicView:
    """Return a topic whose queue may be read; every negative queue id means any queue.

    Raises:
        RequestError: TOPIC_NOT_EXIST, NO_PERMISSION, INVALID_PARAMETER.
    """
    topic = existing_topic(broker, name)
    if not topic.config.permission & PERM_READ:
        raise RequestError(
            ResponseCode.NO_PERMISSION, f"the topic[{topic.name}] peeking message is forbidden"
        )
    if queue_id >= topic.config.read_queue_count:
        raise RequestError(ResponseCode.INVALID_PARAMETER, _bad_queue(topic, queue_id))
    return topic


def popped_queue(broker: Replica, name: str, queue_id: int) -> TopicView:
    """Return the topic of a queue that messages were popped from.

    Raises:
        RequestError: TOPIC_NOT_EXIST, MESSAGE_ILLEGAL.
    """
    topic = existing_topic(broker, name)
    if not 0 <= queue_id < topic.config.read_queue_count:
        raise RequestError(ResponseCode.MESSAGE_ILLEGAL, _bad_queue(topic, queue_id))
    return topic


def consuming_group(broker: Replica, name: str) -> GroupView:
    """Return a group that may consume.

    Raises:
        RequestError: SUBSCRIPTION_GROUP_NOT_EXIST, NO_PERMISSION.
    """
    group = broker.groups.get(name)
    if group is None:
        remark = f"subscription group [{name}] does not exist"
        raise RequestError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark)
    if not group.config.consume_enable:
        raise RequestError(ResponseCode.NO_PERMISSION, f"subscription group no permission, {name}")
    return group


def requested_filter(expression: str | None, kind: str | None) -> MessageFilter:
    """Return the filter that a request brings; None where it wants all messages.

    Pops may select by properties whether or not pulls may, as with RocketMQ.

    Raises:
        RequestError: SUBSCRIPTION_PARSE_FAILED.
    """
    if not expression:
        return None
    try:
        if is_tag_type(kind):
            return parse_tags(expression)
        if kind == EXPRESSION_SQL92:
            return compile_sql(expression)
    except ValueError as error:
        raise _unreadable() from error
    raise _unreadable()


def _unreadable() -> RequestError:
    return RequestError(ResponseCode.SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed")


def _bad_queue(topic: TopicView, queue_id: int) -> str:
    count = topic.config.read_queue_count
    return f"queueId[{queue_id}] is illegal, topic:[{topic.name}] topicConfig.readQueueNums:[{count}]"
