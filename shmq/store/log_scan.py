"""Kernel: walk the log with checksums, and hold the queue offsets in it against those of the queues.

It is recovery's first look, and changes nothing on disk: where the log ends, how young it is, and whether the
queues that were found can be continued from where the walk began. For that, `expected` holds by slot the queue
offset that the next record of a queue must have; one beyond it tells that entries of earlier records are missing.

A record counts only if it also knows its own position: one that lies there from before a truncation does not. And no
byte of its topic may be zero: no checksum covers the topic, and of a record that was not synced a power cut may leave
the parts around it. No queue's directory could have that name.
"""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.block import view
from shmq.memory.endian import load_i32, load_i64, load_native_i64, load_u8, store_native_i64
from shmq.store import record
from shmq.store.name_table import find_name
from shmq.store.position import NONE
from shmq.store.queue_table import find_queue

# What walk_file() answers.
END_OF_FILE: Final = 0
INVALID: Final = 1
NEEDS_QUEUE: Final = 2
MISSES_ENTRIES: Final = 3
PAUSED: Final = 4

# Words of the note that walk_file() takes up and leaves.
REACHED: Final = 0
LAST_RECORD: Final = 1
NEWEST_MS: Final = 2
RECORDS: Final = 3
NOTE_WORDS: Final = 4


class ScanTables(NamedTuple):
    """Where the tables lie that a walk looks into.

    Attributes:
        topics: the table of topic names.
        queues: the queue table.
        expected: by slot, the queue offset of the next record.
        note: the words of the note.
        may_miss: 1 where a queue offset beyond what is expected is taken as it is.
        checked_from: records below this position were on disk before, and their checksums are left alone: to find
            a byte flipped long ago must not end the log there.
    """

    topics: int
    queues: int
    expected: int
    note: int
    may_miss: int
    checked_from: int


@entry
def walk_file(tables: ScanTables, file: int, start: int, file_bytes: int, pause_at: int) -> int:
    """Walk a file from where the note says.

    Args:
        tables: what to look into, and the note.
        file: where the file is mapped.
        start: the position of its first byte.
        file_bytes: its size.
        pause_at: a position at or behind which to pause.

    Returns:
        END_OF_FILE at its blank; INVALID where no record lies; NEEDS_QUEUE at a record of an unknown queue,
        MISSES_ENTRIES at one whose queue does not reach so far, and PAUSED: these can be taken up again.
    """
    note = tables.note
    position = load_native_i64(note + 8 * REACHED)
    while True:
        if position >= pause_at:
            return PAUSED
        address = file + position - start
        size = verify_at(address, start + file_bytes - position, position, position >= tables.checked_from)
        if size <= 0:
            return END_OF_FILE if size == record.BLANK else INVALID
        status = _expect(tables, address)
        if status != END_OF_FILE:
            return status
        store_native_i64(note + 8 * LAST_RECORD, position)
        newest_ms = max(load_native_i64(note + 8 * NEWEST_MS), record.store_timestamp(address))
        store_native_i64(note + 8 * NEWEST_MS, newest_ms)
        store_native_i64(note + 8 * RECORDS, load_native_i64(note + 8 * RECORDS) + 1)
        position += size
        store_native_i64(note + 8 * REACHED, position)


@entry
def verify_at(address: int, readable_bytes: int, position: int, check_crc: bool) -> int:
    """As `record.verify`, of a record that must also know its position, and have its topic."""
    size = record.verify(address, readable_bytes, check_crc)
    if size > 0 and (
        load_i64(address + record.PHYSICAL_OFFSET) != position or not _has_topic(address, readable_bytes)
    ):
        return record.INVALID
    return size


@kernel
def _has_topic(address: int, readable_bytes: int) -> bool:
    parts = record.parts_of(address, readable_bytes)
    at, end = parts.topic, parts.topic + parts.topic_bytes
    while at < end and load_u8(address + at) != 0:
        at += 1
    return at == end


@entry
def find_record(address: int, size_bytes: int, readable_bytes: int, position: int) -> int:
    """The offset of the first whole record that begins within a range, or NONE.

    Args:
        address: where the range is mapped.
        size_bytes: how long it is.
        readable_bytes: how far a record may reach, from `address` on.
        position: what lies at `address`.
    """
    for at in range(size_bytes):
        if readable_bytes - at < record.HEAD_BYTES:
            return NONE
        # The position is what stale bytes lack, and cheapest to test.
        knows_position = load_i64(address + at + record.PHYSICAL_OFFSET) == position + at
        if knows_position and record.verify(address + at, readable_bytes - at, True) > 0:
            return at
    return NONE


def needed_queue(address: int) -> tuple[bytes, int]:
    """Topic and queue id of the verified record at an address."""
    at, size_bytes = record.topic_at(address)
    return view(address + at, size_bytes).tobytes(), load_i32(address + record.QUEUE_ID)


@kernel
def _expect(tables: ScanTables, address: int) -> int:
    """Hold a record against its queue; END_OF_FILE here means: go on."""
    if not record.is_dispatched(load_i32(address + record.SYS_FLAG)):
        return END_OF_FILE
    topic, topic_bytes = record.topic_at(address)
    topic_id = find_name(tables.topics, address + topic, topic_bytes)
    slot = (
        NONE if topic_id == NONE else find_queue(tables.queues, topic_id, load_i32(address + record.QUEUE_ID))
    )
    if slot == NONE:
        return NEEDS_QUEUE
    expected = load_native_i64(tables.expected + 8 * slot)
    offset = load_i64(address + record.QUEUE_OFFSET)
    if offset > expected and tables.may_miss == 0:
        return MISSES_ENTRIES
    if offset >= expected:
        store_native_i64(tables.expected + 8 * slot, offset + 1)
    return END_OF_FILE
