"""Delays: delivers the messages that wait, level by level, when they are due.

A delayed message lies in SCHEDULE_TOPIC_XXXX, in the queue of its level; the queue's entries hold due times in
place of tags. Each level walks its queue from a saved offset: what is due is written anew to the topic and queue it
was bound for, and the offset moves on when all of that is stored.

At most one batch of a level is on its way. It is parted into deliveries, one a queue, each stored whole or not at
all: one that fails is sent again before the level looks further, the others are not. So the order within a queue is
kept, and nothing comes twice but after a crash, when the walk begins again from the offset that was saved last.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from shmq.broker.documents import reading
from shmq.broker.effects import DocumentName
from shmq.broker.limits import append_bytes_max
from shmq.broker.message_properties import REAL_QUEUE_ID, REAL_TOPIC, RECORD_CRC
from shmq.broker.names import HALF_TOPIC, SCHEDULE_TOPIC
from shmq.broker.outcome import PutStatus
from shmq.broker.renewing import renewed
from shmq.config.settings import Config
from shmq.memory.words import load_word
from shmq.store import properties as property_text
from shmq.store.position import NONE
from shmq.store.queue_entry import EXTENSION_MAX
from shmq.store.queue_table import QueueTable, max_address, min_address
from shmq.store.record import NewRecord, StoredRecord, size_of
from shmq.wire.bodies import DataVersion, data_version_of
from shmq.wire.fields import parse_int32
from shmq.wire.members import as_integer, as_object, object_of

RETRY_MS: Final = 100  # how long a level waits after a delivery has failed
BATCH_COUNT_MAX: Final = 128
BATCH_BYTES_MAX: Final = 1 << 20  # or less, where an append takes less
VERSION_STEP: Final = 200  # offsets that move before the document has a new version


class ScheduleEntry(NamedTuple):
    """One entry of a level's queue.

    Attributes:
        queue_offset: its number in the queue.
        position: of the record in the log, or NONE where the entry stands for no message.
        due_ms: when the message is to be delivered; the address of a unit where its queue has an extension.
    """

    queue_offset: int
    position: int
    due_ms: int


class Reader(Protocol):
    """What the conductor reads of the store."""

    def message(self, position: int) -> StoredRecord | None:
        """Return the message whose record begins at a position of the log; None where none does."""

    def raw_message(self, position: int) -> bytes | None:
        """Return the record that begins at a position of the log, as it lies there; None where none does."""

    def bounds(self, slot: int) -> tuple[int, int]:
        """Return the offset of the first message of a queue that is still there, and that after its last."""

    def offset_by_time(self, slot: int, topic: str, queue_id: int, timestamp_ms: int) -> int:
        """Return the offset of the first message of a queue that was stored at a time or later, or its end."""

    def schedule(self, slot: int, queue_id: int, offset: int, count_max: int) -> list[ScheduleEntry]:
        """Return entries of a queue of SCHEDULE_TOPIC_XXXX from an offset on, below its max offset."""

    def queued(self, slot: int, topic: str, queue_id: int, offset: int) -> StoredRecord | None:
        """Return the message of a queue offset; None where there is none, or no longer."""

    def position(self, slot: int, topic: str, queue_id: int, offset: int) -> int:
        """Return where the message of a queue offset lies in the log; NONE where there is none."""

    def stored_ms(self, slot: int, topic: str, queue_id: int, offset: int) -> int:
        """Return when the message of a queue offset was stored; NONE where there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """Messages that are due, for one queue: to be stored next to each other, all or none.

    Attributes:
        level: where they waited.
        slot: of the queue they are bound for.
        records: at least one.
    """

    level: int
    slot: int
    records: tuple[NewRecord, ...]


@dataclass(slots=True)
class _Level:
    """One level.

    Attributes:
        delay_ms: how long its messages wait.
        slot: of its queue.
        offset: of the first entry that is not known to be delivered.
        reach: the offset once everything on its way is stored.
        pending: deliveries whose end is not known.
        failed: those to be sent again.
        resume_ms: not before.
    """

    delay_ms: int
    slot: int
    offset: int = 0
    reach: int = 0
    pending: set[Delivery] = field(default_factory=set)
    failed: list[Delivery] = field(default_factory=list)
    resume_ms: int = 0


class Delays:
    """All levels.

    Attributes:
        version: noted in `delayOffset.json`.
        dropped: messages that could not be delivered anywhere.
    """

    def __init__(
        self,
        settings: Config,
        slots: tuple[int, ...],
        queues: QueueTable,
        reader: Reader,
        find_slot: Callable[[str, int], int],
    ) -> None:
        """Start every level at the beginning of its queue.

        Args:
            settings: the broker's, which state the delay of each level.
            slots: of the queues of SCHEDULE_TOPIC_XXXX.
            queues: the table of queues.
            reader: reads messages and entries.
            find_slot: gives the slot of a topic's queue, or NONE where there can be no such queue.
        """
        self.version = DataVersion()
        self.dropped = 0
        self._queues = queues
        self._reader = reader
        self._find_slot = find_slot
        self._levels = {
            level: _Level(delay_ms, slot)
            for level, (delay_ms, slot) in enumerate(
                zip(settings.delay_levels_ms, slots, strict=False), start=1
            )
        }
        self._append_bytes_max = append_bytes_max(settings)
        self._batch_bytes_max = min(BATCH_BYTES_MAX, self._append_bytes_max)
        self._retired: dict[str, int] = {}
        self._moves = 0

    def load(self, document: Any) -> None:
        """Take what `delayOffset.json` holds; levels that the broker no longer has are kept for when it has them.

        Raises:
            StoreError: the document is not what it must be.
        """
        if document is None:
            return
        with reading(DocumentName.DELAY_OFFSETS):
            read = as_object(document, "the document")
            self.version = data_version_of(read, "dataVersion")
            for key, value in object_of(read, "offsetTable").items():
                level = self._levels.get(int(key))
                offset = as_integer(value, key)
                if level is None:
                    self._retired[str(key)] = offset
                else:
                    level.offset = max(offset, 0)

    def due(self, now_ms: int) -> list[Delivery]:
        """Return what is to be stored now; each delivery must be settled in the end."""
        deliveries: list[Delivery] = []
        for number, level in self._levels.items():
            if level.pending or now_ms < level.resume_ms:
                continue
            if not level.failed and not self._is_waiting(level):
                continue  # as at most levels, most of the time
            batch = level.failed or self._collect(number, level, now_ms)
            level.failed = []
            level.pending.update(batch)
            deliveries += batch
        return deliveries

    def settle(self, delivery: Delivery, status: PutStatus, now_ms: int) -> None:
        """Note how the append of a delivery ended."""
        level = self._levels[delivery.level]
        level.pending.remove(delivery)
        if not status.is_stored:
            level.failed.append(delivery)
            level.resume_ms = now_ms + RETRY_MS
        if not level.pending and not level.failed:
            self._move(level, now_ms)

    @property
    def is_anything_waiting(self) -> bool:
        """Whether any level has a message that is not known to be delivered."""
        return any(map(self._is_waiting, self._levels.values()))

    def offset(self, number: int) -> int:
        """Return how far a level has come."""
        return self._levels[number].offset

    def describe(self) -> dict[str, str]:
        """Return `offset,max offset` of each level, under the names that runtime information has for them."""
        return {
            f"scheduleMessageOffset_{number}": f"{level.offset},{self._max_offset(level)}"
            for number, level in self._levels.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return the content of `delayOffset.json`."""
        table = dict(self._retired)
        table.update(
            {str(number): level.offset for number, level in self._levels.items() if level.offset > 0}
        )
        return {"dataVersion": self.version.to_json(), "offsetTable": table}

    def _collect(self, number: int, level: _Level, now_ms: int) -> list[Delivery]:
        """Return deliveries of what is due from the level's offset on, and note how far they reach."""
        least = load_word(min_address(self._queues.address, level.slot))  # pairs with retention's release
        level.offset = level.reach = min(max(level.offset, least), self._max_offset(level))
        by_slot: dict[int, list[NewRecord]] = {}
        size_bytes = 0
        entries = self._reader.schedule(level.slot, number - 1, level.offset, BATCH_COUNT_MAX)
        for entry in entries:
            # With an extension the entry does not hold it; the message does.
            due_ms = entry.due_ms
            if due_ms <= EXTENSION_MAX:
                due_ms = self._reader.stored_ms(level.slot, SCHEDULE_TOPIC, number - 1, entry.queue_offset)
                due_ms += level.delay_ms
            # A due time beyond the level's delay is one that the clock has been set back from: it counts as past.
            if now_ms < due_ms <= now_ms + level.delay_ms:
                break
            message = self._reader.message(entry.position)
            if message is not None:  # else its part of the log is gone, or it never was a message
                slot, record = self._deliver(message)
                if record is None:
                    self.dropped += 1
                else:
                    size_bytes += size_of(record)
                    if by_slot and size_bytes > self._batch_bytes_max:
                        break
                    by_slot.setdefault(slot, []).append(record)
            level.reach = entry.queue_offset + 1
        if level.reach > level.offset and not by_slot:
            self._move(level, now_ms)
        return [Delivery(number, slot, tuple(records)) for slot, records in by_slot.items()]

    def _deliver(self, message: StoredRecord) -> tuple[int, NewRecord | None]:
        """Return the record that a message becomes, and the slot it goes to; None where it can go nowhere.

        Its properties stay as they were stored, DELAY and REAL_TOPIC with them: consumers of RocketMQ see them.
        """
        pairs = property_text.parse(message.properties)
        text = message.properties
        if pairs.pop(RECORD_CRC, None) is not None:  # of the record that waited, not of the new one
            text = property_text.join(pairs)
        topic = pairs.get(REAL_TOPIC, "")
        try:
            queue_id = parse_int32(pairs.get(REAL_QUEUE_ID, ""))
        except ValueError:
            return NONE, None
        slot = NONE if topic == HALF_TOPIC else self._find_slot(topic, queue_id)
        record = renewed(message, topic.encode(), queue_id, text)
        # With a longer topic than it waited in, a message may no longer fit a log file.
        if slot == NONE or size_of(record) > self._append_bytes_max:
            return NONE, None
        return slot, record

    def _is_waiting(self, level: _Level) -> bool:
        return level.offset != self._max_offset(level)

    def _max_offset(self, level: _Level) -> int:
        return load_word(max_address(self._queues.address, level.slot))  # pairs with the dispatcher's release

    def _move(self, level: _Level, now_ms: int) -> None:
        level.offset = level.reach
        self._moves += 1
        if self._moves % VERSION_STEP == 0:
            self.version = self.version.next(now_ms)
