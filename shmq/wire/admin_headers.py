"""Headers of what administrators ask a broker for: topics, groups, offsets, connections, statistics.

Several requests give nothing but a topic, or nothing but a group: they share a header.
"""

from shmq.wire.fields import boolean, header, int32, int64, text


@header
class TopicHeader:
    """Codes 202, 215, 300, 351: a topic; logical asks for one whose queues move between brokers."""

    topic: str = text("topic")
    logical: bool | None = boolean("lo", default=None)


@header
class GroupHeader:
    """Codes 343 and 352: a consumer group, under the name `group`."""

    group: str = text("group")


@header
class ConsumerGroupHeader:
    """Code 203: a consumer group, under the name `consumerGroup`."""

    consumer_group: str = text("consumerGroup")


@header
class ProducerGroupHeader:
    """Code 204: a producer group."""

    producer_group: str = text("producerGroup")


@header
class CreateTopicHeader:
    """Codes 17 and 513. attributes is `+key=value` and `-key`, joined by commas."""

    topic: str = text("topic")
    default_topic: str = text("defaultTopic")
    read_queue_count: int = int32("readQueueNums")
    write_queue_count: int = int32("writeQueueNums")
    permission: int = int32("perm")
    topic_filter_type: str = text("topicFilterType")
    topic_sys_flag: int = int32("topicSysFlag", default=0)
    order: bool = boolean("order", default=False)
    attributes: str | None = text("attributes", default=None)
    force: bool = boolean("force", default=False)


@header
class GetAllTopicsHeader:
    """Code 21: a page of the topics. Old clients give none of the fields, and want them all."""

    topic_index: int | None = int32("topicSeq", default=None)
    topic_count_max: int | None = int32("maxTopicNum", default=None)
    data_version: str | None = text("dataVersion", default=None)


@header
class GetAllTopicsResponseHeader:
    """How many topics there are in all; clients ask for pages only if it is there."""

    topic_count: int = int32("totalTopicNum")


@header
class GetAllGroupsHeader:
    """Code 201: a page of the subscription groups."""

    group_index: int | None = int32("groupSeq", default=None)
    group_count_max: int | None = int32("maxGroupNum", default=None)
    data_version: str | None = text("dataVersion", default=None)


@header
class GetAllGroupsResponseHeader:
    """How many groups there are in all."""

    group_count: int = int32("totalGroupNum")


@header
class DeleteGroupHeader:
    """Code 207."""

    group_name: str = text("groupName")
    clean_offset: bool = boolean("cleanOffset", default=False)


@header
class GroupForbiddenHeader:
    """Code 353: may this group read this topic; without readable only ask."""

    group: str = text("group")
    topic: str = text("topic")
    readable: bool | None = boolean("readable", default=None)


@header
class BrokerConfigResponseHeader:
    """The answer to 26: the version of the configuration as the JSON of a DataVersion."""

    version: str = text("version")


@header
class ConsumeStatsHeader:
    """Code 208. topic_list is joined by semicolons."""

    consumer_group: str = text("consumerGroup")
    topic: str | None = text("topic", default=None)
    topic_list: str | None = text("topicList", default=None)


@header
class BrokerConsumeStatsHeader:
    """Code 317."""

    order: bool = boolean("isOrder", default=False)


@header
class ResetOffsetHeader:
    """Code 222, and 220 to consumers. A timestamp of -1 is the end; a queue_id of -1 is every queue."""

    topic: str = text("topic")
    group: str = text("group")
    timestamp_ms: int = int64("timestamp")
    force: bool = boolean("isForce", default=False)
    queue_id: int = int32("queueId", default=-1)
    offset: int | None = int64("offset", default=None)


@header
class ConsumerStatusHeader:
    """Code 223, and 221 to consumers. client_id goes under the name `clientAddr`."""

    topic: str = text("topic")
    group: str = text("group")
    client_id: str | None = text("clientAddr", default=None)


@header
class ConsumerRunningInfoHeader:
    """Code 307, from an administrator and on to the consumer."""

    consumer_group: str = text("consumerGroup")
    client_id: str = text("clientId")
    with_stacks: bool = boolean("jstackEnable", default=False)


@header
class ConsumeDirectlyHeader:
    """Code 309, from an administrator and on to the consumer."""

    consumer_group: str = text("consumerGroup")
    client_id: str | None = text("clientId", default=None)
    message_id: str | None = text("msgId", default=None)
    broker_name: str | None = text("brokerName", default=None)
    topic: str | None = text("topic", default=None)
    topic_sys_flag: int | None = int32("topicSysFlag", default=None)
    group_sys_flag: int | None = int32("groupSysFlag", default=None)


@header
class TopicGroupHeader:
    """Code 303: a topic and a group."""

    topic: str = text("topic")
    group: str = text("group")


@header
class GroupSubscriptionHeader:
    """Code 345: a group, and one of its topics or all."""

    group: str = text("group")
    topic: str | None = text("topic", default=None)


@header
class CorrectionOffsetHeader:
    """Code 308."""

    filter_groups: str | None = text("filterGroups", default=None)
    compare_group: str = text("compareGroup")
    topic: str = text("topic")


@header
class CloneOffsetHeader:
    """Code 314."""

    source_group: str = text("srcGroup")
    target_group: str = text("destGroup")
    topic: str | None = text("topic", default=None)
    offline: bool = boolean("offline", default=False)


@header
class BrokerStatsHeader:
    """Code 315."""

    stats_name: str = text("statsName")
    stats_key: str = text("statsKey")


@header
class QueryConsumeQueueHeader:
    """Code 321: count entries of a consume queue, from index on."""

    topic: str | None = text("topic", default=None)
    queue_id: int = int32("queueId", default=0)
    index: int = int64("index", default=0)
    count: int = int32("count", default=0)
    consumer_group: str | None = text("consumerGroup", default=None)


@header
class ResumeHalfMessageHeader:
    """Code 323."""

    topic: str | None = text("topic", default=None)
    message_id: str | None = text("msgId", default=None)
