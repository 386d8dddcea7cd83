"""Messages that ask for a moment of their own: what that is, where they wait, and the handle that takes them back.

The moment is a delay in seconds, else one in milliseconds, else a time. It is floored to the precision of the timer wheel,
as RocketMQ does: a time that is a multiple of it becomes the tick before. A handle names that tick and 1 ms more,
so that what takes the message back is floored to the same tick.
"""

import base64
import binascii
from typing import Final, NamedTuple, NoReturn

from shmq.broker import message_properties as names
from shmq.broker.names import RETRY_PREFIX, TIMER_TOPIC
from shmq.broker.send_checks import refuse
from shmq.config.settings import Config
from shmq.config.units import SECOND_MS
from shmq.errors import RequestError
from shmq.wire.codes import ResponseCode
from shmq.wire.fields import parse_int64

HANDLE_VERSION: Final = "v1"
_HANDLE_WORDS: Final = 5


class RecallHandle(NamedTuple):
    """What a producer takes a message back with.

    Attributes:
        topic: the message's.
        broker_name: of the broker that stored it.
        time_text: its tick and 1 ms more, as text.
        unique_key: the message's.
    """

    topic: str
    broker_name: str
    time_text: str
    unique_key: str


def is_timed(topic: str, properties: dict[str, str]) -> bool:
    """Whether a message without a delay level asks for a moment of its own."""
    if topic == TIMER_TOPIC or names.TIMER_OUT_MS in properties:
        return False
    return any(name in properties for name in names.TIMER_DELAYS)


def to_timed(settings: Config, properties: dict[str, str], topic: str, queue_id: int, now_ms: int) -> bool:
    """Write into properties of a message without a delay level when it is to go where.

    Returns:
        False, with nothing written, where it asks for no such moment, or for one that is past.

    Raises:
        RequestError: there are no timers, or the moment is none or too far away.
    """
    if not is_timed(topic, properties):
        return False
    if not settings.timer_wheel_enable:
        refuse(ResponseCode.SYSTEM_ERROR, "accurate timer message is not enabled, timerWheelEnable is false")
    deliver_ms = _moment_ms(settings, properties, now_ms)
    if deliver_ms <= now_ms:
        if names.TIMER_RECALLED_KEY in properties:
            _refuse_moment(settings)
        return False
    if deliver_ms - now_ms > settings.timer_delay_ms_max:
        _refuse_moment(settings)
    properties[names.TIMER_OUT_MS] = str(tick_ms(deliver_ms, settings.timer_precision_ms))
    properties[names.REAL_TOPIC] = topic
    properties[names.REAL_QUEUE_ID] = str(queue_id)
    return True


def tick_ms(deliver_ms: int, precision_ms: int) -> int:
    """The tick of a moment, in ms: the last one before it."""
    return (deliver_ms - 1) // precision_ms * precision_ms


def recall_handle(broker_name: str, properties: dict[str, str]) -> str | None:
    """The handle of a message as it was stored; None where it cannot be taken back."""
    out_ms, topic = properties.get(names.TIMER_OUT_MS), properties.get(names.REAL_TOPIC)
    if out_ms is None or topic is None or topic.startswith(RETRY_PREFIX):
        return None
    try:
        time_text = str(parse_int64(out_ms) + 1)
    except ValueError:
        return None  # the client's own, of a message that does not wait
    words = (HANDLE_VERSION, topic, broker_name, time_text, properties.get(names.UNIQUE_KEY, ""))
    return base64.urlsafe_b64encode(" ".join(words).encode()).decode()


def read_handle(text: str) -> RecallHandle:
    """Read a handle.

    Raises:
        RequestError: it is none.
    """
    try:
        padded = text + "=" * (-len(text) % 4)
        words = base64.b64decode(padded, altchars=b"-_", validate=True).decode("utf-8", "replace").split(" ")
    except (binascii.Error, ValueError):
        words = []
    if len(words) < _HANDLE_WORDS or words[0] != HANDLE_VERSION:
        raise RequestError(ResponseCode.ILLEGAL_OPERATION, "recall handle is invalid")
    return RecallHandle(*words[1:_HANDLE_WORDS])


def recalled_key(topic: str, unique_key: str) -> str:
    """What a recall calls a message."""
    return f"{topic}+{unique_key}"


def _moment_ms(settings: Config, properties: dict[str, str], now_ms: int) -> int:
    try:
        if names.TIMER_DELAY_SEC in properties:
            return now_ms + parse_int64(properties[names.TIMER_DELAY_SEC]) * SECOND_MS
        if names.TIMER_DELAY_MS in properties:
            return now_ms + parse_int64(properties[names.TIMER_DELAY_MS])
        return parse_int64(properties[names.TIMER_DELIVER_MS])
    except ValueError:
        _refuse_moment(settings)


def _refuse_moment(settings: Config) -> NoReturn:
    limit_ms = settings.timer_delay_ms_max
    refuse(
        ResponseCode.MESSAGE_ILLEGAL,
        f"timer message illegal, the delay time should not be bigger than the max delay {limit_ms}ms; "
        "or if set del msg, the delay time should be bigger than the current time",
    )
