"""The records of a transaction: what a half message is made of, and what is made of it.

    record     topic                         what
    ---------  ----------------------------  ----------------------------------------------------------------
    half       RMQ_SYS_TRANS_HALF_TOPIC      the message as it came, with the topic and queue it is bound for
    copy       RMQ_SYS_TRANS_HALF_TOPIC      a half message again, at the queue's end: it replaces the ones before
    final      the one it is bound for       the message, committed; it says where its half message lies
    expired    TRANS_CHECK_MAX_TIME_TOPIC    a half message that is asked for no more
    operation  RMQ_SYS_TRANS_OP_HALF_TOPIC   the queue offsets of half messages that are decided: `12,15,`

All of them are RocketMQ's, and either broker goes on with what the other has left. A transaction is known by its
`root`, the queue offset of its first half message; each copy names it, in a property that RocketMQ has for copies of
its own (TRAN_PREPARED_QUEUE_OFFSET). Copies that RocketMQ made because of a check do not: each is a root to us.
"""

import struct
from dataclasses import replace
from typing import Final, NamedTuple

from shmq.broker import message_properties as names
from shmq.broker.message_ids import offset_id
from shmq.broker.names import CHECKED_TOO_OFTEN_TOPIC, HALF_OPERATION_TOPIC, HALF_TOPIC
from shmq.broker.renewing import renewed
from shmq.store import properties as property_text
from shmq.store import record
from shmq.store.host import Host
from shmq.store.position import NONE
from shmq.store.record import PROPERTIES_BYTES_MAX, NewRecord, StoredRecord
from shmq.wire.codes import RequestCode
from shmq.wire.command import FLAG_ONEWAY, Command
from shmq.wire.fields import parse_int64, write_header
from shmq.wire.flags import TRANSACTION_COMMIT, TRANSACTION_NONE, transaction_type, with_transaction_type
from shmq.wire.send_headers import CheckTransactionHeader

HALF_QUEUE: Final = 0
SPARE_BYTES: Final = 128
"""So much longer a half message may become: a copy names its root and how often was asked."""

_OPERATION_TAG: Final = "d"
_HALF_TOPIC: Final = HALF_TOPIC.encode()
_EXPIRED_TOPIC: Final = CHECKED_TOO_OFTEN_TOPIC.encode()


def to_half(properties: dict[str, str], topic: str, queue_id: int) -> None:
    """Write into a message's properties where it is bound for; what only the broker may say of it is taken out.

    It waits for its transaction and for nothing else: RocketMQ's clients leave a delay out too.
    """
    for name in (names.DELAY, *names.TIMER_DELAYS, names.CHECK_TIMES, names.FIRST_HALF_OFFSET):
        properties.pop(name, None)
    properties[names.TRANSACTION_ID] = properties[names.UNIQUE_KEY]
    properties[names.REAL_TOPIC] = topic
    properties[names.REAL_QUEUE_ID] = str(queue_id)


class Half:
    """A half message that is stored, a copy, or an expired one.

    Attributes:
        message: the record.
        properties: of it.
        topic: where the message is bound for; empty where it does not say.
        queue_id: the queue there, or NONE.
    """

    def __init__(self, message: StoredRecord) -> None:
        self.message = message
        self.properties = property_text.parse(message.properties)
        self.topic = self.properties.get(names.REAL_TOPIC, "")
        self.queue_id = max(self._number(names.REAL_QUEUE_ID, NONE), NONE)

    @property
    def root(self) -> int:
        """The queue offset of the transaction's first half message; NONE of an expired one that does not know it."""
        own = self.message.queue_offset if self.message.topic == _HALF_TOPIC else NONE
        first = self._number(names.FIRST_HALF_OFFSET, own)
        return first if first >= 0 and (own == NONE or first < own) else own

    @property
    def check_times(self) -> int:
        """How often its producers were asked."""
        return max(self._number(names.CHECK_TIMES, 0), 0)

    @property
    def group(self) -> str:
        """The producer group that decides."""
        return self.properties.get(names.PRODUCER_GROUP, "")

    def immunity_ms(self, timeout_ms: int) -> int | None:
        """For how long it wants not to be asked for, no less than the timeout; None where it does not say."""
        if names.CHECK_IMMUNITY_S not in self.properties:
            return None
        return max(self._number(names.CHECK_IMMUNITY_S, 0) * 1000, timeout_ms)

    def final(self) -> NewRecord:
        """The message, committed; its properties stay those of the half message, as consumers of RocketMQ see them."""
        text = self.message.properties
        if names.RECORD_CRC in self.properties:
            text = property_text.join(self._kept())
        sys_flag = with_transaction_type(self.message.sys_flag, TRANSACTION_COMMIT)
        return self._renewed(self.topic.encode(), self.queue_id, text, sys_flag, self.message.position)

    def is_final(self, message: StoredRecord) -> bool:
        """Whether a message is this one, committed."""
        return (
            message.prepared_position == self.message.position
            and transaction_type(message.sys_flag) == TRANSACTION_COMMIT
            and property_text.parse(message.properties).get(names.UNIQUE_KEY)
            == self.properties.get(names.UNIQUE_KEY)
        )

    def copy(self, root: int, check_times: int | None) -> NewRecord:
        """The half message again.

        Args:
            root: of its transaction, or NONE where it begins a new one.
            check_times: what the copy says of checks; None for what this one says.
        """
        text = self._text(root, check_times)
        return self._renewed(_HALF_TOPIC, HALF_QUEUE, text, self.message.sys_flag, 0)

    def expired(self, root: int) -> NewRecord:
        """The half message as it is kept for an administrator."""
        text = self._text(root, None)
        return self._renewed(_EXPIRED_TOPIC, 0, text, self.message.sys_flag, 0)

    def _text(self, root: int, check_times: int | None) -> bytes:
        pairs = self._kept()
        pairs.pop(names.FIRST_HALF_OFFSET, None)
        if root != NONE:
            pairs[names.FIRST_HALF_OFFSET] = str(root)
        if check_times is not None:
            pairs[names.CHECK_TIMES] = str(check_times)
        text = property_text.join(pairs)
        # Our own half messages leave room for it; one that RocketMQ has stored may not.
        return text if len(text) <= PROPERTIES_BYTES_MAX else self.message.properties

    def _kept(self) -> dict[str, str]:
        """The properties but the checksum, which is of this record alone."""
        return {name: value for name, value in self.properties.items() if name != names.RECORD_CRC}

    def _renewed(self, topic: bytes, queue_id: int, text: bytes, sys_flag: int, prepared: int) -> NewRecord:
        record = renewed(self.message, topic, queue_id, text)
        return replace(record, sys_flag=sys_flag, prepared_position=prepared)

    def _number(self, name: str, default: int) -> int:
        text = self.properties.get(name)
        if text is None:
            return default
        try:
            return parse_int64(text)
        except ValueError:
            return default


def find_half(message: StoredRecord | None) -> Half | None:
    """The half message, or copy, that a record of the log is; None where it is none."""
    return None if message is None or message.topic != _HALF_TOPIC else Half(message)


def find_expired(message: StoredRecord | None) -> Half | None:
    """The expired half message that a record of the log is; None where it is none."""
    return None if message is None or message.topic != _EXPIRED_TOPIC else Half(message)


def operation(offsets: list[int], host: Host, now_ms: int) -> NewRecord:
    """The record which says that half messages are decided.

    Args:
        offsets: their queue offsets.
        host: the broker's.
        now_ms: when that is.
    """
    return NewRecord(
        topic=HALF_OPERATION_TOPIC.encode(),
        queue_id=HALF_QUEUE,
        flag=0,
        sys_flag=TRANSACTION_NONE,
        born_timestamp_ms=now_ms,
        born_host=host,
        store_host=host,
        reconsume_times=0,
        prepared_position=0,
        body="".join(f"{offset}," for offset in offsets).encode(),
        properties=property_text.join({names.TAGS: _OPERATION_TAG}),
    )


def offsets_of_operation(message: StoredRecord) -> list[int]:
    """The queue offsets that an operation names; none where it is not one that RocketMQ would understand."""
    if property_text.parse(message.properties).get(names.TAGS) != _OPERATION_TAG:
        return []
    offsets: list[int] = []
    for text in bytes(message.body).decode("ascii", "replace").split(","):
        try:
            offsets.append(parse_int64(text))
        except ValueError:
            continue  # as RocketMQ does
    return offsets


class Stored(NamedTuple):
    """Where a new record has come to lie, and when."""

    queue_offset: int
    position: int
    store_ms: int


def check_command(half: Half, copy: NewRecord, stored: Stored, broker_name: str) -> Command:
    """The request to a producer: how did this end? It names the copy, as the one that is to be decided.

    Args:
        half: the half message.
        copy: its copy.
        stored: where that lies.
        broker_name: this broker's.
    """
    unique_key = half.properties.get(names.UNIQUE_KEY)
    header = CheckTransactionHeader(
        topic=HALF_TOPIC,
        half_queue_offset=stored.queue_offset,
        position=stored.position,
        message_id=unique_key,
        transaction_id=unique_key,
        offset_message_id=offset_id(copy.store_host, stored.position),
        broker_name=broker_name,
    )
    # Producers see the message with the topic and queue it is bound for.
    shown = replace(copy, topic=half.topic.encode(), queue_id=max(half.queue_id, 0))
    body = bytearray(record.size_of(shown))
    record.encode_into(shown, memoryview(body), 0)
    struct.pack_into(">qq", body, record.QUEUE_OFFSET, stored.queue_offset, stored.position)
    v6_bytes = record.V6_EXTRA_BYTES if len(shown.born_host.address) == 16 else 0
    struct.pack_into(">q", body, record.STORE_TIMESTAMP + v6_bytes, stored.store_ms)
    fields = write_header(header)
    return Command(RequestCode.CHECK_TRANSACTION_STATE, flag=FLAG_ONEWAY, fields=fields, body=bytes(body))
