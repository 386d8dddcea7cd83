"""The settings of message filters: by properties, and what is kept to filter faster.

Grouped by what an operator has in mind; `shmq.config.settings.Config` joins the groups.
"""

from dataclasses import dataclass

from shmq.config.setting import between, duration, setting
from shmq.config.units import DAY_MS, INT32_MAX


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
