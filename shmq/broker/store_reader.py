"""StoreReader: what the conductor reads of the store, through read-only mappings of its own process."""

from shmq.broker.delays import ScheduleEntry
from shmq.broker.names import SCHEDULE_TOPIC
from shmq.memory.endian import load_i64
from shmq.store.position import NONE
from shmq.store.queue_entry import SIZE, decode, is_message
from shmq.store.read import QueueReader
from shmq.store.record import PHYSICAL_OFFSET, StoredRecord, verify
from shmq.store.record import decode as decode_record

_SCHEDULE_TOPIC_BYTES = SCHEDULE_TOPIC.encode()


class StoreReader:
    """Single messages of the log, when they were stored, and the entries of delayed ones."""

    def __init__(self, queues: QueueReader) -> None:
        self._queues = queues

    def message(self, position: int) -> StoredRecord | None:
        """Return the message whose record begins at a position of the log; None where none does.

        A client may name any position: what lies there is believed only if it says that it lies there.
        """
        log = self._queues.log
        address, left_bytes = log.address_of(position)
        size_bytes = NONE if address == NONE else verify(address, left_bytes, check_crc=False)
        if size_bytes <= 0 or load_i64(address + PHYSICAL_OFFSET) != position:
            return None
        record = log.slice(position, size_bytes)
        return None if record is None else decode_record(record)

    def schedule(self, slot: int, queue_id: int, offset: int, count_max: int) -> list[ScheduleEntry]:
        """Return entries of a queue of SCHEDULE_TOPIC_XXXX from an offset on, below its max offset."""
        _, max_offset = self._queues.bounds(slot)
        if offset >= max_offset:
            return []
        address = self._queues.entries_at(slot, (_SCHEDULE_TOPIC_BYTES, queue_id), offset)
        if address == NONE:
            return []
        entries: list[ScheduleEntry] = []
        for index in range(min(count_max, self._queues.entries_until(offset, max_offset))):
            entry = decode(address + SIZE * index)
            position = entry.position if is_message(entry.record_size) else NONE
            entries.append(ScheduleEntry(offset + index, position, entry.tag_hash))
        return entries

    def stored_ms(self, slot: int, topic: str, queue_id: int, offset: int) -> int:
        """Return when the message of a queue offset was stored; NONE where there is none."""
        min_offset, max_offset = self._queues.bounds(slot)
        if not min_offset <= offset < max_offset:
            return NONE
        address = self._queues.entries_at(slot, (topic.encode(), queue_id), offset)
        message = None if address == NONE else self.message(decode(address).position)
        return NONE if message is None else message.store_timestamp_ms
