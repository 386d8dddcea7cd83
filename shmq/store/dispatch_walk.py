"""Kernels: read records of the log and write their entries; see `dispatch.py`, whose loop calls them.

`walk` takes some records at a time. First it reads each and asks for the lines of memory that its queue will
need; then it writes their entries, by when those have come: with 50,000 queues none is in a cache. What it keeps of
each in between, in memory of its own:

    offset  size  field     meaning
    ------  ----  --------  --------------------------------------------------
         0     8  size      its total size
         8     8  slot      its queue's; NONE: it gets no entry
        16     8  offset    its queue offset
        24     8  tag_hash  the last field of its entry
        32     8  has_keys  1 where the key index wants it, 0 where it does not
        40

Where queues have extensions, Python writes a unit for each record in between: `read_ahead`, `enter_found`.
"""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.atomics import load_relaxed, prefetch, store_release
from shmq.memory.endian import load_i32, load_i64, load_native_i64, store_native_i64
from shmq.memory.layout import LINE_BYTES, layout, offset_of
from shmq.store import properties, queue_files, record
from shmq.store.name_table import find_name, is_name
from shmq.store.position import NONE
from shmq.store.queue_entry import SIZE, encode
from shmq.store.queue_table import end_position_address, find_queue, max_address

# What walk() answers.
DONE: Final = 0
END_OF_FILE: Final = 1
INVALID: Final = 2
NEEDS_QUEUE: Final = 3
NEEDS_WINDOW: Final = 4

# Words of the note that walk() and Python write each other.
STEP: Final = 0
REACHED: Final = 8
RECORDS: Final = 16
STORE_MS: Final = 24
MOVED: Final = 32
SLOT: Final = 40
_OFFSET: Final = 48
_RECORD_SIZE: Final = 56
TAG_HASH: Final = 64
_TOPIC_ID: Final = 72
_QUEUE_ID: Final = 80
_LAST_SLOT: Final = 88
SCHEDULED: Final = 96
KEYED_END: Final = 104
FOUND: Final = 112
NOTE_WORDS: Final = 15

AHEAD: Final = 16
"""So many records are read before their entries are written."""
AHEAD_EXTENDED: Final = 512
"""And so many where Python does its part in between: it is faster with many at once."""
_LOG_AHEAD_BYTES: Final = 2048
_LOG_AHEAD_LINES: Final = 4
"""So far ahead, and so much for each record, the log is fetched: by itself the processor stops at the end of a page."""

FOUND_LAYOUT: Final = layout(
    40,
    size=(0, "<i8"),
    slot=(8, "<i8"),
    offset=(16, "<i8"),
    tag_hash=(24, "<i8"),
    has_keys=(32, "<i8"),
)
_SIZE_AT: Final = offset_of(FOUND_LAYOUT, "size")
_SLOT_AT: Final = offset_of(FOUND_LAYOUT, "slot")
_OFFSET_AT: Final = offset_of(FOUND_LAYOUT, "offset")
_TAG_HASH_AT: Final = offset_of(FOUND_LAYOUT, "tag_hash")
_HAS_KEYS_AT: Final = offset_of(FOUND_LAYOUT, "has_keys")
_FOUND_BYTES: Final = FOUND_LAYOUT.itemsize

_WINDOW_BYTES: Final = queue_files.LAYOUT.itemsize
_ADDRESS: Final = offset_of(queue_files.LAYOUT, "address")
_FIRST: Final = offset_of(queue_files.LAYOUT, "first")
_END: Final = offset_of(queue_files.LAYOUT, "end")
_DIRTY: Final = offset_of(queue_files.LAYOUT, "dirty")
_STAMP: Final = offset_of(queue_files.LAYOUT, "stamp")


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
        timer_topic: the id of the topic of messages with a moment of their own, or NONE.
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
    timer_topic: int
    note: int


@entry
def begin_step(note: int, position: int) -> None:
    """Write the note anew, for a step that begins at a position."""
    store_native_i64(note + STEP, load_native_i64(note + STEP) + 1)
    store_native_i64(note + REACHED, position)
    store_native_i64(note + RECORDS, 0)
    store_native_i64(note + STORE_MS, NONE)
    store_native_i64(note + MOVED, 0)
    store_native_i64(note + SCHEDULED, 0)
    for word in (_TOPIC_ID, _QUEUE_ID, _LAST_SLOT):
        store_native_i64(note + word, NONE)


@entry
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
        count, status = _read_ahead(places, address + at, readable_bytes - at, budget_bytes - at, AHEAD)
        entered, entered_bytes, last_bytes = _enter_all(places, position + at, count)
        if entered < count:
            status = NEEDS_WINDOW
        if entered > 0:
            records += entered
            at += entered_bytes
            last = address + at - last_bytes
    _note_reached(places.note, position + at, records, last)
    return status


@entry
def read_ahead(places: Places, address: int, readable_bytes: int, budget_bytes: int) -> int:
    """The first half of `walk`, for AHEAD_EXTENDED records at most: find out about them, and note how many they are.

    What is then in `found` may be changed before `enter_found` makes entries of it.

    Returns:
        As `walk`, but NEEDS_WINDOW: why there are no more.
    """
    count, status = _read_ahead(places, address, readable_bytes, budget_bytes, AHEAD_EXTENDED)
    store_native_i64(places.note + FOUND, count)
    return status


@entry
def enter_found(places: Places, address: int, position: int) -> int:
    """The second half: make entries of what was found, and note how far it went; DONE or NEEDS_WINDOW."""
    count = load_native_i64(places.note + FOUND)
    entered, entered_bytes, last_bytes = _enter_all(places, position, count)
    _note_reached(places.note, position + entered_bytes, entered, address + entered_bytes - last_bytes)
    return DONE if entered == count else NEEDS_WINDOW


@kernel
def _enter_all(places: Places, position: int, count: int) -> tuple[int, int, int]:
    """Give the records that were found their entries, up to one that needs a window.

    Returns:
        How many, how long they are, and how long the last of them is.
    """
    at = 0
    size = 0
    for index in range(count):
        _expect_entry(places, places.found + index * _FOUND_BYTES)
    for index in range(count):
        found = places.found + index * _FOUND_BYTES
        next_size = load_native_i64(found + _SIZE_AT)
        if load_native_i64(found + _SLOT_AT) >= 0 and not _enter(places, found, position + at, next_size):
            return index, at, size
        size = next_size
        at += size
        if load_native_i64(found + _HAS_KEYS_AT) != 0:
            store_native_i64(places.note + KEYED_END, position + at)
    return count, at, size


@kernel
def _note_reached(note: int, position: int, records: int, last: int) -> None:
    """Note how far a walk came, and the store time of the last of its records."""
    store_native_i64(note + REACHED, position)
    store_native_i64(note + RECORDS, load_native_i64(note + RECORDS) + records)
    if records > 0:
        store_native_i64(note + STORE_MS, record.store_timestamp(last))


@kernel
def _read_ahead(
    places: Places, address: int, readable_bytes: int, budget_bytes: int, count_max: int
) -> tuple[int, int]:
    """Find out about some records; how many, and why there are no more."""
    at = 0
    count = 0
    while count < count_max and at < readable_bytes and at < budget_bytes:
        message = address + at
        for line in range(_LOG_AHEAD_LINES):
            prefetch(message + _LOG_AHEAD_BYTES + LINE_BYTES * line)
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
        has_keys = True  # as far as is known of one that gets no entry
        if record.is_dispatched(parts.sys_flag):
            slot = _slot_of(places, message, parts)
            if slot == NONE:
                return count, NEEDS_QUEUE
            prefetch(max_address(places.queues, slot))
            prefetch(end_position_address(places.queues, slot))
            prefetch(places.windows + slot * _WINDOW_BYTES)
            text = message + parts.properties
            readable = left_bytes - parts.properties
            texts = properties.find_texts(text, parts.properties_bytes, readable)
            has_keys = texts.keys >= 0 or texts.unique >= 0
            store_native_i64(found + _OFFSET_AT, load_i64(message + record.QUEUE_OFFSET))
            store_native_i64(found + _TAG_HASH_AT, _tag_hash(places, message, text, texts))
        store_native_i64(found + _SIZE_AT, size)
        store_native_i64(found + _SLOT_AT, slot)
        store_native_i64(found + _HAS_KEYS_AT, int(has_keys))
        count += 1
        at += size
    return count, DONE


@kernel
def _expect_entry(places: Places, found: int) -> None:
    """Ask for the line of a record's entry, if there is a window for it: the words that tell are there by now."""
    slot = load_native_i64(found + _SLOT_AT)
    if slot >= 0:
        window = places.windows + slot * _WINDOW_BYTES
        index = load_native_i64(found + _OFFSET_AT) - load_native_i64(window + _FIRST)
        prefetch(load_native_i64(window + _ADDRESS) + index * SIZE)


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
            store_native_i64(note + SLOT, slot)
            store_native_i64(note + _OFFSET, offset)
            store_native_i64(note + _RECORD_SIZE, size)
            store_native_i64(note + TAG_HASH, tag_hash)
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
def _tag_hash(places: Places, message: int, text: int, texts: properties.Texts) -> int:
    """What stands in the entry's last field; notes that the record waits for a delivery."""
    delay_count = 0
    topic_id = load_native_i64(places.note + _TOPIC_ID)
    if topic_id == places.schedule_topic:
        store_native_i64(places.note + SCHEDULED, 1)
        delay_count = places.delay_count
    elif topic_id == places.timer_topic:
        store_native_i64(places.note + SCHEDULED, 1)
    return tag_code(message, text, texts, places.delays, delay_count)


@kernel
def tag_code(message: int, text: int, texts: properties.Texts, delays: int, delay_count: int) -> int:
    """The last field of a record's entry: the tag's hash, or in the schedule topic the time of delivery, ms.

    Args:
        message: the record.
        text: its properties.
        texts: what was found in them.
        delays: the delay levels, ms.
        delay_count: how many there are; 0 for a record of another topic.
    """
    if delay_count > 0:
        level = min(record.delay_level(message), delay_count)
        if level > 0:
            return record.store_timestamp(message) + load_native_i64(delays + 8 * (level - 1))
    return properties.java_hash(text + texts.tags, texts.tags_bytes) if texts.tags >= 0 else 0


@kernel
def _mark(places: Places, slot: int, window: int) -> None:
    """Note that a queue was written: for the flush, and once a step for those who wait."""
    step = load_native_i64(places.note + STEP)
    if load_native_i64(window + _STAMP) != step:
        store_native_i64(window + _STAMP, step)
        moved = load_native_i64(places.note + MOVED)
        store_native_i64(places.moved + 8 * moved, slot)
        store_native_i64(places.note + MOVED, moved + 1)
    store_native_i64(window + _DIRTY, 1)


@entry
def is_cut_off(address: int, readable_bytes: int, file_left_bytes: int) -> bool:
    """Whether a record, or the mark of a file's end, lies only in part below what is confirmed."""
    if readable_bytes >= file_left_bytes:
        return False
    if readable_bytes < record.BLANK_BYTES_MIN:
        return True
    return readable_bytes < load_i32(address + record.TOTAL_SIZE) <= file_left_bytes
