"""The checks of a send: what a message may not be. Each refuses with RocketMQ's code and words.

Every answer to a send, a refusal too, says the region and whether to trace, as clients expect.
"""

from dataclasses import replace
from typing import Final, NoReturn

from shmq.broker import message_properties as names
from shmq.broker.names import RETRY_PREFIX, TOPICS_CLOSED_TO_CLIENTS, topic_problem
from shmq.broker.replica import Replica, TopicView
from shmq.broker.transactions.half_messages import SPARE_BYTES
from shmq.config.settings import RECORD_OVERHEAD_BYTES_MAX
from shmq.errors import RequestError
from shmq.store.record import PROPERTIES_BYTES_MAX, TOPIC_BYTES_V1_MAX, NewRecord, size_of
from shmq.wire.codes import ResponseCode
from shmq.wire.flags import INNER_BATCH, PERM_WRITE
from shmq.wire.send_headers import DEFAULT_REGION, REGION_FIELD, TRACE_FIELD

_ANSWER_FIELDS: Final = {REGION_FIELD: DEFAULT_REGION, TRACE_FIELD: "true"}


def check_name(broker: Replica, name: str) -> None:
    """Refuse a topic that no client may send to, whether or not it exists."""
    topic = broker.topics.get(name)
    if not broker.config.broker_permission & PERM_WRITE and topic is not None and topic.config.order:
        remark = f"the broker[{broker.broker_host}] sending message is forbidden"
        refuse(ResponseCode.NO_PERMISSION, remark)
    problem = topic_problem(name)
    if problem is not None:
        refuse(ResponseCode.INVALID_PARAMETER, problem)
    if name in TOPICS_CLOSED_TO_CLIENTS:
        refuse(ResponseCode.NO_PERMISSION, f"Sending message to topic[{name}] is forbidden.")


def check_key(topic: TopicView, properties: dict[str, str]) -> None:
    """Refuse a message without a key where the topic keeps the last message of each key."""
    is_compacted = topic.config.attributes.get("cleanup.policy") == "COMPACTION"
    if is_compacted and not properties.get(names.KEYS, "").strip():
        refuse(ResponseCode.MESSAGE_ILLEGAL, "Required message key is missing")


def check_message(broker: Replica, topic: TopicView, sys_flag: int, properties: dict[str, str]) -> None:
    """Refuse what no queue of this broker can hold."""
    is_long = len(topic.name_bytes) > TOPIC_BYTES_V1_MAX and not topic.name.startswith(RETRY_PREFIX)
    if is_long or sys_flag & INNER_BATCH or names.INNER_COUNT in properties:
        refuse_illegal(broker)


def check_sizes(broker: Replica, records: tuple[NewRecord, ...]) -> None:
    """Refuse records beyond the limits of a message, and those that cannot be appended in one piece."""
    body_bytes_max = broker.config.message_bytes_max
    total_bytes = 0
    for record in records:
        record_bytes = size_of(record)
        total_bytes += record_bytes
        if (
            len(record.properties) > PROPERTIES_BYTES_MAX
            or len(record.body) > body_bytes_max
            or record_bytes > body_bytes_max + RECORD_OVERHEAD_BYTES_MAX
        ):
            refuse_illegal(broker)
    if total_bytes > broker.append_bytes_max:
        refuse_illegal(broker)


def check_half(broker: Replica, record: NewRecord, topic: TopicView) -> None:
    """Refuse a half message that could not be committed, or not be copied when its producers are asked for it."""
    text = record.properties + bytes(SPARE_BYTES)
    longest = replace(record, topic=max(record.topic, topic.name_bytes, key=len), properties=text)
    check_sizes(broker, (longest,))


def refuse_illegal(broker: Replica) -> NoReturn:
    """Refuse a message for what it holds, or for its size."""
    limit = broker.config.message_bytes_max
    refuse(
        ResponseCode.MESSAGE_ILLEGAL,
        "the message is illegal, maybe msg body or properties length not matched. "
        f"msg body length limit {limit}B, msg properties length limit 32KB.",
    )


def refuse_transaction(broker: Replica) -> NoReturn:
    """Refuse a message that begins a transaction, where there are to be none."""
    remark = f"the broker[{broker.broker_host}] sending transaction message is forbidden"
    refuse(ResponseCode.NO_PERMISSION, remark)


def refuse_transaction_flag() -> NoReturn:
    """Refuse a message that says of itself that it is open or rolled back: no queue would ever have it."""
    remark = (
        "a message cannot be stored as open or rolled back; a transaction begins with the property TRAN_MSG"
    )
    refuse(ResponseCode.MESSAGE_ILLEGAL, remark)


def refuse(code: int, remark: str) -> NoReturn:
    """Refuse a send."""
    raise RequestError(code, remark, dict(_ANSWER_FIELDS))
