"""Names of the message properties that the broker reads and writes, and what it makes of a delayed message's.

A message's properties are a dictionary of texts here, and one string in the record (`shmq.store.properties`).
"""

from typing import Final

from shmq.wire.fields import parse_boolean, parse_int32

KEYS: Final = "KEYS"
TAGS: Final = "TAGS"
WAIT: Final = "WAIT"
UNIQUE_KEY: Final = "UNIQ_KEY"
CLUSTER: Final = "CLUSTER"
REGION: Final = "MSG_REGION"
TRACE: Final = "TRACE_ON"
DELAY: Final = "DELAY"
REAL_TOPIC: Final = "REAL_TOPIC"
REAL_QUEUE_ID: Final = "REAL_QID"
RETRY_TOPIC: Final = "RETRY_TOPIC"
ORIGIN_MESSAGE_ID: Final = "ORIGIN_MESSAGE_ID"
DLQ_ORIGIN_TOPIC: Final = "DLQ_ORIGIN_TOPIC"
DLQ_ORIGIN_MESSAGE_ID: Final = "DLQ_ORIGIN_MESSAGE_ID"
HALF_MESSAGE: Final = "TRAN_MSG"
PRODUCER_GROUP: Final = "PGROUP"
TRANSACTION_ID: Final = "__transactionId__"
CHECK_TIMES: Final = "TRANSACTION_CHECK_TIMES"
CHECK_IMMUNITY_S: Final = "CHECK_IMMUNITY_TIME_IN_SECONDS"
FIRST_HALF_OFFSET: Final = "TRAN_PREPARED_QUEUE_OFFSET"
REPLY_TO_CLIENT: Final = "REPLY_TO_CLIENT"
PUSH_REPLY_TIME: Final = "PUSH_REPLY_TIME"
POP_CHECK_POINT: Final = "POP_CK"
FIRST_POP_TIME: Final = "1ST_POP_TIME"
INNER_COUNT: Final = "INNER_NUM"
RECORD_CRC: Final = "__CRC32#"
BORN_TIMESTAMP: Final = "BORN_TIMESTAMP"
TIMER_OUT_MS: Final = "TIMER_OUT_MS"
TIMER_ENQUEUE_MS: Final = "TIMER_ENQUEUE_MS"
TIMER_DEQUEUE_MS: Final = "TIMER_DEQUEUE_MS"
TIMER_ROLL_TIMES: Final = "TIMER_ROLL_TIMES"
TIMER_RECALLED_KEY: Final = "TIMER_DEL_UNIQKEY"
TIMER_DELIVER_MS: Final = "TIMER_DELIVER_MS"
TIMER_DELAY_SEC: Final = "TIMER_DELAY_SEC"
TIMER_DELAY_MS: Final = "TIMER_DELAY_MS"
TIMER_DELAYS: Final = (TIMER_DELIVER_MS, TIMER_DELAY_SEC, TIMER_DELAY_MS)
"""What a producer asks an arbitrary delay with."""

NO_DELAY: Final = "-1"


def delay_level(properties: dict[str, str]) -> int:
    """Return the delay level that is asked for; 0 or less for none.

    Raises:
        ValueError: it is not a number.
    """
    level = properties.get(DELAY)
    return 0 if level is None else parse_int32(level)


def waits_for_store(properties: dict[str, str]) -> bool:
    """Whether the producer wants to know that the message is safe, not only that it is stored."""
    wait = properties.get(WAIT)
    return wait is None or parse_boolean(wait)


def to_delayed(properties: dict[str, str], topic: str, queue_id: int, level: int) -> int:
    """Write into properties where the message is bound for; return its queue in the schedule topic meanwhile."""
    for name in TIMER_DELAYS:
        properties.pop(name, None)  # the level goes first
    properties[DELAY] = str(level)
    properties[REAL_TOPIC] = topic
    properties[REAL_QUEUE_ID] = str(queue_id)
    return level - 1
