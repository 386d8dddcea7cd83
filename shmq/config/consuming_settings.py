"""The settings of what goes on between consumers, producers and the broker beside plain sends and pulls.

`shmq.config.settings.Config` joins the groups.
"""

from dataclasses import dataclass

from shmq.config.setting import duration, setting


@dataclass(frozen=True, kw_only=True)
class ConversationSettings:
    """Resets of offsets, locks of queues, replies, and what is refused while the broker is busy."""

    use_server_side_reset_offset: bool = setting(
        True,
        "A reset of a group's offsets is done by the broker, and told to consumers at their next pull, whether or not "
        "they are online. Off: consumers that are online are told to do it.",
        java="useServerSideResetOffset",
    )
    store_reply_message_enable: bool = setting(
        True,
        "A reply is also stored, in the cluster's reply topic, after it was handed to the producer that waits for it.",
        java="storeReplyMessageEnable",
    )
    queue_lock_life_ms: int = setting(
        60_000,
        "A lock of a queue that was not asked for again for so long is over, and another member of the group may have "
        "the queue. RocketMQ reads it from the system property rocketmq.broker.rebalance.lockMaxLiveTime; consumers ask "
        "every 20 s, so it must be longer than that.",
        allowed=duration(),
    )
    broker_fast_failure_enable: bool = setting(
        True,
        "A send that waits for longer than send_wait_ms_max for room in the ring to the writer is answered SYSTEM_BUSY. "
        "Off: it waits on.",
        java="brokerFastFailureEnable",
    )
    writer_busy_ms_max: int = setting(
        3000,
        "While the writer is there and has taken nothing for so long of what waits for it, sends are refused with "
        "SYSTEM_BUSY when they come, so that their producers turn to another broker at once. A writer that starts anew "
        "is waited for. RocketMQ's nearest relative is osPageCacheBusyTimeOutMills.",
        allowed=duration(),
    )
