"""The settings of pop consumption, and of who consumes which queue in which way."""

from dataclasses import dataclass

from shmq.config.setting import between, one_of, quantity, setting
from shmq.config.units import INT32_MAX


@dataclass(frozen=True, kw_only=True)
class PopSettings:
    """Pop consumption, and assignment of queues by the broker."""

    pop_held_per_queue_max: int = setting(
        1024,
        "Most pops that each network worker holds for one topic, group and queue while there is no message; more are "
        "answered with POLLING_FULL.",
        java="popPollingSize",
        allowed=quantity(),
    )
    pop_held_max: int = setting(
        100_000,
        "Most pops that each network worker holds altogether.",
        java="maxPopPollingSize",
        allowed=quantity(),
    )
    pop_retry_first_percent: int = setting(
        20,
        "How many of a hundred pops look for messages to be tried again before they look for new ones; the others look "
        "for them last.",
        java="popFromRetryProbability",
        allowed=between(0, 100),
    )
    pop_retry_topic_v2_enable: bool = setting(
        False,
        "Whether messages to be tried again go to `%RETRY%group+topic`, rather than `%RETRY%group_topic`.",
        java="enableRetryTopicV2",
    )
    pop_retry_topic_v1_enable: bool = setting(
        True,
        "Whether, with pop_retry_topic_v2_enable, each other pop looks into `%RETRY%group_topic`, for what is left there.",
        java="retrieveMessageFromPopRetryTopicV1",
    )
    pop_actual_retry_topic_enable: bool = setting(
        False,
        "Whether messages that are tried again are given with the name of their retry topic, not of their own.",
        java="popResponseReturnActualRetryTopic",
    )
    pop_young_topic_enable: bool = setting(
        True,
        "Whether a new group that asks for new messages alone gets all, where the first one is still in memory.",
        java="initPopOffsetByCheckMsgInMem",
    )
    pop_in_flight_limit_enable: bool = setting(
        False,
        "Whether no more is popped from a queue by a group that has pop_in_flight_max messages of it.",
        java="enablePopMessageThreshold",
    )
    pop_in_flight_max: int = setting(
        10_000,
        "Most messages of a queue that a group may have popped and not acknowledged, if pop_in_flight_limit_enable.",
        java="popInflightMessageThreshold",
        allowed=quantity(),
    )
    pop_dead_letter_enable: bool = setting(
        True,
        "Whether a message that was popped and not acknowledged more often than the group's retryMaxTimes goes to the "
        "group's dead letters. A Java broker tries it again for ever, and leaves it to clients to give up, which drops it.",
    )
    request_mode: str = setting(
        "PULL",
        "How consumers that have the broker assign queues ask for messages, where nothing was set for topic and group.",
        java="defaultMessageRequestMode",
        allowed=one_of("PULL", "POP"),
    )
    pop_share_count: int = setting(
        -1,
        "With how many of its group's members a consumer shares its queues where request_mode is POP; with all where it "
        "is 0 or less.",
        java="defaultPopShareQueueNum",
        allowed=between(-1, INT32_MAX),
    )
    assignment_enable: bool = setting(
        True,
        "Whether the broker shares queues out among consumers that ask it to; otherwise each gets all.",
        java="serverLoadBalancerEnable",
    )
