"""What a pop finds in one queue, and how its messages are handed out.

Messages of a topic are given as slices of the mapped log. Those of a retry topic are written anew, under the name of
their own topic, with the receipt as a property: a client could not tell otherwise where they came from.
"""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from shmq.broker import message_properties as names
from shmq.broker.filters import MessageFilter
from shmq.broker.names import pop_retry_kind
from shmq.broker.replica import Replica, TopicView
from shmq.store import properties as property_text
from shmq.store import record
from shmq.store.read import ReadStatus
from shmq.store.record import NewRecord
from shmq.wire.pop_headers import Receipt, write_receipt

SCANS_MAX: Final = 16
"""So many runs of messages that nobody wants are passed over in one look at a queue."""

_MOVES_BEGIN: Final = frozenset(
    {ReadStatus.OFFSET_TOO_SMALL, ReadStatus.OFFSET_OVERFLOW_BADLY, ReadStatus.OFFSET_FOUND_NULL}
)


@dataclass(frozen=True, slots=True)
class Find:
    """What a pop found in a queue.

    Attributes:
        topic: the queue's.
        queue_id: its number.
        slot: its slot.
        expected: where its cursor was seen; NONE where there was none.
        begin: the offset of the first entry that was looked at.
        end: the offset behind the last one.
        offsets: of the messages.
        positions: of the messages in the log.
        messages: the messages, as they lie in the log.
        rest: how many entries lie behind the end.
    """

    topic: TopicView
    queue_id: int
    slot: int
    expected: int
    begin: int
    end: int
    offsets: tuple[int, ...]
    positions: tuple[int, ...]
    messages: tuple[memoryview, ...]
    rest: int

    @property
    def kind(self) -> str:
        """Which kind of topic it is, as receipts have it."""
        return pop_retry_kind(self.topic.name)

    @property
    def changes_nothing(self) -> bool:
        """Whether the cursor stands where it stood."""
        return not self.offsets and self.expected == self.end


class Where(NamedTuple):
    """A queue, and where a pop looks in it.

    Attributes:
        topic: the queue's.
        queue_id: its number.
        expected: where its cursor was seen; NONE where there was none.
        begin: the offset to look from.
    """

    topic: TopicView
    queue_id: int
    expected: int
    begin: int


def look(broker: Replica, where: Where, count_max: int, wanted: MessageFilter) -> Find:
    """Look for messages from an offset on; a queue that lost its beginning or its end is looked at from there."""
    topic, queue_id, expected, begin = where
    at = begin
    result = broker.read(topic, queue_id, at, count_max, wanted)
    for _ in range(SCANS_MAX):
        if result.status == ReadStatus.FOUND or result.next_offset == at:
            break
        at = result.next_offset
        if result.status in _MOVES_BEGIN:
            begin = at
        result = broker.read(topic, queue_id, at, count_max, wanted)
    found = [_Head(*_HEAD.unpack_from(message)) for message in _each(result.slices)]
    if found:
        begin = at
    return Find(
        topic=topic,
        queue_id=queue_id,
        slot=topic.slots[queue_id],
        expected=expected,
        begin=begin,
        end=result.next_offset if found else at,
        offsets=tuple(head.queue_offset for head in found),
        positions=tuple(head.position for head in found),
        messages=result.slices,
        rest=max(result.max_offset - result.next_offset, 0),
    )


def hand_out(broker: Replica, find: Find, topic: str, receipt: Receipt) -> tuple[memoryview, ...]:
    """Return the messages of a find, as the client that popped a topic gets them."""
    if find.topic.name == topic or broker.config.pop_actual_retry_topic_enable:
        return find.messages
    return tuple(_rename(message, topic, receipt) for message in _each(find.messages))


@dataclass(frozen=True, slots=True)
class _Head:
    """The numbers of a stored record that a receipt needs."""

    queue_offset: int
    position: int


_HEAD: Final = struct.Struct(f">{record.QUEUE_OFFSET}xqq")
assert record.PHYSICAL_OFFSET == record.QUEUE_OFFSET + 8


def _each(slices: tuple[memoryview, ...]) -> list[memoryview]:
    """Part slices of neighbouring records into the records."""
    messages: list[memoryview] = []
    for piece in slices:
        at = 0
        while at < len(piece):
            (size,) = struct.unpack_from(">i", piece, at)
            messages.append(piece[at : at + size])
            at += size
    return messages


def _rename(message: memoryview, topic: str, receipt: Receipt) -> memoryview:
    """Write a message of a retry topic anew, as one of its own topic; where it lies and when it came stays."""
    stored = record.decode(message)
    properties = property_text.parse(stored.properties)
    properties.setdefault(names.POP_CHECK_POINT, write_receipt(receipt._replace(offset=stored.queue_offset)))
    renamed = NewRecord(
        topic=topic.encode(),
        queue_id=stored.queue_id,
        flag=stored.flag,
        sys_flag=stored.sys_flag,
        born_timestamp_ms=stored.born_timestamp_ms,
        born_host=stored.born_host,
        store_host=stored.store_host,
        reconsume_times=stored.reconsume_times,
        prepared_position=stored.prepared_position,
        body=stored.body,
        properties=property_text.join(properties),
    )
    written = memoryview(bytearray(record.size_of(renamed)))
    record.encode_into(renamed, written, 0)
    _HEAD.pack_into(head := bytearray(_HEAD.size), 0, stored.queue_offset, stored.position)
    written[record.QUEUE_OFFSET : _HEAD.size] = head[record.QUEUE_OFFSET :]
    host_bytes = len(stored.born_host.address) - 4
    struct.pack_into(">q", written, record.STORE_TIMESTAMP + host_bytes, stored.store_timestamp_ms)
    return written


def first_offset(broker: Replica, topic: TopicView, queue_id: int, *, from_max: bool) -> int:
    """Return where a group begins that has never popped a queue.

    A group that wants new messages alone gets all of a young topic, as with a pull; of an old one the last message too.
    """
    queue = broker.queue(topic.name, queue_id)
    min_offset, max_offset = broker.reader.bounds(queue.slot)
    if not from_max or pop_retry_kind(topic.name) != pop_retry_kind(""):
        return min_offset
    if broker.config.pop_young_topic_enable and min_offset <= 0 and broker.is_in_memory(queue, 0):
        return 0
    return max(max_offset - 1, 0)
