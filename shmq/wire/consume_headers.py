"""Headers of what consumers ask for: pull, offsets, queries, membership.

Offsets are message numbers in a queue; a `position` is a byte of the log since its birth.
"""

from typing import Final

from shmq.wire.fields import Boundary, boolean, boundary, header, int32, int64, text

UNIQUE_KEY_QUERY_FIELD: Final = "_UNIQUE_KEY_QUERY"  # beside a QueryMessageHeader: the key is a unique id
HEARTBEAT_V2_FIELD: Final = "IS_SUPPORT_HEART_BEAT_V2"
SUBSCRIPTION_CHANGED_FIELD: Final = "IS_SUB_CHANGE"

PULL_COUNT_DEFAULT: Final = 32


@header
class PullHeader:
    """Codes 11 and 361. What the bits of sys_flag say is in flags.py (PULL_)."""

    consumer_group: str = text("consumerGroup")
    topic: str = text("topic")
    queue_id: int = int32("queueId")
    queue_offset: int = int64("queueOffset")
    message_count_max: int = int32("maxMsgNums")
    sys_flag: int = int32("sysFlag")
    commit_offset: int = int64("commitOffset")
    suspend_timeout_ms: int = int64("suspendTimeoutMillis")
    subscription: str | None = text("subscription", default=None)
    subscription_version: int = int64("subVersion")
    expression_type: str | None = text("expressionType", default=None)
    message_bytes_max: int | None = int32("maxMsgBytes", default=None)
    request_source: int | None = int32("requestSource", default=None)
    proxy_forward_client_id: str | None = text("proxyFrowardClientId", default=None)
    broker_name: str | None = text("bname", default=None)


@header
class PullResponseHeader:
    """Stands in every answer of 0, 19, 20 and 21; of the refusals with 16 only forbidden_type is read."""

    suggested_broker_id: int = int64("suggestWhichBrokerId")
    next_offset: int = int64("nextBeginOffset")
    min_offset: int = int64("minOffset")
    max_offset: int = int64("maxOffset")
    offset_delta: int | None = int64("offsetDelta", default=None)
    topic_sys_flag: int | None = int32("topicSysFlag", default=None)
    group_sys_flag: int | None = int32("groupSysFlag", default=None)
    forbidden_type: int | None = int32("forbiddenType", default=None)


@header
class QueryOffsetHeader:
    """Code 14: how far has this group consumed this queue."""

    consumer_group: str = text("consumerGroup")
    topic: str = text("topic")
    queue_id: int = int32("queueId")
    zero_if_not_found: bool = boolean("setZeroIfNotFound", default=True)
    broker_name: str | None = text("bname", default=None)


@header
class UpdateOffsetHeader:
    """Code 15: so far has this group consumed this queue."""

    consumer_group: str = text("consumerGroup")
    topic: str = text("topic")
    queue_id: int = int32("queueId")
    commit_offset: int = int64("commitOffset")
    broker_name: str | None = text("bname", default=None)


@header
class SearchOffsetHeader:
    """Code 29: the offset of a point in time."""

    topic: str = text("topic")
    queue_id: int = int32("queueId")
    timestamp_ms: int = int64("timestamp")
    edge: Boundary = boundary("boundaryType", default=Boundary.LOWER)
    broker_name: str | None = text("bname", default=None)


@header
class ConsumeQueueHeader:
    """Code 321: entries of a queue as they are, for an administrator."""

    topic: str = text("topic")
    queue_id: int = int32("queueId", default=0)
    index: int = int64("index", default=0)
    count: int = int32("count", default=0)
    consumer_group: str | None = text("consumerGroup", default=None)
    broker_name: str | None = text("bname", default=None)


@header
class MaxOffsetHeader:
    """Code 30."""

    topic: str = text("topic")
    queue_id: int = int32("queueId")
    committed: bool = boolean("committed", default=True)
    broker_name: str | None = text("bname", default=None)


@header
class MinOffsetHeader:
    """Code 31."""

    topic: str = text("topic")
    queue_id: int = int32("queueId")
    broker_name: str | None = text("bname", default=None)


@header
class OffsetResponseHeader:
    """The answer to 14, 29, 30 and 31."""

    offset: int = int64("offset")


@header
class EarliestStoreTimeHeader:
    """Code 32."""

    topic: str = text("topic")
    queue_id: int = int32("queueId")
    broker_name: str | None = text("bname", default=None)


@header
class EarliestStoreTimeResponseHeader:
    """The answer to 32; -1 where the queue holds nothing."""

    timestamp_ms: int = int64("timestamp")


@header
class ViewMessageHeader:
    """Code 33: the message at a position of the log."""

    position: int = int64("offset")
    topic: str | None = text("topic", default=None)


@header
class QueryMessageHeader:
    """Code 12: the messages of a key."""

    topic: str = text("topic")
    key: str = text("key")
    message_count_max: int = int32("maxNum")
    begin_timestamp_ms: int = int64("beginTimestamp")
    end_timestamp_ms: int = int64("endTimestamp")


@header
class QueryMessageResponseHeader:
    """How far the key index had come when it answered."""

    index_timestamp_ms: int = int64("indexLastUpdateTimestamp")
    index_position: int = int64("indexLastUpdatePhyoffset")


@header
class GetConsumerListHeader:
    """Code 38: who consumes in this group."""

    consumer_group: str = text("consumerGroup")


@header
class NotifyConsumerIdsChangedHeader:
    """Code 40, to consumers: the group has other members now."""

    consumer_group: str = text("consumerGroup")


@header
class UnregisterClientHeader:
    """Code 35: a client leaves the groups it names."""

    client_id: str = text("clientID")
    producer_group: str | None = text("producerGroup", default=None)
    consumer_group: str | None = text("consumerGroup", default=None)


@header
class RegisterFilterServerHeader:
    """Code 301: a filter server is there."""

    address: str = text("filterServerAddr")


@header
class RegisterFilterServerResponseHeader:
    """The answer to 301: whose filter server it is."""

    broker_name: str = text("brokerName")
    broker_id: int = int64("brokerId")


@header
class RegisterFilterClassHeader:
    """Code 302: a consumer uploads a filter to a filter server; the body is its source."""

    consumer_group: str = text("consumerGroup")
    topic: str = text("topic")
    class_name: str = text("className")
    class_crc32: int = int32("classCRC")


@header
class HeartbeatResponseHeader:
    """The answer to 34, to be written whatever the heartbeat's version."""

    supports_v2: bool = boolean(HEARTBEAT_V2_FIELD, default=True)
    subscription_changed: bool = boolean(SUBSCRIPTION_CHANGED_FIELD, default=True)
