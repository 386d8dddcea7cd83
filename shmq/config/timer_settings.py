"""The settings of messages that are delivered at a moment of their own: how far ahead, how exactly, and recalling them.

Grouped by what an operator has in mind; `shmq.config.settings.Config` joins the groups.
"""

from dataclasses import dataclass
from typing import Final

from shmq.config.setting import between, duration, satisfying, setting
from shmq.config.units import DAY_MS, INT32_MAX, MIB

PRECISIONS_MS: Final = (100, 200, 500, 1000)
"""Those that RocketMQ has; every other is one of them to it, and so another layout of the wheel."""
WHEEL_SLOTS: Final = 7 * 86_400
"""So many ticks RocketMQ lets a message wait in the wheel at most; the wheel has twice as many slots."""
SPARE_SLOTS: Final = 60


@dataclass(frozen=True, kw_only=True)
class TimerSettings:
    """Messages that are delivered at a moment of their own."""

    timer_wheel_enable: bool = setting(
        True,
        "Whether messages may ask for a delay of any length. Without, they are refused; those that wait already stay "
        "where they are, and retention does not know of them.",
        java="timerWheelEnable",
    )
    timer_delay_ms_max: int = setting(
        3 * DAY_MS,
        "The longest delay of a message; what asks for more is refused. RocketMQ's three days, but years do as well: a "
        "message that waits is stored anew each time that timer_roll_window_slots have passed, so that the old parts of "
        "the log can go.",
        java="timerMaxDelaySec",
        allowed=between(1000, INT32_MAX * 1000),
    )
    timer_precision_ms: int = setting(
        1000,
        "How long a slot of the timer wheel is. It is part of the layout of the store: all who open one must agree. "
        "Delivery is exact to some milliseconds, whatever it is.",
        java="timerPrecisionMs",
        allowed=satisfying("one of 100, 200, 500, 1000", PRECISIONS_MS.__contains__),
    )
    timer_roll_window_slots: int = setting(
        172_800,
        "A message that waits for more slots than this is stored anew on the way. No file of the log is deleted that "
        "holds a waiting message, so this bounds how long one may be kept for that.",
        java="timerRollWindowSlot",
        allowed=between(2, WHEEL_SLOTS - SPARE_SLOTS),
    )
    timer_log_file_bytes: int = setting(
        100 * MIB,
        "Size of one file of the timer log; all who open a store must agree on it.",
        java="mappedFileSizeTimerLog",
        allowed=between(4096, INT32_MAX),
    )
    timer_flush_interval_ms: int = setting(
        1000,
        "How often timer log and wheel are made durable. After a power cut what was delivered since may be delivered "
        "again; nothing is lost.",
        java="timerFlushIntervalMs",
        allowed=duration(),
    )
    recall_message_enable: bool = setting(
        False,
        "Whether a producer may take back a message that waits.",
        java="recallMessageEnable",
    )
