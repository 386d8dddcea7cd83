"""Kernels: records of the log as rows of numbers, in one pass over its mapped files; no object is made for a message.

A row:

    offset  size  field              meaning
    ------  ----  -----------------  ---------------------------------------------------------
         0     8  position           where the record begins in the log
         8     8  queue_offset       its number in its queue
        16     8  store_ms           the broker's clock
        24     8  born_ms            the producer's
        32     8  prepared_position  where the half message lies, or 0
        40     8  tag_hash           Java's hash of the tags; 0 without
        48     4  record_bytes       length of the record
        52     4  topic_id           which topic of those that the batch names
        56     4  queue_id
        60     4  flag               the client's, opaque
        64     4  sys_flag           see `shmq.wire.flags`
        68     4  reconsume_times
        72     4  body_crc           CRC-32 of the body as stored, its top bit cleared
        76     4  body_at            where the body begins in its file of the log
        80     4  body_bytes         its length
        84     4  topic_at           where the topic begins in the file
        88     4  topic_bytes        its length
        92     4  properties_at      where the properties begin in the file
        96     4  properties_bytes   their length
       104

A file is read as it is mapped, with no watermark: a record counts as one when its total size is there, which the
writer stores last, when its parts add up to it, and when it knows its own position. So a broker may go on writing.
Nothing is written but rows and the note.
"""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.atomics import prefetch
from shmq.memory.endian import (
    load_i32,
    load_i64,
    load_native_i64,
    store_native_i32,
    store_native_i64,
)
from shmq.memory.layout import LINE_BYTES, layout
from shmq.store import properties, record
from shmq.store.name_table import NAME_BYTES_MAX, find_name, is_name
from shmq.store.position import NONE
from shmq.store.queue_entry import POSITION, RECORD_SIZE, SIZE, TAG_HASH, is_message
from shmq.store.record_match import Wanted, matches_head, matches_texts, may_have_tag

ROW_LAYOUT: Final = layout(
    104,
    position=(0, "<i8"),
    queue_offset=(8, "<i8"),
    store_ms=(16, "<i8"),
    born_ms=(24, "<i8"),
    prepared_position=(32, "<i8"),
    tag_hash=(40, "<i8"),
    record_bytes=(48, "<i4"),
    topic_id=(52, "<i4"),
    queue_id=(56, "<i4"),
    flag=(60, "<i4"),
    sys_flag=(64, "<i4"),
    reconsume_times=(68, "<i4"),
    body_crc=(72, "<i4"),
    body_at=(76, "<i4"),
    body_bytes=(80, "<i4"),
    topic_at=(84, "<i4"),
    topic_bytes=(88, "<i4"),
    properties_at=(92, "<i4"),
    properties_bytes=(96, "<i4"),
)
ROW_BYTES: Final = ROW_LAYOUT.itemsize

# What the walks answer.
MORE: Final = 0
FULL: Final = 1
PAST_END: Final = 2
END_OF_FILE: Final = 3
NOTHING: Final = 4
INVALID: Final = 5
NEEDS_TOPIC: Final = 6
NEEDS_FILE: Final = 7

# Words of the note that the walks take up and leave.
REACHED: Final = 0
ROWS: Final = 1
TAKEN_BYTES: Final = 2
LAST_TOPIC: Final = 3
NOTE_WORDS: Final = 4

_LOG_AHEAD_BYTES: Final = 2048
_LOG_AHEAD_LINES: Final = 4
_ENTRIES_AHEAD: Final = 16
"""So many entries ahead a record's head is fetched: records of one queue lie apart, and each is a line of its own."""
_HEAD_LINES: Final = 2


class Place(NamedTuple):
    """What is walked and where rows go.

    Attributes:
        file: where the log file is mapped.
        start: the position of its first byte.
        file_bytes: its size.
        topics: the table of topic names.
        rows: where the rows go.
        rows_max: how many fit.
        bytes_max: no row is added once the records of the rows come to so much.
        note: the words that are taken up and left.
    """

    file: int
    start: int
    file_bytes: int
    topics: int
    rows: int
    rows_max: int
    bytes_max: int
    note: int


@entry
def walk_records(place: Place, wanted: Wanted, budget_bytes: int) -> int:
    """Make rows of the records from where the note says.

    Args:
        place: what is walked.
        wanted: which records make rows.
        budget_bytes: begin no record behind so many, so that the caller is asked now and then.

    Returns:
        MORE where only the budget ended it; FULL, PAST_END, END_OF_FILE; NOTHING where the log ends, as far as it
        is written; INVALID where no whole record lies; NEEDS_TOPIC at a record whose topic has no id yet. All but
        the last three of these can be taken up again.
    """
    note = place.note
    position = load_native_i64(note + 8 * REACHED)
    stop = position + budget_bytes
    status = MORE
    while status == MORE and position < stop:
        if position >= wanted.end:
            status = PAST_END
        elif _is_full(place):
            status = FULL
        else:
            at = position - place.start
            for line in range(_LOG_AHEAD_LINES):
                prefetch(place.file + at + _LOG_AHEAD_BYTES + LINE_BYTES * line)
            status = _judge(place.file + at, place.file_bytes - at, position)
            if status == MORE:
                status = _take(place, wanted, at, position)
            if status == MORE:
                position += load_i32(place.file + at)
    store_native_i64(note + 8 * REACHED, position)
    return status


@entry
def walk_entries(place: Place, wanted: Wanted, entries: int, count: int) -> tuple[int, int]:
    """Make rows of the records that entries of a queue name.

    Args:
        place: the mapped log file, and where rows go; the note tells at which record it stopped.
        wanted: which records make rows; its topic and queue are those of the entries.
        entries: where the first entry is mapped.
        count: how many there are.

    Returns:
        How many entries were gone through, and why there are no more of them: MORE where all were; FULL, PAST_END,
        NEEDS_TOPIC; NOTHING at an entry that is not written; NEEDS_FILE where the record lies in another file of
        the log; INVALID where the record that it names is not there.
    """
    taken = 0
    status = MORE
    while taken < count:
        entry = entries + taken * SIZE
        if taken + _ENTRIES_AHEAD < count:
            ahead = place.file + load_i64(entry + _ENTRIES_AHEAD * SIZE + POSITION) - place.start
            for line in range(_HEAD_LINES):
                prefetch(ahead + LINE_BYTES * line)
        status = _take_entry(place, wanted, entry)
        if status != MORE:
            break
        taken += 1
    return taken, status


@kernel
def _take_entry(place: Place, wanted: Wanted, entry: int) -> int:
    """Make a row of the record that an entry names, if it is wanted."""
    size = load_i32(entry + RECORD_SIZE)
    position = load_i64(entry + POSITION)
    at = position - place.start
    status = MORE
    if size <= 0:
        status = NOTHING
    elif is_message(size) and position >= wanted.begin and may_have_tag(wanted, load_i64(entry + TAG_HASH)):
        store_native_i64(place.note + 8 * REACHED, position)
        if position >= wanted.end:
            status = PAST_END
        elif _is_full(place):
            status = FULL
        elif at < 0 or at >= place.file_bytes:
            status = NEEDS_FILE
        elif _judge(place.file + at, place.file_bytes - at, position) != MORE or (
            load_i32(place.file + at + record.TOTAL_SIZE) != size
        ):
            status = INVALID
        else:
            status = _take(place, wanted, at, position)
    return status


@kernel
def _is_full(place: Place) -> bool:
    note = place.note
    return (
        load_native_i64(note + 8 * ROWS) >= place.rows_max
        or load_native_i64(note + 8 * TAKEN_BYTES) >= place.bytes_max
    )


@kernel
def _judge(address: int, left_bytes: int, position: int) -> int:
    """What lies here, by its head: MORE where it is a record's."""
    if left_bytes < record.BLANK_BYTES_MIN:
        return END_OF_FILE if left_bytes == 0 else INVALID
    size = load_i32(address + record.TOTAL_SIZE)
    if load_i32(address + record.MAGIC) == record.BLANK_MAGIC:
        return END_OF_FILE
    if size == 0:
        return NOTHING
    if size < record.HEAD_BYTES or size > left_bytes:
        return INVALID
    return MORE if load_i64(address + record.PHYSICAL_OFFSET) == position else INVALID


@kernel
def _take(place: Place, wanted: Wanted, at: int, position: int) -> int:
    """Make a row of the record whose head lies at an offset of the file, if it is wanted and whole."""
    address = place.file + at
    left_bytes = place.file_bytes - at
    parts = record.parts_of(address, left_bytes)
    if (
        parts.size != load_i32(address + record.TOTAL_SIZE)
        or parts.topic_bytes < 1
        or parts.topic_bytes > NAME_BYTES_MAX
    ):
        return INVALID
    if position < wanted.begin or not matches_head(wanted, address, parts):
        return MORE
    tag_hash = 0
    if wanted.has_hashes or wanted.tag_count > 0 or wanted.key != NONE:
        text = address + parts.properties
        texts = properties.find_texts(text, parts.properties_bytes, left_bytes - parts.properties)
        if not matches_texts(wanted, text, texts):
            return MORE
        if wanted.has_hashes and texts.tags >= 0:
            tag_hash = properties.java_hash(text + texts.tags, texts.tags_bytes)
    topic_id = _topic_id(place, address + parts.topic, parts.topic_bytes)
    if topic_id == NONE:
        return NEEDS_TOPIC
    _make_row(place, at, parts, topic_id, tag_hash)
    return MORE


@kernel
def _topic_id(place: Place, topic: int, topic_bytes: int) -> int:
    """The id of a record's topic, or NONE; records of one topic often follow each other."""
    last = load_native_i64(place.note + 8 * LAST_TOPIC)
    if last != NONE and is_name(place.topics, last, topic, topic_bytes):
        return last
    topic_id = find_name(place.topics, topic, topic_bytes)
    store_native_i64(place.note + 8 * LAST_TOPIC, topic_id)
    return topic_id


@kernel
def _make_row(place: Place, at: int, parts: record.Parts, topic_id: int, tag_hash: int) -> None:
    note = place.note
    count = load_native_i64(note + 8 * ROWS)
    row = place.rows + ROW_BYTES * count
    address = place.file + at
    body = record.HEAD_BYTES
    if parts.sys_flag & (record.BORN_HOST_V6 | record.STORE_HOST_V6):
        body = record.body_at(address)
    store_native_i64(row, place.start + at)
    store_native_i64(row + 8, load_i64(address + record.QUEUE_OFFSET))
    store_native_i64(row + 16, record.store_timestamp(address))
    store_native_i64(row + 24, load_i64(address + record.BORN_TIMESTAMP))
    # Both stand at a fixed distance before the body, whatever the hosts are.
    store_native_i64(row + 32, load_i64(address + body - record.HEAD_BYTES + record.PREPARED_POSITION))
    store_native_i64(row + 40, tag_hash)
    store_native_i32(row + 48, parts.size)
    store_native_i32(row + 52, topic_id)
    store_native_i32(row + 56, load_i32(address + record.QUEUE_ID))
    store_native_i32(row + 60, load_i32(address + record.FLAG))
    store_native_i32(row + 64, parts.sys_flag)
    store_native_i32(row + 68, load_i32(address + body - record.HEAD_BYTES + record.RECONSUME_TIMES))
    store_native_i32(row + 72, load_i32(address + record.BODY_CRC))
    store_native_i32(row + 76, at + body)
    store_native_i32(row + 80, max(load_i32(address + body - 4), 0))
    store_native_i32(row + 84, at + parts.topic)
    store_native_i32(row + 88, parts.topic_bytes)
    store_native_i32(row + 92, at + parts.properties)
    store_native_i32(row + 96, parts.properties_bytes)
    store_native_i32(row + 100, 0)  # the same records give the same bytes
    store_native_i64(note + 8 * ROWS, count + 1)
    store_native_i64(note + 8 * TAKEN_BYTES, load_native_i64(note + 8 * TAKEN_BYTES) + parts.size)
