"""Headers of what producers ask for: send, batch send, reply, send back, end transaction.

One SendHeader serves five request codes. 10 and 324 write its long names, 310, 320 and 325 the one-letter
ones; whether the body is a batch is said by the field `batch`, not by the code.
"""

from typing import Final

from shmq.wire.codes import RequestCode
from shmq.wire.fields import boolean, header, int32, int64, text

SHORT_SEND_CODES: Final = frozenset(
    (RequestCode.SEND_MESSAGE_V2, RequestCode.SEND_BATCH_MESSAGE, RequestCode.SEND_REPLY_MESSAGE_V2)
)

# Fields of a send's answer that stand beside its header: clients read them for tracing.
REGION_FIELD: Final = "MSG_REGION"
TRACE_FIELD: Final = "TRACE_ON"
DEFAULT_REGION: Final = "DefaultRegion"


@header
class SendHeader:
    """Codes 10, 310, 320, 324, 325.

    A queue_id below 0 leaves the queue to the broker; default_topic is the template of a topic that does
    not exist yet.
    """

    producer_group: str = text("producerGroup", "a")
    topic: str = text("topic", "b")
    default_topic: str = text("defaultTopic", "c")
    default_topic_queue_count: int = int32("defaultTopicQueueNums", "d")
    queue_id: int = int32("queueId", "e")
    sys_flag: int = int32("sysFlag", "f")
    born_timestamp_ms: int = int64("bornTimestamp", "g")
    flag: int = int32("flag", "h")
    properties: str | None = text("properties", "i", default=None)
    reconsume_times: int = int32("reconsumeTimes", "j", default=0)
    unit_mode: bool = boolean("unitMode", "k", default=False)
    reconsume_times_max: int | None = int32("maxReconsumeTimes", "l", default=None)
    batch: bool = boolean("batch", "m", default=False)
    broker_name: str | None = text("bname", "n", default=None)


@header
class SendResponseHeader:
    """What a stored message's producer learns; of a batch the ids joined by commas and the first offset."""

    message_id: str = text("msgId")
    queue_id: int = int32("queueId")
    queue_offset: int = int64("queueOffset")
    transaction_id: str | None = text("transactionId", default=None)
    batch_unique_id: str | None = text("batchUniqId", default=None)
    recall_handle: str | None = text("recallHandle", default=None)
    region_id: str | None = text(REGION_FIELD, default=None)
    trace_on: bool | None = boolean(TRACE_FIELD, default=None)


@header
class SendBackHeader:
    """Code 36: a consumer gives a message back, to have it again later.

    A delay_level of 0 leaves the delay to the broker, below 0 sends the message to the dead letters.
    """

    position: int = int64("offset")
    group: str = text("group")
    delay_level: int = int32("delayLevel")
    origin_message_id: str | None = text("originMsgId", default=None)
    origin_topic: str | None = text("originTopic", default=None)
    unit_mode: bool = boolean("unitMode", default=False)
    reconsume_times_max: int | None = int32("maxReconsumeTimes", default=None)
    broker_name: str | None = text("bname", default=None)


@header
class RecallHeader:
    """Code 370: a producer takes a message back that waits; the handle came with the answer to its send."""

    producer_group: str | None = text("producerGroup", default=None)
    topic: str = text("topic")
    recall_handle: str = text("recallHandle")
    broker_name: str | None = text("bname", default=None)


@header
class RecallResponseHeader:
    """What a recall's producer learns: the unique key of the message."""

    message_id: str = text("msgId")
    region_id: str | None = text(REGION_FIELD, default=None)


@header
class EndTransactionHeader:
    """Code 37: commit_or_rollback is one of the TRANSACTION_ values of flags.py."""

    topic: str | None = text("topic", default=None)
    producer_group: str = text("producerGroup")
    half_queue_offset: int = int64("tranStateTableOffset")
    position: int = int64("commitLogOffset")
    commit_or_rollback: int = int32("commitOrRollback")
    from_check: bool = boolean("fromTransactionCheck", default=False)
    message_id: str = text("msgId")
    transaction_id: str | None = text("transactionId", default=None)
    broker_name: str | None = text("bname", default=None)


@header
class CheckTransactionHeader:
    """Code 39, to a producer: say how the transaction of the half message in the body ended."""

    topic: str | None = text("topic", default=None)
    half_queue_offset: int = int64("tranStateTableOffset")
    position: int = int64("commitLogOffset")
    message_id: str | None = text("msgId", default=None)
    transaction_id: str | None = text("transactionId", default=None)
    offset_message_id: str | None = text("offsetMsgId", default=None)
    broker_name: str | None = text("bname", default=None)


@header
class PushReplyHeader:
    """Code 326, to a producer: the reply to its request. Hosts are `ip:port`."""

    producer_group: str = text("producerGroup")
    topic: str = text("topic")
    default_topic: str = text("defaultTopic")
    default_topic_queue_count: int = int32("defaultTopicQueueNums")
    queue_id: int = int32("queueId")
    sys_flag: int = int32("sysFlag")
    born_timestamp_ms: int = int64("bornTimestamp")
    flag: int = int32("flag")
    properties: str | None = text("properties", default=None)
    reconsume_times: int = int32("reconsumeTimes", default=0)
    unit_mode: bool = boolean("unitMode", default=False)
    born_host: str = text("bornHost")
    store_host: str = text("storeHost")
    store_timestamp_ms: int = int64("storeTimestamp")
