"""Kernels: hold the keys of the log's records against the entries of the key index, which are in the same order.

Both are walked once, side by side. What does not agree becomes rows (see `log_walk`): `slot` is the entry's number,
`offset` how many there are, where neighbours are one row. A kernel comes back where a file of the index ends.
"""

from typing import Final, NamedTuple

from shmq.inspect.damage import is_in_range
from shmq.inspect.log_walk import ROWS_MAX, Row, write_row
from shmq.jit import entry, kernel
from shmq.memory.endian import load_i32, load_i64, load_native_i64, store_native_i64
from shmq.memory.layout import offset_of
from shmq.store import key_walk, record
from shmq.store.key_index import (
    END_POSITION,
    FIRST_NUMBER,
    KEY_HASH,
    POSITION,
    SECONDS,
    entry_at,
    seconds_since,
)
from shmq.store.key_walk import KeyPlaces, Message, find_keys
from shmq.store.position import NONE

# What merge_keys() answers.
DONE: Final = 0
NEEDS_FILE: Final = 1
FULL: Final = 2

# What _judge() answers.
_ITS_OWN: Final = 0
_LATER: Final = 1
_NOBODYS: Final = 2

# Kinds of rows.
MISSING: Final = 11
STRAY: Final = 12
OTHER_HASH: Final = 13
OTHER_POSITION: Final = 14
OTHER_TIME: Final = 15

# Words of the note that the kernel takes up and leaves.
REACHED: Final = 0
ROWS: Final = 8
NUMBER: Final = 16
COUNT: Final = 24
IS_LAST: Final = 32
BEGIN: Final = 40
RESUME: Final = 48
BEGIN_MS: Final = 112
KEY_POSITION: Final = 56
_KEYS_DONE: Final = 64
_MISSING_COUNT: Final = 72
_MISSING_FIRST: Final = 80
_STRAY_COUNT: Final = 88
_STRAY_FIRST: Final = 96
_STRAY_POSITION: Final = 104
NOTE_WORDS: Final = 15

_ROWS_A_KEY: Final = 4
_KEY_ROW_BYTES: Final = key_walk.ROW_LAYOUT.itemsize
_KEY_ROW_HASH: Final = offset_of(key_walk.ROW_LAYOUT, "key_hash")


class MergePlaces(NamedTuple):
    """Where everything lies.

    Attributes:
        file: the index file that is looked at.
        slots: how many slots it has.
        keys: room for the keys of a record, as `key_walk` finds them.
        key_note: the words that `key_walk` wants.
        rows: room for ROWS_MAX rows.
        ranges: of the log, which cannot be read.
        range_count: how many there are.
        note: the words of the note.
    """

    file: int
    slots: int
    keys: int
    key_note: int
    rows: int
    ranges: int
    range_count: int
    note: int


class _Wanted(NamedTuple):
    """The key that comes next: its hash, its record's position and store time; its row, and how many there are on."""

    key_hash: int
    position: int
    store_ms: int
    row: int
    rows: int


@entry
def merge_keys(places: MergePlaces, address: int, position: int, size_bytes: int) -> int:
    """Hold the keys of some whole records against the index, and note how far it went.

    Args:
        places: where everything lies.
        address: where the first record is mapped.
        position: where it lies in the log.
        size_bytes: how long they are together.

    Returns:
        DONE; or NEEDS_FILE where the entries are used up, FULL where the rows are.
    """
    at = 0
    status = DONE
    while at < size_bytes:
        if position + at >= load_native_i64(places.note + BEGIN):
            status = _merge_record(places, Message(address + at, position + at, size_bytes - at))
            if status != DONE:
                break
        at += load_i32(address + at + record.TOTAL_SIZE)
    store_native_i64(places.note + REACHED, position + at)
    return status


@entry
def flush_rows(places: MergePlaces) -> None:
    """Write the rows of what may have gone on."""
    _flush_missing(places)
    _flush_strays(places)


@entry
def count_rest(places: MergePlaces) -> tuple[int, int]:
    """The number of the first of the entries that are left whose record could be read, and how many those are."""
    first = NONE
    found = 0
    for number in range(load_native_i64(places.note + NUMBER), load_native_i64(places.note + COUNT)):
        position = load_i64(places.file + entry_at(places.slots, number) + POSITION)
        if not is_in_range(places.ranges, places.range_count, position):
            first = number if found == 0 else first
            found += 1
    return first, found


@kernel
def _merge_record(places: MergePlaces, message: Message) -> int:
    note = places.note
    done = 0
    if load_native_i64(note + KEY_POSITION) == message.position:
        done = load_native_i64(note + _KEYS_DONE)
    parts = record.parts_of(message.address, message.readable_bytes)
    key_places = KeyPlaces(places.file, places.slots, 0, places.keys, places.key_note)
    store_ms = record.store_timestamp(message.address)
    while True:
        store_native_i64(places.key_note + key_walk.PART_POSITION, message.position)
        store_native_i64(places.key_note + key_walk.PART_COUNT, done)
        found = find_keys(key_places, message, parts, 0)
        for index in range(found.rows):
            row = places.keys + index * _KEY_ROW_BYTES
            key_hash = load_native_i64(row + _KEY_ROW_HASH)
            wanted = _Wanted(key_hash, message.position, store_ms, row, found.rows - index)
            status = _match(places, wanted)
            if status != DONE:
                store_native_i64(note + KEY_POSITION, message.position)
                store_native_i64(note + _KEYS_DONE, done)
                return status
            done += 1
        if found.is_whole:
            return DONE


@kernel
def _match(places: MergePlaces, wanted: _Wanted) -> int:
    """Find the entry of a key, which is the next one if all is well."""
    note = places.note
    while True:
        if load_native_i64(note + ROWS) > ROWS_MAX - _ROWS_A_KEY:
            return FULL
        number = load_native_i64(note + NUMBER)
        if number >= load_native_i64(note + COUNT):
            if load_native_i64(note + IS_LAST) == 0:
                return NEEDS_FILE
            _miss(places, wanted.position)
            return DONE
        judged = _judge(places, number, wanted)
        if judged == _ITS_OWN:
            _take(places, number)
            return DONE
        if judged == _LATER:
            _miss(places, wanted.position)
            return DONE
        _stray(places, number, load_i64(places.file + entry_at(places.slots, number) + POSITION))


@kernel
def _judge(places: MergePlaces, number: int, wanted: _Wanted) -> int:
    """Whether an entry is the key's own, though something in it may be wrong; a later key's; or nobody's."""
    at = places.file + entry_at(places.slots, number)
    position = load_i64(at + POSITION)
    if position == wanted.position:
        return _judge_same(places, number, wanted)
    if position > wanted.position and not _is_out_of_order(places, number, position):
        return _LATER
    if load_i32(at + KEY_HASH) == wanted.key_hash and not _is_next(places, number, wanted):
        _write(places, Row(OTHER_POSITION, number, wanted.position, 1, position, wanted.position))
        return _ITS_OWN
    return _NOBODYS


@kernel
def _judge_same(places: MergePlaces, number: int, wanted: _Wanted) -> int:
    """As _judge, of an entry for the key's record."""
    at = places.file + entry_at(places.slots, number)
    key_hash = load_i32(at + KEY_HASH)
    if key_hash == wanted.key_hash:
        _check_seconds(places, at, number, wanted)
        return _ITS_OWN
    if _is_later_key(wanted, key_hash):
        return _LATER
    if _is_next(places, number, wanted):
        return _NOBODYS
    _write(places, Row(OTHER_HASH, number, wanted.position, 1, key_hash, wanted.key_hash))
    return _ITS_OWN


@kernel
def _is_later_key(wanted: _Wanted, key_hash: int) -> bool:
    """Whether a later key of the same record has this hash."""
    for index in range(1, wanted.rows):
        if load_native_i64(wanted.row + index * _KEY_ROW_BYTES + _KEY_ROW_HASH) == key_hash:
            return True
    return False


@kernel
def _is_next(places: MergePlaces, number: int, wanted: _Wanted) -> bool:
    """Whether the entry behind this one is the wanted one."""
    if number + 1 >= load_native_i64(places.note + COUNT):
        return False
    at = places.file + entry_at(places.slots, number + 1)
    return load_i64(at + POSITION) == wanted.position and load_i32(at + KEY_HASH) == wanted.key_hash


@kernel
def _is_out_of_order(places: MergePlaces, number: int, position: int) -> bool:
    """Whether an entry cannot be for so late a record, by those that follow."""
    if number + 1 < load_native_i64(places.note + COUNT):
        return load_i64(places.file + entry_at(places.slots, number + 1) + POSITION) < position
    return position > load_i64(places.file + END_POSITION)


@kernel
def _check_seconds(places: MergePlaces, at: int, number: int, wanted: _Wanted) -> None:
    if number == FIRST_NUMBER:  # it counts from the end of the file before, which may be gone
        return
    seconds = load_i32(at + SECONDS)
    right = seconds_since(load_native_i64(places.note + BEGIN_MS), wanted.store_ms)
    if seconds != right:
        _write(places, Row(OTHER_TIME, number, wanted.position, 1, seconds, right))


@kernel
def _take(places: MergePlaces, number: int) -> None:
    """Go on behind an entry that is some key's."""
    if load_native_i64(places.note + _MISSING_COUNT) != 0:
        _flush_missing(places)
    if load_native_i64(places.note + _STRAY_COUNT) != 0:
        _flush_strays(places)
    store_native_i64(places.note + NUMBER, number + 1)


@kernel
def _miss(places: MergePlaces, position: int) -> None:
    """Note that a key of a record has no entry."""
    note = places.note
    resume = load_native_i64(note + RESUME)
    count = load_native_i64(note + _MISSING_COUNT)
    if count != 0 and load_native_i64(note + _MISSING_FIRST) < resume <= position:
        _flush_missing(places)
        count = 0
    if count == 0:
        store_native_i64(note + _MISSING_FIRST, position)
    store_native_i64(note + _MISSING_COUNT, count + 1)


@kernel
def _stray(places: MergePlaces, number: int, position: int) -> None:
    """Pass over an entry that is no key's."""
    note = places.note
    store_native_i64(note + NUMBER, number + 1)
    if is_in_range(places.ranges, places.range_count, position):
        return
    count = load_native_i64(note + _STRAY_COUNT)
    if count == 0:
        store_native_i64(note + _STRAY_FIRST, number)
        store_native_i64(note + _STRAY_POSITION, position)
    store_native_i64(note + _STRAY_COUNT, count + 1)


@kernel
def _flush_missing(places: MergePlaces) -> None:
    note = places.note
    count = load_native_i64(note + _MISSING_COUNT)
    if count != 0:
        _write(places, Row(MISSING, NONE, load_native_i64(note + _MISSING_FIRST), count, 0, 0))
        store_native_i64(note + _MISSING_COUNT, 0)


@kernel
def _flush_strays(places: MergePlaces) -> None:
    note = places.note
    count = load_native_i64(note + _STRAY_COUNT)
    if count != 0:
        position = load_native_i64(note + _STRAY_POSITION)
        _write(places, Row(STRAY, load_native_i64(note + _STRAY_FIRST), position, count, 0, 0))
        store_native_i64(note + _STRAY_COUNT, 0)


@kernel
def _write(places: MergePlaces, row: Row) -> None:
    write_row(places.rows, places.note + ROWS, row)
