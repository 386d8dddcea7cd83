"""Kernels: are the slots of a key index file, and the chains of its entries, what its entries say?

The entries are walked in their order, with a table of the newest entry of each slot beside: that is what each entry
must name as the one before it, and what at the end each slot must say. Faults become rows (see `log_walk`): `slot` is
the number of the entry, or NONE; `position` its record's, or NONE; `offset` is the slot.
"""

from typing import Final, NamedTuple

from shmq.inspect.log_walk import ROWS_MAX, Row, write_row
from shmq.jit import entry
from shmq.memory.atomics import prefetch_to_write
from shmq.memory.endian import (
    load_i32,
    load_i64,
    load_native_i32,
    load_native_i64,
    store_native_i32,
    store_native_i64,
)
from shmq.store.key_index import KEY_HASH, POSITION, PREVIOUS, entry_at
from shmq.store.key_shape import HEADER_BYTES, SLOT_BYTES
from shmq.store.position import NONE

# Kinds of rows.
OTHER_PREVIOUS: Final = 21
OTHER_SLOT: Final = 22

# Words of the note that the kernels take up and leave.
ROWS: Final = 0
USED_SLOTS: Final = 8
_CORRECTED: Final = 16
NOTE_WORDS: Final = 3

_AHEAD: Final = 16
_CORRECTION_BYTES: Final = 16


class ChainPlaces(NamedTuple):
    """Where everything lies.

    Attributes:
        file: where the index file is mapped.
        slots: how many slots it has.
        newest: by slot, the number of its newest entry so far: 32 bits each, zeros at first.
        corrections: pairs of words, by number: an entry, and the hash that it should have.
        correction_count: how many pairs there are.
        rows: room for ROWS_MAX rows.
        note: the words of the note.
    """

    file: int
    slots: int
    newest: int
    corrections: int
    correction_count: int
    rows: int
    note: int


@entry
def check_chains(places: ChainPlaces, begin: int, end: int) -> int:
    """Check the entries from one number up to another; the number reached, which is less where the rows are full."""
    note = places.note
    corrected = load_native_i64(note + _CORRECTED)
    number = begin
    while number < end and load_native_i64(note + ROWS) < ROWS_MAX:
        coming = places.file + entry_at(places.slots, min(number + _AHEAD, end - 1))
        prefetch_to_write(places.newest + SLOT_BYTES * (abs(load_i32(coming + KEY_HASH)) % places.slots))
        at = places.file + entry_at(places.slots, number)
        key_hash = load_i32(at + KEY_HASH)
        correction = places.corrections + corrected * _CORRECTION_BYTES
        if corrected < places.correction_count and load_native_i64(correction) == number:
            key_hash = load_native_i64(correction + 8)
            corrected += 1
        slot = abs(key_hash) % places.slots
        newest = places.newest + SLOT_BYTES * slot
        wanted = load_native_i32(newest)
        found = load_i32(at + PREVIOUS)
        if found != wanted:
            position = load_i64(at + POSITION)
            write_row(places.rows, note + ROWS, Row(OTHER_PREVIOUS, number, position, slot, found, wanted))
        store_native_i32(newest, number)
        number += 1
    store_native_i64(note + _CORRECTED, corrected)
    return number


@entry
def check_slots(places: ChainPlaces, begin: int, end: int) -> int:
    """Check the slots from one up to another; the slot reached, which is less where the rows are full."""
    note = places.note
    used = load_native_i64(note + USED_SLOTS)
    slot = begin
    while slot < end and load_native_i64(note + ROWS) < ROWS_MAX:
        wanted = load_native_i32(places.newest + SLOT_BYTES * slot)
        found = load_i32(places.file + HEADER_BYTES + SLOT_BYTES * slot)
        if found != wanted:
            write_row(places.rows, note + ROWS, Row(OTHER_SLOT, NONE, NONE, slot, found, wanted))
        used += int(wanted != 0)
        slot += 1
    store_native_i64(note + USED_SLOTS, used)
    return slot
