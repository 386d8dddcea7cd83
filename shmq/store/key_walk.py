"""Kernel: walk dispatched records of the log, and put their keys into the key index; see `key_build.py`.

The keys of a record are its unique id, then each word of its KEYS. A rolled-back record has none. The kernel takes
some at a time: first it reads the records and asks for the slots of their keys, each of which is a line of its own in
a large table; then it puts them, by when those have come. What it keeps of each in between:

    offset  size  field     meaning
    ------  ----  --------  ------------------------------------------------------------
         0     8  key_hash  of topic and key, as it stands in the file
         8     8  slot      where in the file its slot lies
        16     8  position  of its record
        24     8  store_ms  that record's store time
        32     8  ordinal   how many keys of that record come before it
        40

Where the file has no room the kernel comes back, and later goes on with the same record: the note says how many keys
of it are in. A successor of a killed process finds the same out from the file.
"""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.atomics import prefetch, prefetch_to_write
from shmq.memory.endian import load_i32, load_native_i64, load_u8, store_native_i64
from shmq.memory.layout import LINE_BYTES, layout, offset_of
from shmq.store import properties, record
from shmq.store.key_index import COUNT, Key, key_hash_of, put, slot_at

# What walk_keys() answers.
DONE: Final = 0
END_OF_FILE: Final = 1
INVALID: Final = 2
NEEDS_ROOM: Final = 3

# Words of the note that walk_keys() and Python write each other.
REACHED: Final = 0
PART_POSITION: Final = 8
PART_COUNT: Final = 16
KEYS: Final = 24
NOTE_WORDS: Final = 4

ROWS: Final = 64
"""So many keys at most are found before they are put."""
RECORDS_MAX: Final = 16
_LOG_AHEAD_BYTES: Final = 2048
_LOG_AHEAD_LINES: Final = 4

ROW_LAYOUT: Final = layout(
    40,
    key_hash=(0, "<i8"),
    slot=(8, "<i8"),
    position=(16, "<i8"),
    store_ms=(24, "<i8"),
    ordinal=(32, "<i8"),
)
_KEY_HASH: Final = offset_of(ROW_LAYOUT, "key_hash")
_SLOT: Final = offset_of(ROW_LAYOUT, "slot")
_POSITION: Final = offset_of(ROW_LAYOUT, "position")
_STORE_MS: Final = offset_of(ROW_LAYOUT, "store_ms")
_ORDINAL: Final = offset_of(ROW_LAYOUT, "ordinal")
_ROW_BYTES: Final = ROW_LAYOUT.itemsize

_SEPARATOR, _SHARP = b" #"


class KeyPlaces(NamedTuple):
    """Where everything lies in the dispatcher's process.

    Attributes:
        file: the newest index file.
        slots: how many slots it has.
        number_end: entries with this number and above have no room yet; 0 where there is no file.
        rows: room for the keys that are found.
        note: the words that are written back.
    """

    file: int
    slots: int
    number_end: int
    rows: int
    note: int


class Message(NamedTuple):
    """A record: where it is mapped, its position, and how much of its file can be read from there on."""

    address: int
    position: int
    readable_bytes: int


class _Gathered(NamedTuple):
    """How many rows are taken, how many bytes of records have all their keys in them, and why there are no more."""

    rows: int
    walked_bytes: int
    status: int


class Found(NamedTuple):
    """How many rows are taken, how many keys of the record were seen, and whether those are all."""

    rows: int
    ordinal: int
    is_whole: bool


@entry
def walk_keys(places: KeyPlaces, address: int, position: int, readable_bytes: int, budget_bytes: int) -> int:
    """Index the records that lie at an address, and note how far it went.

    Args:
        places: where everything lies.
        address: where the log's byte at `position` is mapped.
        position: where to begin.
        readable_bytes: how much of the file is dispatched.
        budget_bytes: begin no record behind so many.

    Returns:
        DONE, or why it stopped before: END_OF_FILE, INVALID, NEEDS_ROOM.
    """
    note = places.note
    at = 0
    status = DONE
    while status == DONE and at < readable_bytes and at < budget_bytes:
        gathered = _gather(places, address + at, position + at, readable_bytes - at, budget_bytes - at)
        at += gathered.walked_bytes
        status = gathered.status
        placed = _put_rows(places, gathered.rows)
        if placed < gathered.rows:
            row = places.rows + placed * _ROW_BYTES
            at = load_native_i64(row + _POSITION) - position
            store_native_i64(note + PART_POSITION, position + at)
            store_native_i64(note + PART_COUNT, load_native_i64(row + _ORDINAL))
            status = NEEDS_ROOM
    store_native_i64(note + REACHED, position + at)
    return status


@kernel
def _gather(
    places: KeyPlaces, address: int, position: int, readable_bytes: int, budget_bytes: int
) -> _Gathered:
    """Find the keys of some records; where not all of one have room, the note says which come next."""
    at = 0
    rows = 0
    for _ in range(RECORDS_MAX):
        if at >= readable_bytes or at >= budget_bytes or rows == ROWS:
            break
        for line in range(_LOG_AHEAD_LINES):
            prefetch(address + at + _LOG_AHEAD_BYTES + LINE_BYTES * line)
        status = _judge(address + at, readable_bytes - at)
        if status != DONE:
            return _Gathered(rows, at, status)
        parts = record.parts_of(address + at, readable_bytes - at)
        if parts.size != load_i32(address + at + record.TOTAL_SIZE):
            return _Gathered(rows, at, INVALID)
        message = Message(address + at, position + at, readable_bytes - at)
        found = find_keys(places, message, parts, rows)
        rows = found.rows
        if not found.is_whole:
            store_native_i64(places.note + PART_POSITION, position + at)
            store_native_i64(places.note + PART_COUNT, found.ordinal)
            break
        at += parts.size
    return _Gathered(rows, at, DONE)


@kernel
def _judge(address: int, readable_bytes: int) -> int:
    """Whether a record may lie here, whose parts do not reach beyond what can be read."""
    if readable_bytes < record.BLANK_BYTES_MIN or load_i32(address + record.TOTAL_SIZE) > readable_bytes:
        return INVALID
    return END_OF_FILE if load_i32(address + record.MAGIC) == record.BLANK_MAGIC else DONE


@kernel
def find_keys(places: KeyPlaces, message: Message, parts: record.Parts, rows: int) -> Found:
    """Write a row for each key of a record that is not in yet, as far as there is room."""
    if parts.sys_flag & record.TRANSACTION_MASK == record.TRANSACTION_ROLLBACK:
        return Found(rows, 0, True)
    text = message.address + parts.properties
    readable_bytes = message.readable_bytes - parts.properties
    texts = properties.find_texts(text, parts.properties_bytes, readable_bytes)
    if texts.unique < 0 and texts.keys < 0:
        return Found(rows, 0, True)
    is_in = 0
    if message.position == load_native_i64(places.note + PART_POSITION):
        is_in = load_native_i64(places.note + PART_COUNT)
    topic_hash = properties.java_hash(message.address + parts.topic, parts.topic_bytes) * 31 + _SHARP
    ordinal = 0
    if texts.unique >= 0:
        if is_in == 0:
            key_hash = properties.java_hash_after(topic_hash, text + texts.unique, texts.unique_bytes)
            _write_row(places, rows, key_hash, message, 0)
            rows += 1
        ordinal = 1
    at = texts.keys
    end = texts.keys + texts.keys_bytes
    while at < end:
        begin = at
        while at < end and load_u8(text + at) != _SEPARATOR:
            at += 1
        if at > begin:
            if ordinal >= is_in:
                if rows == ROWS:
                    return Found(rows, ordinal, False)
                key_hash = properties.java_hash_after(topic_hash, text + begin, at - begin)
                _write_row(places, rows, key_hash, message, ordinal)
                rows += 1
            ordinal += 1
        at += 1
    return Found(rows, ordinal, True)


@kernel
def _write_row(places: KeyPlaces, rows: int, java_hash: int, message: Message, ordinal: int) -> None:
    row = places.rows + rows * _ROW_BYTES
    key_hash = key_hash_of(java_hash)
    slot = slot_at(places.slots, key_hash)
    prefetch_to_write(places.file + slot)
    store_native_i64(row + _KEY_HASH, key_hash)
    store_native_i64(row + _SLOT, slot)
    store_native_i64(row + _POSITION, message.position)
    store_native_i64(row + _STORE_MS, record.store_timestamp(message.address))
    store_native_i64(row + _ORDINAL, ordinal)


@kernel
def _put_rows(places: KeyPlaces, rows: int) -> int:
    """Put keys into the file while it has room; how many."""
    placed = 0
    while placed < rows:
        if places.number_end == 0 or load_i32(places.file + COUNT) >= places.number_end:
            break
        row = places.rows + placed * _ROW_BYTES
        key = Key(
            load_native_i64(row + _KEY_HASH),
            load_native_i64(row + _SLOT),
            load_native_i64(row + _POSITION),
            load_native_i64(row + _STORE_MS),
        )
        put(places.file, places.slots, key)
        placed += 1
    note = places.note
    store_native_i64(note + KEYS, load_native_i64(note + KEYS) + placed)
    return placed
