"""Queries of a queue: its bounds, offsets by time, its entries; and of messages, by where they lie or by a key.

A queue that nobody knows is an empty one: its bounds are 0, and no error. So clients expect it.
"""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

from shmq.broker.bloom import bloom_of
from shmq.broker.filters import is_tag_type, signed_hash, subscription_filter
from shmq.broker.outcome import Outcome, Peer, Reply
from shmq.broker.replica import Replica
from shmq.errors import RequestError
from shmq.store.key_query import KeyQuery
from shmq.store.position import NONE
from shmq.store.queue_entry import EXTENSION_MAX, SIZE, QueueEntry, decode
from shmq.store.queue_extension import Unit
from shmq.store.search import Boundary, Queue, earliest_store_ms, message_at, offset_by_time
from shmq.wire import fastjson
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.consume_headers import (
    UNIQUE_KEY_QUERY_FIELD,
    ConsumeQueueHeader,
    EarliestStoreTimeHeader,
    EarliestStoreTimeResponseHeader,
    MaxOffsetHeader,
    MinOffsetHeader,
    OffsetResponseHeader,
    QueryMessageHeader,
    QueryMessageResponseHeader,
    SearchOffsetHeader,
    ViewMessageHeader,
)
from shmq.wire.fields import read_header, write_header
from shmq.wire.frame import FRAME_BYTES_MAX
from shmq.wire.stats_bodies import ConsumeQueueBody, ConsumeQueueEntry

COUNT_MAX: Final = 64
UNIQUE_COUNT: Final = 32  # whatever a client asks for: it sends one message once, or a few times
ENTRIES_MAX: Final = 4096  # of a queue in one answer: half a megabyte
_HEAD_BYTES_MAX: Final = 1024  # of an answer, before its messages


def handle_max_offset(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """GET_MAX_OFFSET: the offset after the last message that can be consumed."""
    del peer, now_ms
    header = read_header(MaxOffsetHeader, request.fields)
    _, max_offset = broker.reader.bounds(broker.queue(header.topic, header.queue_id).slot)
    return _offset(request, max_offset)


def handle_min_offset(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """GET_MIN_OFFSET: the offset of the first message that is still there."""
    del peer, now_ms
    header = read_header(MinOffsetHeader, request.fields)
    min_offset, _ = broker.reader.bounds(broker.queue(header.topic, header.queue_id).slot)
    return _offset(request, min_offset)


def handle_search_offset(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """SEARCH_OFFSET_BY_TIMESTAMP: the offset of a point in time, within the queue's bounds."""
    del peer, now_ms
    header = read_header(SearchOffsetHeader, request.fields)
    queue = broker.queue(header.topic, header.queue_id)
    edge = Boundary[header.edge.name]
    return _offset(request, offset_by_time(broker.reader, queue, header.timestamp_ms, edge))


def handle_earliest_store_time(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """GET_EARLIEST_MSG_STORETIME: when the first message that is still there was stored; -1 without one."""
    del peer, now_ms
    header = read_header(EarliestStoreTimeHeader, request.fields)
    stored_ms = earliest_store_ms(broker.reader, broker.queue(header.topic, header.queue_id))
    return Reply(request.reply(fields=write_header(EarliestStoreTimeResponseHeader(timestamp_ms=stored_ms))))


def handle_view_message(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """VIEW_MESSAGE_BY_ID: the message that lies at a position of the log."""
    del peer, now_ms
    header = read_header(ViewMessageHeader, request.fields)
    marks = broker.watermarks
    found = message_at(broker.reader.log, header.position, marks.trimmed, marks.confirmed)
    if found is None:
        remark = f"can not find message by the offset, {header.position}"
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
    return Reply(request.reply(), (found,))


def handle_query_message(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """QUERY_MESSAGE: the newest messages of a topic that have a key, or a unique id, as many as fit a frame."""
    del peer, now_ms
    header = read_header(QueryMessageHeader, request.fields)
    is_unique = request.fields.get(UNIQUE_KEY_QUERY_FIELD) == "true"
    query = KeyQuery(
        topic=header.topic,
        key=header.key,
        count_max=UNIQUE_COUNT if is_unique else min(header.message_count_max, COUNT_MAX),
        bytes_max=min(FRAME_BYTES_MAX, broker.config.output_bytes_max) - _HEAD_BYTES_MAX,
        begin_ms=header.begin_timestamp_ms,
        end_ms=header.end_timestamp_ms,
    )
    marks = broker.watermarks
    answer = broker.keys.find(query, marks.trimmed, marks.confirmed)
    if not answer.messages:
        nothing = write_header(QueryMessageResponseHeader(index_timestamp_ms=0, index_position=0))
        remark = "can not find message, maybe time range not correct"
        raise RequestError(ResponseCode.QUERY_NOT_FOUND, remark, nothing)
    found = QueryMessageResponseHeader(
        index_timestamp_ms=answer.end_timestamp_ms, index_position=answer.end_position
    )
    return Reply(request.reply(fields=write_header(found)), answer.messages)


def handle_consume_queue(broker: Replica, request: Command, peer: Peer, now_ms: int) -> Outcome:
    """QUERY_CONSUME_QUEUE: entries of a queue as they are, from an offset on, at most to the end of its file."""
    del peer, now_ms
    header = read_header(ConsumeQueueHeader, request.fields)
    queue = broker.queue(header.topic, header.queue_id)
    if queue.slot == NONE:
        remark = f"{header.queue_id}@{header.topic} is not exist!"
        raise RequestError(ResponseCode.SYSTEM_ERROR, remark)
    min_offset, max_offset = broker.reader.bounds(queue.slot)
    body = ConsumeQueueBody(min_offset, max_offset)
    if header.consumer_group is not None:
        body = replace(body, **_what_a_group_wants(broker, header.consumer_group, header.topic))
    entries = NONE
    if min_offset <= header.index < max_offset:
        entries = broker.reader.entries_at(queue.slot, queue.name, header.index)
    if entries == NONE:
        remark = f"Index {header.index} of {header.queue_id}@{header.topic} is not exist!"
        return Reply(request.reply(body=body.to_bytes(), remark=remark))
    count = min(header.count, broker.reader.entries_until(header.index, max_offset), ENTRIES_MAX)
    wanted = _group_filter(broker, header.consumer_group, header.topic)
    listed = [_listed(broker, queue, decode(entries + number * SIZE), wanted) for number in range(count)]
    return Reply(request.reply(body=replace(body, entries=listed).to_bytes()))


def _what_a_group_wants(broker: Replica, group: str, topic: str) -> dict[str, Any]:
    """The subscription of a group that is online, and what RocketMQ says where there is none, or no filter of it."""
    members = broker.members.get(group)
    subscription = members.subscriptions.get(topic) if members is not None else None
    if subscription is None:
        return {"filter_data": f"{group}@{topic} is not online!"}
    return {"subscription": subscription, "filter_data": "null"}


_Asked: TypeAlias = Callable[[int, Unit], bool]
"""Whether a group may want a message, by its position in the log and what its queue's extension says."""


def _group_filter(broker: Replica, group: str | None, topic: str) -> _Asked | None:
    """What a group that is online makes of a message before it is read; None without such a group."""
    members = broker.members.get(group) if group is not None else None
    subscription = members.subscriptions.get(topic) if members is not None else None
    if group is None or subscription is None:
        return None
    if is_tag_type(subscription.expression_type):
        tags = subscription_filter(subscription)
        return lambda _, unit: tags is None or signed_hash(unit.tag_code) in tags
    registered = broker.filters.get(group, {}).get(topic)
    if registered is None or registered.live_from == NONE:
        return lambda _, _unit: True
    bits, live_from = bloom_of(broker.config).bits_of(group, topic), registered.live_from
    return lambda position, unit: position < live_from or bits.may_match(unit.bit_map)


def _listed(broker: Replica, queue: Queue, entry: QueueEntry, wanted: _Asked | None) -> ConsumeQueueEntry:
    """An entry; a tag hash that no hash can be is the address of its extension."""
    if entry.tag_hash > EXTENSION_MAX:
        return ConsumeQueueEntry(*entry)
    extensions = broker.reader.extensions
    unit = extensions.unit(queue.name, entry.tag_hash) if extensions is not None else None
    if unit is None:
        return ConsumeQueueEntry(*entry, f"Cq extend not exist!addr: {entry.tag_hash}")
    shown: dict[str, Any] = {"msgStoreTime": unit.store_ms, "size": unit.size, "tagsCode": unit.tag_code}
    if unit.bit_map:
        shown = {"filterBitMap": b64encode(unit.bit_map).decode(), **shown}
    return ConsumeQueueEntry(
        entry.position,
        entry.record_size,
        unit.tag_code,
        None,
        fastjson.dumps(shown).decode(),
        _bits_of(unit.bit_map) if unit.bit_map else None,
        wanted is not None and wanted(entry.position, unit),
    )


def _bits_of(bit_map: bytes) -> str:
    """The bits of a bit map, the last one first, 8 bytes to a line."""
    return "".join(
        f"{byte:08b}" + ("\n" if number % 8 == 0 else "")
        for number, byte in reversed(tuple(enumerate(bit_map)))
    )


def _offset(request: Command, offset: int) -> Reply:
    return Reply(request.reply(fields=write_header(OffsetResponseHeader(offset=offset))))
