"""Kernel: walk new records of the log, and give each its entry in its queue.

Records go strictly in the order of the log. One gets an entry unless it is prepared or rolled back, or its queue
has it already: the record ends at or before the queue's `end_position`, or its queue offset lies below the
queue's `max`. So any range may be dispatched again, after a crash for instance. An offset beyond `max` leaves a
gap, which is filled with blanks: an entry is never written to another's place.

For each record: the entry, then `max` (released), then `end_position`. Where a queue, its file or a reserved
block is missing the kernel comes back, Python provides it, and the kernel goes on with that very record.

The kernel takes some records at a time. First it reads each and asks for the lines of memory that its queue will
need; then it writes their entries, by when those have come: with 50,000 queues none is in a cache.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from shmq.jit import Words, kernel
from shmq.memory.atomics import load_relaxed, prefetch, store_release
from shmq.memory.block import address_of, view
from shmq.memory.endian import load_i32, load_i64, load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.memory.words import store_word
from shmq.store import properties, record
from shmq.store.log import LogReader
from shmq.store.name_table import NameTable, find_name, is_name
from shmq.store.position import NONE
from shmq.store.queue_directory import queue_path
from shmq.store.queue_entry import SIZE, QueueEntry, encode
from shmq.store.queue_files import LAYOUT as WINDOW_LAYOUT
from shmq.store.queue_files import QueueFiles
from shmq.store.queue_table import QueueTable, end_position_address, find_queue, max_address, min_address

SCHEDULE_TOPIC: Final = b"SCHEDULE_TOPIC_XXXX"
"""Its entries hold the time of delivery where others hold the tag's hash."""

# What walk() answers.
DONE: Final = 0
END_OF_FILE: Final = 1
INVALID: Final = 2
NEEDS_QUEUE: Final = 3
NEEDS_WINDOW: Final = 4

# Words of the note that walk() and Python write each other.
_STEP: Final = 0
_REACHED: Final = 8
_RECORDS: Final = 16
_STORE_MS: Final = 24
_MOVED: Final = 32
_SLOT: Final = 40
_OFFSET: Final = 48
_RECORD_SIZE: Final = 56
_TAG_HASH: Final = 64
_TOPIC_ID: Final = 72
_QUEUE_ID: Final = 80
_LAST_SLOT: Final = 88
_NOTE_WORDS: Final = 12

_AHEAD: Final = 16
"""So many records are read before their entries are written."""

FOUND_LAYOUT: Final = layout(32, size=(0, "<i8"), slot=(8, "<i8"), offset=(16, "<i8"), tag_hash=(24, "<i8"))
"""A record as it was read: its size, its queue's slot (NONE: it gets no entry), its queue offset, its entry's tag."""
_SIZE_AT: Final = offset_of(FOUND_LAYOUT, "size")
_SLOT_AT: Final = offset_of(FOUND_LAYOUT, "slot")
_OFFSET_AT: Final = offset_of(FOUND_LAYOUT, "offset")
_TAG_HASH_AT: Final = offset_of(FOUND_LAYOUT, "tag_hash")
_FOUND_BYTES: Final = FOUND_LAYOUT.itemsize

_WINDOW_BYTES: Final = WINDOW_LAYOUT.itemsize
_ADDRESS: Final = offset_of(WINDOW_LAYOUT, "address")
_FIRST: Final = offset_of(WINDOW_LAYOUT, "first")
_END: Final = offset_of(WINDOW_LAYOUT, "end")
_DIRTY: Final = offset_of(WINDOW_LAYOUT, "dirty")
_STAMP: Final = offset_of(WINDOW_LAYOUT, "stamp")


class Places(NamedTuple):
    """Where everything lies in the dispatcher's process.

    Attributes:
        topics: the table of topic names.
        queues: the queue table.
        windows: of `QueueFiles`, a line for each slot.
        moved: the slots written in this step.
        found: room for what is found out about some records.
        delays: the delay levels, ms.
        delay_count: how many there are.
        schedule_topic: the id of the schedule topic, or NONE.
        note: the words that are written back.
    """

    topics: int
    queues: int
    windows: int
    moved: int
    found: int
    delays: int
    delay_count: int
    schedule_topic: int
    note: int


class DispatchResult(NamedTuple):
    """What one step did.

    Attributes:
        reached: where the next step begins.
        records: how many records were walked.
        store_ms: the store time of the last of them; NONE without one.
        moved: the slots of queues that have new entries.
        blanks: how many offsets were found never to have had a message.
        problem: why the step cannot go on, if it cannot; such a log was not written by our writer.
    """

    reached: int
    records: int
    store_ms: int
    moved: list[int]
    blanks: int
    problem: str


class Dispatch:
    """The dispatcher's work without its waiting."""

    def __init__(
        self,
        topics: NameTable,
        queues: QueueTable,
        log: LogReader,
        files: QueueFiles,
        delay_levels_ms: Sequence[int],
        add_queue: Callable[[bytes, int], int] | None = None,
    ) -> None:
        """Take up the queues as the tables have them.

        Args:
            topics: the names.
            queues: the queues; `max` and `end_position` are written here.
            log: where records are read.
            files: where entries are written.
            delay_levels_ms: the delay of level 1 and so on.
            add_queue: makes the slot of a queue that the log names and the tables do not know; without it that
                is a problem.
        """
        self._topics = topics
        self._queues = queues
        self._log = log
        self._files = files
        self._add_queue = add_queue
        self._note: Words = np.zeros(_NOTE_WORDS, dtype=np.int64)
        self._found: Words = np.zeros(_AHEAD * FOUND_LAYOUT.itemsize // 8, dtype=np.int64)
        self._moved: Words = np.zeros(queues.capacity, dtype=np.int64)
        self._delays: Words = np.array(delay_levels_ms, dtype=np.int64)
        self._blanks = 0

    def step(self, begin: int, confirmed: int, bytes_max: int) -> DispatchResult:
        """Dispatch records from a position on, none that is not confirmed, and begin none after so many bytes.

        Raises:
            StoreError: a queue file cannot be written, or a topic can be no directory.
        """
        self._note[:] = [self._note[_STEP // 8] + 1, begin, 0, NONE, 0, 0, 0, 0, 0, NONE, NONE, NONE]
        self._blanks = 0
        places = self._places()
        problem = ""
        position = begin
        end = min(begin + bytes_max, confirmed)
        while position < end and not problem:
            address, file_left_bytes = self._log.address_of(position)
            if address == NONE:
                problem = f"the log has no file for position {position}"
                break
            readable_bytes = min(file_left_bytes, confirmed - position)
            status = walk(places, address, position, readable_bytes, end - position)
            walked_bytes = int(self._note[_REACHED // 8]) - position
            position += walked_bytes
            file_left_bytes -= walked_bytes
            if status == END_OF_FILE:
                if position + file_left_bytes > confirmed:
                    break
                position += file_left_bytes
            elif status == INVALID:
                if _is_cut_off(address + walked_bytes, readable_bytes - walked_bytes, file_left_bytes):
                    break  # more of it will be confirmed
                problem = f"what lies at position {position} of the log is no record"
            elif status == NEEDS_QUEUE:
                problem = self._make_queue(address + walked_bytes, position)
                places = self._places()
            elif status == NEEDS_WINDOW:
                self._open_window(position)
        return self._result(position, problem)

    def _result(self, reached: int, problem: str) -> DispatchResult:
        note = self._note
        moved = self._moved[: note[_MOVED // 8]].tolist()
        return DispatchResult(
            reached, int(note[_RECORDS // 8]), int(note[_STORE_MS // 8]), moved, self._blanks, problem
        )

    def _places(self) -> Places:
        files = self._files
        return Places(
            topics=self._topics.address,
            queues=self._queues.address,
            windows=address_of(files.windows),
            moved=address_of(self._moved),
            found=address_of(self._found),
            delays=address_of(self._delays),
            delay_count=len(self._delays),
            schedule_topic=self._topics.find(SCHEDULE_TOPIC),
            note=address_of(self._note),
        )

    def _make_queue(self, message: int, position: int) -> str:
        """Have the queue of an unknown one's record added; or say what is wrong with that."""
        topic_at, topic_bytes = record.topic_at(message)
        topic = view(message + topic_at, topic_bytes).tobytes()
        queue_id = load_i32(message + record.QUEUE_ID)
        if self._add_queue is None or queue_id < 0 or not topic:
            return f"the record at position {position} is for an unknown queue, {topic!r} {queue_id}"
        queue_path(self._files.root, topic, queue_id)
        slot = self._add_queue(topic, queue_id)
        assert slot == self._queues.find(self._topics.find(topic), queue_id), "the queue was not added"
        return ""

    def _open_window(self, position: int) -> None:
        """Make room for the entry that the kernel could not write, blanks before it included."""
        slot, offset, record_size, tag_hash = (
            int(word) for word in self._note[_SLOT // 8 : _TAG_HASH // 8 + 1]
        )
        topic_id, queue_id = self._queues.topic_and_queue(slot)
        queue = (self._topics.name(topic_id), queue_id)
        current = int(self._queues.max[slot])
        if offset > current:
            self._files.fill_gap(slot, queue, current, offset)
            self._blanks += offset - current
            store_word(max_address(self._queues.address, slot), offset)
        is_first_file = self._files.open(slot, queue, offset, QueueEntry(position, record_size, tag_hash))
        if is_first_file and offset > 0:
            store_word(min_address(self._queues.address, slot), offset)


@kernel
def walk(places: Places, address: int, position: int, readable_bytes: int, budget_bytes: int) -> int:
    """Dispatch the records that lie at an address, and note how far it went.

    Args:
        places: where everything lies.
        address: where the log's byte at `position` is mapped.
        position: where to begin.
        readable_bytes: how much of the file is confirmed.
        budget_bytes: begin no record behind so many.

    Returns:
        DONE, or why it stopped before: END_OF_FILE, INVALID, NEEDS_QUEUE, NEEDS_WINDOW.
    """
    at = 0
    status = DONE
    records = 0
    last = 0
    while status == DONE and at < readable_bytes and at < budget_bytes:
        count, status = _read_ahead(places, address + at, readable_bytes - at, budget_bytes - at)
        for index in range(count):
            found = places.found + index * _FOUND_BYTES
            size = load_native_i64(found + _SIZE_AT)
            if load_native_i64(found + _SLOT_AT) >= 0 and not _enter(places, found, position + at, size):
                status = NEEDS_WINDOW
                break
            last = address + at
            records += 1
            at += size
    note = places.note
    store_native_i64(note + _REACHED, position + at)
    store_native_i64(note + _RECORDS, load_native_i64(note + _RECORDS) + records)
    if records > 0:
        store_native_i64(note + _STORE_MS, record.store_timestamp(last))
    return status


@kernel
def _read_ahead(places: Places, address: int, readable_bytes: int, budget_bytes: int) -> tuple[int, int]:
    """Find out about some records; how many, and why there are no more."""
    at = 0
    count = 0
    while count < _AHEAD and at < readable_bytes and at < budget_bytes:
        message = address + at
        left_bytes = readable_bytes - at
        if left_bytes < record.BLANK_BYTES_MIN:
            return count, INVALID
        size = load_i32(message + record.TOTAL_SIZE)
        if size > left_bytes:
            return count, INVALID
        if load_i32(message + record.MAGIC) == record.BLANK_MAGIC:
            return count, END_OF_FILE
        parts = record.parts_of(message, left_bytes)
        if parts.size != size:
            return count, INVALID
        found = places.found + count * _FOUND_BYTES
        slot = NONE
        if record.is_dispatched(parts.sys_flag):
            slot = _slot_of(places, message, parts)
            if slot == NONE:
                return count, NEEDS_QUEUE
            prefetch(max_address(places.queues, slot))
            prefetch(end_position_address(places.queues, slot))
            prefetch(places.windows + slot * _WINDOW_BYTES)
            store_native_i64(found + _OFFSET_AT, load_i64(message + record.QUEUE_OFFSET))
            store_native_i64(found + _TAG_HASH_AT, _tag_hash(places, message, parts, left_bytes))
        store_native_i64(found + _SIZE_AT, size)
        store_native_i64(found + _SLOT_AT, slot)
        count += 1
        at += size
    return count, DONE


@kernel
def _enter(places: Places, found: int, position: int, size: int) -> bool:
    """Give a record its entry, if it needs one; False where there is no window for it."""
    slot = load_native_i64(found + _SLOT_AT)
    max_at = max_address(places.queues, slot)
    end_at = end_position_address(places.queues, slot)
    if position + size <= load_relaxed(end_at):
        return True
    offset = load_native_i64(found + _OFFSET_AT)
    current = load_relaxed(max_at)
    if offset >= current:
        tag_hash = load_native_i64(found + _TAG_HASH_AT)
        window = places.windows + slot * _WINDOW_BYTES
        first = load_native_i64(window + _FIRST)
        if offset != current or offset < first or offset >= load_native_i64(window + _END):
            note = places.note
            store_native_i64(note + _SLOT, slot)
            store_native_i64(note + _OFFSET, offset)
            store_native_i64(note + _RECORD_SIZE, size)
            store_native_i64(note + _TAG_HASH, tag_hash)
            return False
        encode(load_native_i64(window + _ADDRESS) + (offset - first) * SIZE, position, size, tag_hash)
        store_release(max_at, offset + 1)  # pairs with a reader's load of max: the entry is whole
        _mark(places, slot, window)
    store_release(end_at, position + size)  # after max, see queue_table
    return True


@kernel
def _slot_of(places: Places, message: int, parts: record.Parts) -> int:
    """The slot of a record's queue, or NONE; records of one queue or topic often follow each other."""
    note = places.note
    topic_id = load_native_i64(note + _TOPIC_ID)
    queue_id = load_i32(message + record.QUEUE_ID)
    topic = message + parts.topic
    if topic_id != NONE and is_name(places.topics, topic_id, topic, parts.topic_bytes):
        if load_native_i64(note + _QUEUE_ID) == queue_id:
            return load_native_i64(note + _LAST_SLOT)
    else:
        topic_id = find_name(places.topics, topic, parts.topic_bytes)
        store_native_i64(note + _TOPIC_ID, topic_id)
    slot = find_queue(places.queues, topic_id, queue_id)
    store_native_i64(note + _QUEUE_ID, queue_id if slot != NONE else NONE)
    store_native_i64(note + _LAST_SLOT, slot)
    return slot


@kernel
def _tag_hash(places: Places, message: int, parts: record.Parts, readable_bytes: int) -> int:
    """What stands in the entry's last field: the tag's hash, or in the schedule topic the time of delivery."""
    if load_native_i64(places.note + _TOPIC_ID) == places.schedule_topic:
        level = min(record.delay_level(message), places.delay_count)
        if level > 0:
            return record.store_timestamp(message) + load_native_i64(places.delays + 8 * (level - 1))
    text = message + parts.properties
    value, value_bytes = properties.find_tags(text, parts.properties_bytes, readable_bytes - parts.properties)
    return properties.java_hash(text + value, value_bytes) if value >= 0 else 0


@kernel
def _mark(places: Places, slot: int, window: int) -> None:
    """Note that a queue was written: for the flush, and once a step for those who wait."""
    step = load_native_i64(places.note + _STEP)
    if load_native_i64(window + _STAMP) != step:
        store_native_i64(window + _STAMP, step)
        moved = load_native_i64(places.note + _MOVED)
        store_native_i64(places.moved + 8 * moved, slot)
        store_native_i64(places.note + _MOVED, moved + 1)
    store_native_i64(window + _DIRTY, 1)


@kernel
def _is_cut_off(address: int, readable_bytes: int, file_left_bytes: int) -> bool:
    """Whether a record, or the mark of a file's end, lies only in part below what is confirmed."""
    if readable_bytes >= file_left_bytes:
        return False
    if readable_bytes < record.BLANK_BYTES_MIN:
        return True
    return readable_bytes < load_i32(address + record.TOTAL_SIZE) <= file_left_bytes
