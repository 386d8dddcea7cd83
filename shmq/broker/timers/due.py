"""Timers: delivers the messages that wait for a moment of their own, slot by slot, each when it is due.

The store (`shmq.store.timer_store`) gives the slot's messages as rows. They are delivered in the order of their moments,
those of one moment in the order in which they came. One batch is on its way at a time, parted into deliveries, one a
queue, each stored whole or not at all; the next begins when all of it is stored. A slot is over once its time is and
nothing of it is left.

    begin    at GRACE behind the slot's time look where the log ends; once everything before has units, whoever
             was to be taken back in time is known: deliver
    send     first write into each unit from where on in the log its delivery may lie, then submit it
    settle   write into each unit where it lies

Whoever comes after a kill reads the slot again. A unit with a place is delivered, if the record is really there. One
with a beginning may be: the log is looked through from there on. So a message is delivered once, and after a power cut,
which may take what units say or what they name, at least once.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from shmq.broker import message_properties as names
from shmq.broker.limits import append_bytes_max
from shmq.broker.names import TIMER_TOPIC
from shmq.broker.outcome import PutStatus
from shmq.broker.timers.delivery import as_delivered, as_rolled
from shmq.broker.timers.sending import recalled_key
from shmq.config.settings import Config
from shmq.store import properties as property_text
from shmq.store.position import NONE
from shmq.store.record import NewRecord, StoredRecord, size_of
from shmq.store.timer_log import RECALLS, ROLLS
from shmq.store.timer_slots import ROW
from shmq.store.timer_store import Rows, TimerStore

RECALL_GRACE_MS: Final = 20
"""So long after its slot's time a recall may be stored and is heeded still."""
GRACE_MS: Final = 50
"""So long after a slot's time its delivery begins: whatever was stored in time is in the log by then."""
RETRY_MS: Final = 100
QUIET_MS: Final = 60_000
BATCH_COUNT_MAX: Final = 128
BATCH_BYTES_MAX: Final = 1 << 20


class Marks(NamedTuple):
    """How far the log has come: its beginning, its end, what of it is in the queues, what of it is on disk."""

    trimmed: int
    appended: int
    dispatched: int
    flushed: int


@dataclass(frozen=True, slots=True, eq=False)
class TimedDelivery:
    """Messages that are due, for one queue: to be stored next to each other, all or none.

    Attributes:
        slot: of the queue they are bound for.
        records: at least one.
        units: of each.
        topics: that each is bound for in the end.
    """

    slot: int
    records: tuple[NewRecord, ...]
    units: tuple[int, ...]
    topics: tuple[str, ...]


class Timers:
    """What waits, and how far its delivery has come.

    Attributes:
        dropped: messages that could not be delivered anywhere.
        counts: how many messages of each topic were delivered or taken back, not told yet.
        delivered: how many messages were delivered.
    """

    def __init__(
        self,
        settings: Config,
        store: TimerStore,
        message: Callable[[int], StoredRecord | None],
        find_slot: Callable[[str, int], int],
    ) -> None:
        """Begin where the store says.

        Args:
            settings: the broker's.
            store: of the timers, recovered.
            message: reads a record of the log.
            find_slot: gives the slot of a topic's queue, or NONE where there can be no such queue.
        """
        self.dropped = 0
        self.delivered = 0
        self.counts: Counter[str] = Counter()
        self._store = store
        self._message = message
        self._find_slot = find_slot
        self._append_bytes_max = append_bytes_max(settings)
        self._batch_bytes_max = min(BATCH_BYTES_MAX, self._append_bytes_max)
        self._rows: Rows = np.zeros(0, dtype=ROW)
        self._at = 0
        self._seen = NONE
        self._recalled: set[str] = set()
        self._gate_end: int | None = None
        self._gate_offset: int | None = None
        self._is_open = False
        self._pending: set[TimedDelivery] = set()
        self._failed: list[TimedDelivery] = []
        self._resume_ms = 0
        self._undurable: deque[tuple[int, int]] = deque()
        self._durable_ms = store.read_ms

    @property
    def is_busy(self) -> bool:
        """Whether a delivery is on its way, or is to be tried again."""
        return bool(self._pending or self._failed)

    def durable_ms(self, flushed: int) -> int:
        """The slot before which everything is over, and on disk."""
        while self._undurable and self._undurable[0][1] <= flushed:
            self._durable_ms = self._undurable.popleft()[0]
        return self._durable_ms

    def due(self, now_ms: int, marks: Marks) -> list[TimedDelivery]:
        """Return what is to be stored now, as units of it say by then; each delivery must be settled in the end."""
        if self._pending or now_ms < self._resume_ms:
            return []
        batch, self._failed = self._failed, []
        while not batch:
            self._take_new(marks)
            # What is taken back may come last: one that waited in another slot, and was rolled on late.
            has_any = self._at < len(self._rows) or bool(self._recalled)
            if has_any and not self._may_begin(now_ms, marks):
                break
            if self._at < len(self._rows):
                if int(self._rows["due_ms"][self._at]) > now_ms:
                    break
                batch = self._collect(now_ms)
            elif not self._move(now_ms, marks):
                break
        for delivery in batch:
            for unit in delivery.units:
                self._store.note(unit, -1 - marks.appended)
        self._pending.update(batch)
        return batch

    def settle(
        self, delivery: TimedDelivery, status: PutStatus, positions: tuple[int, ...], now_ms: int
    ) -> None:
        """Note how the append of a delivery ended."""
        self._pending.remove(delivery)
        if status.is_stored:
            for unit, position in zip(delivery.units, positions, strict=True):
                self._store.note(unit, position)
            self.counts.update(delivery.topics)
            self.delivered += len(delivery.units)
        elif status == PutStatus.MESSAGE_ILLEGAL:
            self.dropped += len(delivery.units)
        else:
            self._failed.append(delivery)
            self._resume_ms = now_ms + RETRY_MS

    def wait_ms(self, now_ms: int) -> int:
        """How long until something is due, if nothing comes before; at most QUIET_MS."""
        if self._failed:
            return max(0, self._resume_ms - now_ms)
        if self._at < len(self._rows):
            opens_ms = self._store.read_ms + GRACE_MS
            if now_ms >= opens_ms and not self._is_open:
                return 1
            return max(0, opens_ms - now_ms, int(self._rows["due_ms"][self._at]) - now_ms)
        next_ms = self._store.next_ms(now_ms)
        if next_ms == self._store.read_ms:  # this slot has had something, and is not over
            return max(1, next_ms + self._store.precision_ms - now_ms)
        return QUIET_MS if next_ms == NONE else min(QUIET_MS, max(0, next_ms + GRACE_MS - now_ms))

    # The slot.

    def _take_new(self, marks: Marks) -> None:
        """Read what has come into the slot since the last look."""
        last = self._store.last_unit()
        if last in (NONE, self._seen):
            return
        rows = self._store.rows(last, self._seen, marks.trimmed)
        self._seen = last
        self._resolve(rows, marks)
        for each in rows[(rows["magic"] & (RECALLS | ROLLS)) == RECALLS]:
            self._take_back(int(each["record"]))
        waits = (rows["result"] == 0) & ((rows["magic"] & (RECALLS | ROLLS)) != RECALLS)
        lost = int(np.count_nonzero(waits & (rows["record"] == NONE)))
        self.dropped += lost
        rows = np.concatenate([self._rows[self._at :], rows[waits & (rows["record"] != NONE)]])
        self._rows = rows[np.argsort(rows["due_ms"], kind="stable")]
        self._at = 0

    def _take_back(self, position: int) -> None:
        message = self._message(position) if position != NONE else None
        if message is not None:
            key = property_text.parse(message.properties).get(names.TIMER_RECALLED_KEY, "")
            self._recalled.add(key)

    def _resolve(self, rows: Rows, marks: Marks) -> None:
        """Find out what became of messages that a predecessor had under way."""
        uncertain = np.flatnonzero(rows["result"] < 0)
        if not len(uncertain):
            return
        begin = max(int((-1 - rows["result"][uncertain]).min()), marks.trimmed)
        found: dict[tuple[str, str], list[int]] = {}
        for position in self._store.deliveries(begin, marks.appended):
            copy = self._message(position)
            if copy is not None:
                found.setdefault(_key_of(copy), []).append(position)
        for index in uncertain:
            row = rows[index]
            message = self._message(int(row["record"])) if row["record"] != NONE else None
            is_roll = bool(row["magic"] & ROLLS)
            copies = found.get(_key_of(message, is_roll=is_roll), []) if message is not None else []
            row["result"] = copies.pop(0) if copies else 0
            self._store.note(int(row["unit"]), int(row["result"]))

    def _may_begin(self, now_ms: int, marks: Marks) -> bool:
        """Whether everything that may be taken back in time has been seen."""
        if self._is_open:
            return True
        if now_ms < self._store.read_ms + GRACE_MS:
            return False
        if self._gate_end is None:
            self._gate_end = marks.appended
        if self._gate_offset is None and marks.dispatched >= self._gate_end:
            self._gate_offset = self._store.queue_offset + self._store.behind
        if self._gate_offset is None or self._store.queue_offset < self._gate_offset:
            return False
        self._take_new(marks)
        self._is_open = True
        return True

    def _move(self, now_ms: int, marks: Marks) -> bool:
        """Go on to the next slot whose time has come; return False where there is none."""
        store = self._store
        end_ms = store.read_ms + store.precision_ms
        if now_ms < end_ms:
            return False
        store.move(end_ms)
        next_ms = store.next_ms(now_ms)
        present_ms = now_ms // store.precision_ms * store.precision_ms
        store.move(present_ms if next_ms == NONE else max(end_ms, min(next_ms, present_ms)))
        if not self._undurable or self._undurable[-1][1] != marks.appended:
            self._undurable.append((store.read_ms, marks.appended))
        else:
            self._undurable[-1] = (store.read_ms, marks.appended)
        self._seen = NONE
        self._recalled.clear()
        self._gate_end = self._gate_offset = None
        self._is_open = False
        return True

    # What is due.

    def _collect(self, now_ms: int) -> list[TimedDelivery]:
        """Return deliveries of the rows that are due, as many as go in a batch."""
        by_slot: dict[int, list[tuple[NewRecord, int, str]]] = {}
        size_bytes = 0
        end = min(len(self._rows), self._at + BATCH_COUNT_MAX)
        while self._at < end and int(self._rows["due_ms"][self._at]) <= now_ms:
            row = self._rows[self._at]
            message = self._message(int(row["record"]))
            made = None if message is None else self._made_of(message, row, now_ms)
            if made is not None:
                slot, record, topic = made
                size_bytes += size_of(record)
                if by_slot and size_bytes > self._batch_bytes_max:
                    break
                by_slot.setdefault(slot, []).append((record, int(row["unit"]), topic))
            self._at += 1
        return [TimedDelivery(slot, *map(tuple, zip(*each, strict=True))) for slot, each in by_slot.items()]

    def _made_of(self, message: StoredRecord, row: np.void, now_ms: int) -> tuple[int, NewRecord, str] | None:
        """Return where a message goes, as what, and its topic; None where it is taken back, or can go nowhere."""
        pairs = property_text.parse(message.properties)
        topic = pairs.get(names.REAL_TOPIC, "")
        is_roll = bool(row["magic"] & ROLLS)
        if not is_roll and recalled_key(topic, pairs.get(names.UNIQUE_KEY, "")) in self._recalled:
            return None
        enqueued_ms = int(row["enqueued"])
        if is_roll:
            record = as_rolled(message, pairs, enqueued_ms, now_ms)
            slot = self._find_slot(TIMER_TOPIC, 0)
        else:
            record, queue_id = as_delivered(message, pairs, enqueued_ms, now_ms)
            slot = NONE if queue_id == NONE else self._find_slot(topic, queue_id)
        if slot == NONE or size_of(record) > self._append_bytes_max:
            self.dropped += 1
            return None
        return slot, record, topic


def _key_of(message: StoredRecord, *, is_roll: bool | None = None) -> tuple[str, str]:
    """The topic and unique key of a delivery, or those that a message's delivery will have."""
    pairs = property_text.parse(message.properties)
    topic = message.topic.decode()
    if is_roll is not None:
        topic = TIMER_TOPIC if is_roll else pairs.get(names.REAL_TOPIC, "")
    return topic, pairs.get(names.UNIQUE_KEY, "")
