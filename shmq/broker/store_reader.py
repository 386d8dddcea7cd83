"""StoreReader: what the conductor reads of the store, through read-only mappings of its own process."""

from typing import Final

from shmq.broker.delays import ScheduleEntry
from shmq.broker.names import SCHEDULE_TOPIC
from shmq.store import record
from shmq.store.position import NONE
from shmq.store.queue_entry import SIZE, decode, is_message
from shmq.store.read import QueueReader
from shmq.store.record import StoredRecord
from shmq.store.search import Boundary, Queue, message_at, offset_by_time, position_at, store_ms_at

_SCHEDULE_TOPIC: Final = SCHEDULE_TOPIC.encode()
_POSITION_MAX: Final = (1 << 63) - 1


class StoreReader:
    """Single messages of the log, when they were stored, and the entries of delayed ones."""

    def __init__(self, queues: QueueReader) -> None:
        self._queues = queues

    def message(self, position: int) -> StoredRecord | None:
        """Return the message whose record begins at a position of the log; None where none does.

        A client may name any position: what lies there is believed only if it says that it lies there. A record that
        is just being written does not, since its size is written last.
        """
        found = message_at(self._queues.log, position, 0, _POSITION_MAX)
        return None if found is None else record.decode(found)

    def raw_message(self, position: int) -> bytes | None:
        """Return the record that begins at a position of the log, as it lies there; None where none does."""
        found = message_at(self._queues.log, position, 0, _POSITION_MAX)
        return None if found is None else bytes(found)

    def bounds(self, slot: int) -> tuple[int, int]:
        """Return the offset of the first message of a queue that is still there, and that after its last."""
        return self._queues.bounds(slot)

    def offset_by_time(self, slot: int, topic: str, queue_id: int, timestamp_ms: int) -> int:
        """Return the offset of the first message of a queue that was stored at a time or later, or its end."""
        queue = Queue(slot, (topic.encode(), queue_id))
        return offset_by_time(self._queues, queue, timestamp_ms, Boundary.LOWER)

    def schedule(self, slot: int, queue_id: int, offset: int, count_max: int) -> list[ScheduleEntry]:
        """Return entries of a queue of SCHEDULE_TOPIC_XXXX from an offset on, below its max offset."""
        _, max_offset = self._queues.bounds(slot)
        if offset >= max_offset:
            return []
        address = self._queues.entries_at(slot, (_SCHEDULE_TOPIC, queue_id), offset)
        if address == NONE:
            return []
        entries: list[ScheduleEntry] = []
        for index in range(min(count_max, self._queues.entries_until(offset, max_offset))):
            entry = decode(address + SIZE * index)
            position = entry.position if is_message(entry.record_size) else NONE
            entries.append(ScheduleEntry(offset + index, position, entry.tag_hash))
        return entries

    def queued(self, slot: int, topic: str, queue_id: int, offset: int) -> StoredRecord | None:
        """Return the message of a queue offset; None where there is none, or no longer."""
        position = position_at(self._queues, Queue(slot, (topic.encode(), queue_id)), offset)
        return None if position == NONE else self.message(position)

    def position(self, slot: int, topic: str, queue_id: int, offset: int) -> int:
        """Return where the message of a queue offset lies in the log; NONE where there is none."""
        return position_at(self._queues, Queue(slot, (topic.encode(), queue_id)), offset)

    def stored_ms(self, slot: int, topic: str, queue_id: int, offset: int) -> int:
        """Return when the message of a queue offset was stored; NONE where there is none."""
        return store_ms_at(self._queues, Queue(slot, (topic.encode(), queue_id)), offset)
