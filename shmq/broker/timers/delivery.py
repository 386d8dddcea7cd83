"""What a message becomes when its moment has come, or when it is stored anew on the way there.

As in RocketMQ its properties stay, those of its wait with them, and say when it was put into the wheel and taken out.
"""

from shmq.broker import message_properties as names
from shmq.broker.names import HALF_TOPIC, TIMER_TOPIC
from shmq.broker.renewing import renewed
from shmq.store import properties as property_text
from shmq.store.position import NONE
from shmq.store.record import PROPERTIES_BYTES_MAX, NewRecord, StoredRecord
from shmq.wire.fields import parse_int32


def as_delivered(
    message: StoredRecord, pairs: dict[str, str], enqueued_ms: int, now_ms: int
) -> tuple[NewRecord, int]:
    """Return the record of a delivery, and its queue id; NONE where it has no place to go.

    Args:
        message: as it waited.
        pairs: its properties; these are changed.
        enqueued_ms: when it was put into the wheel.
        now_ms: the clock.
    """
    pairs[names.TIMER_ENQUEUE_MS] = str(enqueued_ms)
    pairs[names.TIMER_DEQUEUE_MS] = str(now_ms)
    topic = pairs.get(names.REAL_TOPIC, "")
    try:
        queue_id = parse_int32(pairs.get(names.REAL_QUEUE_ID, ""))
    except ValueError:
        queue_id = NONE
    if topic == HALF_TOPIC:
        queue_id = NONE
    return renewed(message, topic.encode(), queue_id, _text(pairs)), queue_id


def as_rolled(message: StoredRecord, pairs: dict[str, str], enqueued_ms: int, now_ms: int) -> NewRecord:
    """Return the record of a message that waits on; `pairs` are changed."""
    try:
        times = parse_int32(pairs.get(names.TIMER_ROLL_TIMES, "0"))
    except ValueError:
        times = 0
    pairs[names.TIMER_ENQUEUE_MS] = str(enqueued_ms)
    pairs[names.TIMER_ROLL_TIMES] = str(times + 1)
    pairs[names.TIMER_DEQUEUE_MS] = str(now_ms)
    return renewed(message, TIMER_TOPIC.encode(), 0, _text(pairs))


def _text(pairs: dict[str, str]) -> bytes:
    """Return properties as they are stored; these are changed."""
    pairs.pop(names.RECORD_CRC, None)  # of the record that waited, not of the new one
    text = property_text.join(pairs)
    if len(text) > PROPERTIES_BYTES_MAX:  # better without a note of its wait than not at all
        for name in (names.TIMER_ENQUEUE_MS, names.TIMER_DEQUEUE_MS, names.TIMER_ROLL_TIMES):
            pairs.pop(name, None)
        text = property_text.join(pairs)
    return text
