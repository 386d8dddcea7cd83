"""Headers of pop consumption, and the texts in them that say which messages are meant.

A popped message is named by its receipt: when it was popped, for how long it is hidden, and where it lies. Clients put
it together from three texts of the answer to a pop, and hand it back as it is; fields are parted by blanks, queues by
semicolons. A topic is one of three kinds there: the topic itself, or one of the two forms of its retry topic.

    text                one part a queue
    ------------------  -------------------------------------------------------------------------
    start offset info   kind queue_id start_offset
    message offsets     kind queue_id offset,offset,...
    order counts        kind queue_id count, and a message: kind qo<queue_id>%<offset> count
    receipt             start_offset pop_time invisible_time revive_queue kind broker queue_id offset
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from shmq.errors import RequestError
from shmq.wire.codes import ResponseCode
from shmq.wire.fields import boolean, header, int32, int64, parse_int32, parse_int64, text

ORDER_REVIVE_QUEUE: Final = 999
"""The revive queue of a message that was popped in order."""

NORMAL: Final = "0"
RETRY_V1: Final = "1"
RETRY_V2: Final = "2"

INIT_MIN: Final = 0
INIT_MAX: Final = 1


@header
class PopHeader:
    """Code 200050."""

    consumer_group: str = text("consumerGroup")
    topic: str = text("topic")
    queue_id: int = int32("queueId")
    count_max: int = int32("maxMsgNums")
    invisible_ms: int = int64("invisibleTime")
    poll_ms: int = int64("pollTime")
    born_ms: int = int64("bornTime", default=0)
    init_mode: int = int32("initMode")
    expression_type: str | None = text("expType", default=None)
    expression: str | None = text("exp", default=None)
    is_order: bool = boolean("order", default=False)
    attempt_id: str | None = text("attemptId", default=None)
    broker_name: str | None = text("bname", default=None)


@header
class PopResponseHeader:
    """Stands in every answer to a pop, whether or not it brings messages."""

    pop_ms: int = int64("popTime")
    invisible_ms: int = int64("invisibleTime")
    revive_queue_id: int = int32("reviveQid")
    rest_count: int = int64("restNum")
    start_offsets: str | None = text("startOffsetInfo", default=None)
    message_offsets: str | None = text("msgOffsetInfo", default=None)
    order_counts: str | None = text("orderCountInfo", default=None)


@header
class AckHeader:
    """Code 200051; the topic is the retry topic where the message came from there."""

    consumer_group: str = text("consumerGroup")
    topic: str = text("topic")
    queue_id: int = int32("queueId")
    receipt: str = text("extraInfo")
    offset: int = int64("offset")
    broker_name: str | None = text("bname", default=None)


@header
class ChangeInvisibleHeader:
    """Code 200053."""

    consumer_group: str = text("consumerGroup")
    topic: str = text("topic")
    queue_id: int = int32("queueId")
    receipt: str = text("extraInfo")
    offset: int = int64("offset")
    invisible_ms: int = int64("invisibleTime")
    broker_name: str | None = text("bname", default=None)


@header
class ChangeInvisibleResponseHeader:
    """The answer to 200053: what the new receipt says."""

    pop_ms: int = int64("popTime")
    invisible_ms: int = int64("invisibleTime")
    revive_queue_id: int = int32("reviveQid")


@header
class NotificationHeader:
    """Code 200054."""

    consumer_group: str = text("consumerGroup")
    topic: str = text("topic")
    queue_id: int = int32("queueId")
    poll_ms: int = int64("pollTime")
    born_ms: int = int64("bornTime", default=0)
    is_order: bool = boolean("order", default=False)
    attempt_id: str | None = text("attemptId", default=None)
    broker_name: str | None = text("bname", default=None)


@header
class NotificationResponseHeader:
    """The answer to 200054."""

    has_message: bool = boolean("hasMsg")
    is_polling_full: bool = boolean("pollingFull", default=False)


@header
class PollingInfoHeader:
    """Code 200055."""

    consumer_group: str = text("consumerGroup")
    topic: str = text("topic")
    queue_id: int = int32("queueId")
    broker_name: str | None = text("bname", default=None)


@header
class PollingInfoResponseHeader:
    """The answer to 200055."""

    polling_count: int = int32("pollingNum")


class Receipt(NamedTuple):
    """Which delivery of a message is meant."""

    start_offset: int
    pop_ms: int
    invisible_ms: int
    revive_queue_id: int
    kind: str
    broker_name: str
    queue_id: int
    offset: int

    @property
    def is_order(self) -> bool:
        """Whether the message was popped in order."""
        return self.revive_queue_id == ORDER_REVIVE_QUEUE


def read_receipt(written: str, offset: int) -> Receipt:
    """Return the receipt that a client hands back; its last field, the offset, may be missing.

    Raises:
        RequestError: INVALID_PARAMETER: it is none.
    """
    fields = written.split(" ")
    try:
        return Receipt(
            start_offset=parse_int64(fields[0]),
            pop_ms=parse_int64(fields[1]),
            invisible_ms=parse_int64(fields[2]),
            revive_queue_id=parse_int32(fields[3]),
            kind=fields[4],
            broker_name=fields[5],
            queue_id=parse_int32(fields[6]),
            offset=offset,
        )
    except (IndexError, ValueError) as error:
        remark = f"the receipt {written[:128]!r} cannot be read"
        raise RequestError(ResponseCode.INVALID_PARAMETER, remark) from error


def write_receipt(receipt: Receipt) -> str:
    """Return a receipt as the property of a message holds it."""
    return " ".join(map(str, receipt))


def write_start_offset(kind: str, queue_id: int, offset: int) -> str:
    """Return where the messages of a queue begin."""
    return f"{kind} {queue_id} {offset}"


def write_offsets(kind: str, queue_id: int, offsets: Sequence[int]) -> str:
    """Return which messages of a queue there are."""
    return f"{kind} {queue_id} {','.join(map(str, offsets))}"


def write_order_counts(kind: str, queue_id: int, counts: Sequence[tuple[int, int]], least: int) -> list[str]:
    """Return how often messages of a queue were consumed before: (offset, count) of some, and the least of all."""
    parts = [f"{kind} qo{queue_id}%{offset} {count}" for offset, count in counts]
    return [*parts, f"{kind} {queue_id} {least}"]


def join_parts(parts: Iterable[str]) -> str:
    """Return the parts of all queues as one text."""
    return ";".join(parts)
