"""Kernel: walk the log with checksums; hold each record against the one before it, its queue, and its queue entry.

What is wrong with records that are whole becomes rows; the kernel goes on. It comes back where Python must look:
at what is no record, at a queue it does not know, for a window on a queue's file, at a queue offset that is not the
next one. Then it goes on with that very record, of which it has written no row yet. A row is

    offset  size  field     meaning
    ------  ----  --------  ------------------------------------------------------------------------
         0     8  kind      one of the kinds below
         8     8  slot      the queue's
        16     8  position  of the record
        24     8  offset    its queue offset
        32     8  found     what is there
        40     8  wanted    what should be there
        48

and of each queue the kernel knows, on a line of its own:

    offset  size  field    meaning
    ------  ----  -------  --------------------------------------------------------------------------------
         0     8  address  where the entry of the offset `first` is mapped; 0 where no file has these entries
         8     8  first    the first queue offset of the window
        16     8  end      the queue offset behind its last one
        24     8  begin    the queue offset of its first record in the log; NONE without one
        32     8  next     the queue offset behind its last record; NONE without one
        64
"""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.endian import load_i32, load_i64, load_native_i64, load_u8, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.store import properties, record
from shmq.store.dispatch_walk import tag_code
from shmq.store.log_scan import verify_at
from shmq.store.name_table import find_name
from shmq.store.position import NONE
from shmq.store.queue_entry import EXTENSION_MAX, POSITION, RECORD_SIZE, SIZE, TAG_HASH, is_message
from shmq.store.queue_table import find_queue

# What walk_log() answers.
DONE: Final = 0
END_OF_FILE: Final = 1
INVALID: Final = 2
NEEDS_QUEUE: Final = 3
NEEDS_WINDOW: Final = 4
ODD_OFFSET: Final = 5

# Kinds of rows.
NO_ENTRY: Final = 1
OTHER_RECORD: Final = 2
OTHER_TAG: Final = 3
TIME_BACK: Final = 4

# Words of the note that walk_log() takes up and leaves.
REACHED: Final = 0
RECORDS: Final = 8
LAST_MS: Final = 16
ROWS: Final = 24
SLOT: Final = 32
OFFSET: Final = 40
TAKEN_POSITION: Final = 48
TAKEN_OFFSET: Final = 56
LAST_RECORD: Final = 64
NOTE_WORDS: Final = 9

ROWS_MAX: Final = 1024
_ROWS_A_RECORD: Final = 2

ROW_LAYOUT: Final = layout(
    48,
    kind=(0, "<i8"),
    slot=(8, "<i8"),
    position=(16, "<i8"),
    offset=(24, "<i8"),
    found=(32, "<i8"),
    wanted=(40, "<i8"),
)
ROW_BYTES: Final = ROW_LAYOUT.itemsize
_KIND: Final = offset_of(ROW_LAYOUT, "kind")
_ROW_SLOT: Final = offset_of(ROW_LAYOUT, "slot")
_ROW_POSITION: Final = offset_of(ROW_LAYOUT, "position")
_ROW_OFFSET: Final = offset_of(ROW_LAYOUT, "offset")
_FOUND: Final = offset_of(ROW_LAYOUT, "found")
_WANTED: Final = offset_of(ROW_LAYOUT, "wanted")

QUEUE_LAYOUT: Final = layout(
    64, address=(0, "<i8"), first=(8, "<i8"), end=(16, "<i8"), begin=(24, "<i8"), next=(32, "<i8")
)
_QUEUE_BYTES: Final = QUEUE_LAYOUT.itemsize
_ADDRESS: Final = offset_of(QUEUE_LAYOUT, "address")
_FIRST: Final = offset_of(QUEUE_LAYOUT, "first")
_END: Final = offset_of(QUEUE_LAYOUT, "end")
_BEGIN: Final = offset_of(QUEUE_LAYOUT, "begin")
_NEXT: Final = offset_of(QUEUE_LAYOUT, "next")


class WalkPlaces(NamedTuple):
    """Where everything lies that a walk looks into.

    Attributes:
        topics: the table of topic names.
        queues: the queue table.
        lines: of each queue, by slot.
        delays: the delay levels, ms.
        delay_count: how many there are.
        schedule_topic: the id of the schedule topic, or NONE.
        rows: room for ROWS_MAX rows.
        note: the words of the note.
    """

    topics: int
    queues: int
    lines: int
    delays: int
    delay_count: int
    schedule_topic: int
    rows: int
    note: int


class Row(NamedTuple):
    """A row; see the table above."""

    kind: int
    slot: int
    position: int
    offset: int
    found: int
    wanted: int


@entry
def walk_log(places: WalkPlaces, address: int, position: int, readable_bytes: int, budget_bytes: int) -> int:
    """Walk records from a position on, and note how far it went.

    Args:
        places: what to look into.
        address: where the log's byte at `position` is mapped.
        position: where to begin.
        readable_bytes: how much of the file follows.
        budget_bytes: begin no record behind so many.

    Returns:
        DONE where the budget is spent or the rows are full; else why it stopped: END_OF_FILE at a blank, INVALID,
        NEEDS_QUEUE, NEEDS_WINDOW, ODD_OFFSET.
    """
    note = places.note
    at = 0
    records = 0
    status = DONE
    while at < budget_bytes and load_native_i64(note + ROWS) <= ROWS_MAX - _ROWS_A_RECORD:
        size = verify_at(address + at, readable_bytes - at, position + at, True)
        if size <= 0:
            status = END_OF_FILE if size == record.BLANK else INVALID
            break
        if _has_queue(note, address + at, position + at):
            status = _check_queue(places, address + at, position + at, readable_bytes - at)
            if status != DONE:
                break
        _check_time(places, address + at, position + at)
        at += size
        records += 1
    store_native_i64(note + REACHED, position + at)
    store_native_i64(note + RECORDS, load_native_i64(note + RECORDS) + records)
    return status


@entry
def first_used(address: int, size_bytes: int) -> int:
    """The index of the first byte that is not zero; `size_bytes` where all are."""
    at = 0
    while at + 8 <= size_bytes and load_native_i64(address + at) == 0:
        at += 8
    while at < size_bytes and load_u8(address + at) == 0:
        at += 1
    return at


@kernel
def write_row(rows: int, count_at: int, row: Row) -> None:
    """Add a row behind the others, whose count lies at an address."""
    count = load_native_i64(count_at)
    at = rows + count * ROW_BYTES
    store_native_i64(at + _KIND, row.kind)
    store_native_i64(at + _ROW_SLOT, row.slot)
    store_native_i64(at + _ROW_POSITION, row.position)
    store_native_i64(at + _ROW_OFFSET, row.offset)
    store_native_i64(at + _FOUND, row.found)
    store_native_i64(at + _WANTED, row.wanted)
    store_native_i64(count_at, count + 1)


@kernel
def _has_queue(note: int, address: int, position: int) -> bool:
    """Whether a record is to be held against a queue: it has a place there, and Python has not said otherwise."""
    if not record.is_dispatched(load_i32(address + record.SYS_FLAG)):
        return False
    is_judged = load_native_i64(note + TAKEN_POSITION) == position
    return not is_judged or load_native_i64(note + TAKEN_OFFSET) != NONE


@kernel
def _check_queue(places: WalkPlaces, address: int, position: int, readable_bytes: int) -> int:
    """Hold a record that belongs to a queue against it; DONE, or what is missing to do so."""
    note = places.note
    is_judged = load_native_i64(note + TAKEN_POSITION) == position
    offset = load_i64(address + record.QUEUE_OFFSET)
    if is_judged:
        offset = load_native_i64(note + TAKEN_OFFSET)
    topic, topic_bytes = record.topic_at(address)
    topic_id = find_name(places.topics, address + topic, topic_bytes)
    slot = find_queue(places.queues, topic_id, load_i32(address + record.QUEUE_ID))
    if slot == NONE:
        return NEEDS_QUEUE
    line = places.lines + slot * _QUEUE_BYTES
    expected = load_native_i64(line + _NEXT)
    store_native_i64(note + SLOT, slot)
    store_native_i64(note + OFFSET, offset)
    if offset < 0 or expected not in (NONE, offset):
        return ODD_OFFSET
    if not load_native_i64(line + _FIRST) <= offset < load_native_i64(line + _END):
        return NEEDS_WINDOW
    if expected == NONE:
        if not is_judged and _entry_position(line, offset) != position:
            return ODD_OFFSET
        store_native_i64(line + _BEGIN, offset)
    store_native_i64(line + _NEXT, offset + 1)
    delay_count = places.delay_count if topic_id == places.schedule_topic else 0
    _check_entry(places, address, readable_bytes, Row(0, slot, position, offset, 0, delay_count))
    return DONE


@kernel
def _entry_position(line: int, offset: int) -> int:
    """Where the record of an offset that the window has is said to be; NONE without a file."""
    window = load_native_i64(line + _ADDRESS)
    if window == 0:
        return NONE
    return load_i64(window + (offset - load_native_i64(line + _FIRST)) * SIZE + POSITION)


@kernel
def _check_entry(places: WalkPlaces, address: int, readable_bytes: int, row: Row) -> None:
    """Hold a record against its entry; `wanted` of the row is how many delay levels there are for it."""
    line = places.lines + row.slot * _QUEUE_BYTES
    window = load_native_i64(line + _ADDRESS)
    count_at = places.note + ROWS
    if window == 0:
        write_row(places.rows, count_at, Row(NO_ENTRY, row.slot, row.position, row.offset, 0, 0))
        return
    unit = window + (row.offset - load_native_i64(line + _FIRST)) * SIZE
    size = load_i32(unit + RECORD_SIZE)
    found = load_i64(unit + POSITION)
    if not is_message(size):
        write_row(places.rows, count_at, Row(NO_ENTRY, row.slot, row.position, row.offset, size, 0))
    elif found != row.position or size != load_i32(address + record.TOTAL_SIZE):
        write_row(places.rows, count_at, Row(OTHER_RECORD, row.slot, row.position, row.offset, found, size))
    else:
        at, size_bytes = record.properties_at(address)
        texts = properties.find_texts(address + at, size_bytes, readable_bytes - at)
        wanted = tag_code(address, address + at, texts, places.delays, row.wanted)
        tag = load_i64(unit + TAG_HASH)
        if tag != wanted and tag > EXTENSION_MAX:
            write_row(places.rows, count_at, Row(OTHER_TAG, row.slot, row.position, row.offset, tag, wanted))


@kernel
def _check_time(places: WalkPlaces, address: int, position: int) -> None:
    """Hold a record's store time against the one before: a single wrong one is one finding, whichever way it is."""
    note = places.note
    last_ms = load_native_i64(note + LAST_MS)
    store_ms = record.store_timestamp(address)
    if store_ms < last_ms:
        write_row(places.rows, note + ROWS, Row(TIME_BACK, NONE, position, NONE, store_ms, last_ms))
    store_native_i64(note + LAST_MS, store_ms)
    store_native_i64(note + LAST_RECORD, position)
