"""Reviving: what becomes of a popped message that nobody acknowledged while it was hidden.

It is written anew to the retry topic of its topic and group, or, tried too often, to the group's dead letters. Which
message a flight means is told by where its record lies: a queue that was made anew, or cut off, holds others under the
same numbers, and those must not be taken for it.
"""

from dataclasses import dataclass, replace

from shmq.broker import message_properties as names
from shmq.broker.message_ids import offset_id
from shmq.broker.metadata import Metadata
from shmq.broker.names import RETRY_PREFIX, dlq_topic, pop_retry_topic
from shmq.broker.pop.flights import Flight, Key
from shmq.broker.renewing import renewed
from shmq.errors import RequestError, StoreError
from shmq.memory.words import load_word
from shmq.store import properties as property_text
from shmq.store.position import NONE
from shmq.store.queue_table import max_address, min_address
from shmq.store.record import PROPERTIES_BYTES_MAX, NewRecord, StoredRecord
from shmq.wire.topic_bodies import TopicConfig

QUEUE_ID = 0


@dataclass(frozen=True, slots=True)
class Revival:
    """A message that is to be written anew.

    Attributes:
        slot: of the queue that it goes to.
        record: what is to be written.
    """

    slot: int
    record: NewRecord


def find_message(state: Metadata, flight: Flight) -> StoredRecord | None:
    """Return the message that a flight means; None where it is gone, or its topic or group is."""
    key = flight.key
    if key.topic not in state.topics or key.group not in state.groups:
        return None
    slots = state.topics.slots(key.topic)
    if not 0 <= key.queue_id < len(slots):
        return None
    slot, queues = slots[key.queue_id], state.tables.queues.address
    if not load_word(min_address(queues, slot)) <= flight.offset < load_word(max_address(queues, slot)):
        return None
    if state.reader.position(slot, key.topic, key.queue_id, flight.offset) not in (NONE, flight.position):
        return None
    message = state.reader.message(flight.position)
    if message is None:
        return None
    found = message.topic, message.queue_id, message.queue_offset
    return message if found == (key.topic.encode(), key.queue_id, flight.offset) else None


def revive(state: Metadata, flight: Flight, message: StoredRecord, now_ms: int) -> Revival | None:
    """Return what is to be written of a message, and where; its topic is made where it is missing.

    None: there is no room for the topic, or for what the message has to say more than before.
    """
    key = flight.key
    group = state.groups.find(key.group, now_ms)
    times_max = 0 if group is None else group.retry_times_max
    is_dead = state.settings.pop_dead_letter_enable and message.reconsume_times >= times_max
    topic = dlq_topic(key.group) if is_dead else _retry_topic(state, key)
    text = property_text.join(_properties(flight, message, is_dead=is_dead))
    if len(text) > PROPERTIES_BYTES_MAX:
        return None
    try:
        slot = _make(state, key.group, topic, now_ms)
    except (RequestError, StoreError):
        return None
    record = renewed(message, topic.encode(), QUEUE_ID, text)
    record = replace(record, born_host=message.store_host, reconsume_times=message.reconsume_times + 1)
    return None if slot == NONE else Revival(slot, record)


def _retry_topic(state: Metadata, key: Key) -> str:
    """Return the topic that a message is tried again from; one that was already, from the same."""
    if key.topic.startswith(RETRY_PREFIX):
        return key.topic
    return pop_retry_topic(key.topic, key.group, v2=state.settings.pop_retry_topic_v2_enable)


def _properties(flight: Flight, message: StoredRecord, *, is_dead: bool) -> dict[str, str]:
    properties = property_text.parse(message.properties)
    properties.pop(names.RECORD_CRC, None)
    properties.pop(names.POP_CHECK_POINT, None)
    if message.reconsume_times == 0 or names.FIRST_POP_TIME not in properties:
        properties[names.FIRST_POP_TIME] = str(flight.pop_ms)
    if is_dead:
        origin = _origin(flight.key)
        properties.setdefault(names.RETRY_TOPIC, origin)
        properties[names.DLQ_ORIGIN_TOPIC] = origin
        own_id = offset_id(message.store_host, message.position)
        properties[names.DLQ_ORIGIN_MESSAGE_ID] = properties.get(names.UNIQUE_KEY, own_id)
    return properties


def _origin(key: Key) -> str:
    """Return the topic that a message of a retry topic was sent to."""
    for is_v2 in (False, True):
        prefix = pop_retry_topic("", key.group, v2=is_v2)
        if key.topic.startswith(prefix):
            return key.topic.removeprefix(prefix)
    return key.topic


def _make(state: Metadata, group: str, topic: str, now_ms: int) -> int:
    """Return the slot of the queue to write to; a new retry topic is one that the group consumes from its beginning."""
    if topic not in state.topics:
        state.topics.put(TopicConfig(topic, 1, 1), now_ms)
        slot = state.find_slot(topic, QUEUE_ID)
        is_retry = topic.startswith(RETRY_PREFIX)
        if is_retry and slot != NONE and state.offsets.query(group, topic, QUEUE_ID) == NONE:
            state.offsets.commit(group, slot, 0)
    return state.find_slot(topic, QUEUE_ID)
