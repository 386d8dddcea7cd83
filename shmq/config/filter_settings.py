"""The settings of message filters: by properties, and what is kept to filter faster.

Grouped by what an operator has in mind; `shmq.config.settings.Config` joins the groups.
"""

from dataclasses import dataclass

from shmq.config.setting import between, duration, setting
from shmq.config.units import DAY_MS, INT32_MAX, KIB, MIB


@dataclass(frozen=True, kw_only=True)
class FilterSettings:
    """How messages are filtered for consumers."""

    property_filter_enable: bool = setting(
        False,
        "Take subscriptions with SQL92 expressions, which filter messages by their properties. Off, as in RocketMQ: "
        "every message that such a consumer might get must be looked at.",
        java="enablePropertyFilter",
    )
    filter_support_retry: bool = setting(
        False,
        "Where a consumer subscribes to its retry topic by an SQL92 expression, filter each message by the expression for "
        "the topic that it came from.",
        java="filterSupportRetry",
    )
    filter_servers_max: int = setting(
        0,
        "How many filter servers (`shmq-filter-server`), on which consumers run filters of their own, may register; none by "
        "default. Java's broker starts so many itself.",
        java="filterServerNums",
        allowed=between(0, 1000),
    )
    filter_retention_ms: int = setting(
        DAY_MS,
        "How long the expression of a group without consumers is kept.",
        java="filterDataCleanTimeSpan",
        allowed=duration(),
    )
    bloom_expected_count: int = setting(
        32,
        "How many groups with an SQL92 expression a topic may have before bit maps say too often that a message may match.",
        java="expectConsumerNumUseFilter",
        allowed=between(1, INT32_MAX),
    )
    bloom_error_percent: int = setting(
        20,
        "How often bit maps may say that a message may match which does not, in percent.",
        java="maxErrorRateOfBloomFilter",
        allowed=between(1, 99),
    )
    queue_extension_enable: bool = setting(
        False,
        "Keep more of each message beside its queue entry, in files under `consumequeue_ext`: its store time, and its bit map "
        "where these are made. The dispatcher then works in Python, so a message takes it some twenty times as long, and "
        "pulls that filter by tags are answered in Python too.",
        java="enableConsumeQueueExt",
    )
    queue_extension_file_bytes: int = setting(
        48 * MIB,
        "Size of one file of a queue's extension; it takes room only as far as it is filled.",
        java="mappedFileSizeConsumeQueueExt",
        allowed=between(64 * KIB, INT32_MAX),
    )
    filter_bit_maps_enable: bool = setting(
        False,
        "Evaluate the SQL92 expressions of all consumer groups when a message is dispatched, and keep the outcome in a bit "
        "map, so that a message which does not match is passed over unread when it is pulled. Has an effect only "
        "with `queue_extension_enable`.",
        java="enableCalcFilterBitMap",
    )
