"""Kernels: the units of a slot as rows, with what must be known to deliver them; and the timer log after a crash.

A row is six words:

    offset  field     meaning
    ------  --------  -----------------------------------------------------------------------------
         0  unit      position in the timer log
         8  record    position of the message's record; NONE where it is gone
        16  due_ms    when it is to be delivered, to the ms
        24  enqueued  when the unit was written, ms
        32  result    `delivered` of the unit; 0 where that is not borne out by the commit log
        40  magic     of the unit
        48

A slot is as long as the precision, but what its messages asked for is exact: an absolute time, or a delay from when
they were stored. So each is delivered at its own moment within the slot, or at most one precision later where
that is not known.
"""

from typing import Final, NamedTuple

import numpy as np

from shmq.jit import entry, kernel
from shmq.memory.block import address_of, equal
from shmq.memory.endian import load_i32, load_i64, load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.store import properties, record, timer_log, timer_wheel
from shmq.store.mapping_table import find_mapping
from shmq.store.position import NONE
from shmq.store.timer_enqueue import number_in

ROW: Final = layout(
    48,
    unit=(0, "<i8"),
    record=(8, "<i8"),
    due_ms=(16, "<i8"),
    enqueued=(24, "<i8"),
    result=(32, "<i8"),
    magic=(40, "<i8"),
)
ROW_BYTES: Final = ROW.itemsize
_UNIT: Final = offset_of(ROW, "unit")
_RECORD: Final = offset_of(ROW, "record")
_DUE_MS: Final = offset_of(ROW, "due_ms")
_ENQUEUED: Final = offset_of(ROW, "enqueued")
_RESULT: Final = offset_of(ROW, "result")
_ROW_MAGIC: Final = offset_of(ROW, "magic")

DONE: Final = 0
FULL: Final = 1
NEEDS_UNIT: Final = 2
NEEDS_RECORD: Final = 3

NOTE: Final = layout(24, count=(0, "<i8"), next=(8, "<i8"), needed=(16, "<i8"))
"""How many are done, the unit to go on with, a position that is to be mapped."""
_COUNT: Final = offset_of(NOTE, "count")
_NEXT: Final = offset_of(NOTE, "next")
_NEEDED: Final = offset_of(NOTE, "needed")

_OUT_MS: Final = np.frombuffer(b"TIMER_OUT_MS", dtype=np.uint8)
_DELAY_SEC: Final = np.frombuffer(b"TIMER_DELAY_SEC", dtype=np.uint8)
_DELAY_MS: Final = np.frombuffer(b"TIMER_DELAY_MS", dtype=np.uint8)
_DELIVER_MS: Final = np.frombuffer(b"TIMER_DELIVER_MS", dtype=np.uint8)
_DEQUEUE_MS: Final = np.frombuffer(b"TIMER_DEQUEUE_MS", dtype=np.uint8)
_SECOND_MS: Final = 1000


class Files(NamedTuple):
    """A sequence of mapped files: their mapping table, the size of each, and the position before which they are gone."""

    table: int
    file_bytes: int
    begin: int


@kernel
def _address(files: Files, position: int) -> int:
    """Where a position is mapped, or NONE."""
    start = position // files.file_bytes * files.file_bytes
    mapped = find_mapping(files.table, start, 0)
    return NONE if mapped == NONE else mapped + position - start


@entry
def walk_back(units: Files, begin: int, until: int, positions: int, capacity: int, note: int) -> int:
    """Write the positions of a slot's units, the last one first, from one on and as far as those behind `until`."""
    count = 0
    position = begin
    status = DONE
    while position > until and position >= units.begin:
        if count == capacity:
            status = FULL
            break
        address = _address(units, position)
        if address == NONE:
            store_native_i64(note + _NEEDED, position)
            status = NEEDS_UNIT
            break
        store_native_i64(positions + 8 * count, position)
        count += 1
        previous = load_i64(address + timer_log.PREVIOUS)
        if previous >= position:
            break  # no unit of ours: a slot leads back
        position = previous
    store_native_i64(note + _COUNT, count)
    store_native_i64(note + _NEXT, position)
    return status


@entry
def describe(units: Files, records: Files, rows: int, count: int, precision_ms: int, note: int) -> int:
    """Complete rows that hold a unit's position each; note how far it went."""
    done = 0
    status = DONE
    while done < count:
        row = rows + ROW_BYTES * done
        at = _address(units, load_native_i64(row + _UNIT))
        if at == NONE:
            store_native_i64(note + _NEEDED, load_native_i64(row + _UNIT))
            status = NEEDS_UNIT
            break
        unit = timer_log.decode(at)
        store_native_i64(row + _ENQUEUED, unit.enqueued_ms)
        store_native_i64(row + _ROW_MAGIC, unit.magic)
        store_native_i64(row + _DUE_MS, timer_log.time_of(unit))
        store_native_i64(row + _RESULT, unit.delivered)
        store_native_i64(row + _RECORD, NONE)
        if unit.position >= records.begin:
            message = _address(records, unit.position)
            copy = _address(records, unit.delivered) if unit.delivered > 0 else 0
            if message == NONE or copy == NONE:  # noqa: PLR1714 - a set does not compile
                store_native_i64(note + _NEEDED, unit.position if message == NONE else unit.delivered)
                status = NEEDS_RECORD
                break
            if load_i32(message + record.TOTAL_SIZE) == unit.record_size:
                store_native_i64(row + _RECORD, unit.position)
                store_native_i64(row + _DUE_MS, _due_ms(message, unit, precision_ms))
                if copy > 0 and not _is_copy(records, message, unit.delivered, copy):
                    store_native_i64(row + _RESULT, 0)
        done += 1
    store_native_i64(note + _COUNT, done)
    return status


@kernel
def _due_ms(message: int, unit: timer_log.Unit, precision_ms: int) -> int:
    """The moment that a message asked for; the slot's own time where it is only to be stored anew."""
    at, size_bytes = record.properties_at(message)
    text = message + at
    out_ms = number_in(text, size_bytes, address_of(_OUT_MS), len(_OUT_MS))
    if unit.magic & timer_log.ROLLS or out_ms == NONE:
        return timer_log.time_of(unit)
    latest_ms = out_ms + precision_ms
    asked_ms = latest_ms
    delay_s = number_in(text, size_bytes, address_of(_DELAY_SEC), len(_DELAY_SEC))
    delay_ms = number_in(text, size_bytes, address_of(_DELAY_MS), len(_DELAY_MS))
    if delay_s != NONE:
        asked_ms = record.store_timestamp(message) + delay_s * _SECOND_MS
    elif delay_ms != NONE:
        asked_ms = record.store_timestamp(message) + delay_ms
    else:
        deliver_ms = number_in(text, size_bytes, address_of(_DELIVER_MS), len(_DELIVER_MS))
        if deliver_ms != NONE:
            asked_ms = deliver_ms
    return max(out_ms, min(asked_ms, latest_ms))


@kernel
def _is_copy(records: Files, message: int, position: int, copy: int) -> bool:
    """Whether a record that may be anything is what was made of a message."""
    readable_bytes = records.file_bytes - position % records.file_bytes
    if readable_bytes < record.HEAD_BYTES or record.verify(copy, readable_bytes, False) <= 0:
        return False
    if load_i64(copy + record.PHYSICAL_OFFSET) != position:
        return False
    if load_i32(copy + record.BODY_CRC) != load_i32(message + record.BODY_CRC):
        return False
    if load_i64(copy + record.BORN_TIMESTAMP) != load_i64(message + record.BORN_TIMESTAMP):
        return False
    key, key_bytes = _unique_key(message)
    other, other_bytes = _unique_key(copy)
    return key_bytes == other_bytes and equal(key, other, key_bytes)


@kernel
def _unique_key(message: int) -> tuple[int, int]:
    at, size_bytes = record.properties_at(message)
    texts = properties.find_texts(message + at, size_bytes, size_bytes)
    return message + at + max(texts.unique, 0), texts.unique_bytes


@entry
def find_deliveries(
    address: int, readable_bytes: int, begin: int, positions: int, capacity: int, note: int
) -> int:
    """Write the positions of records that were made by a delivery, and note behind which record it stopped.

    Returns:
        FULL, or DONE where no record lies there.
    """
    count = 0
    at = 0
    status = DONE
    while at < readable_bytes:
        size_bytes = record.verify(address + at, readable_bytes - at, False)
        if size_bytes <= 0:
            break
        if count == capacity:
            status = FULL
            break
        found, _ = record.property_at(address + at, address_of(_DEQUEUE_MS), len(_DEQUEUE_MS))
        if found >= 0:
            store_native_i64(positions + 8 * count, begin + at)
            count += 1
        at += size_bytes
    store_native_i64(note + _COUNT, count)
    store_native_i64(note + _NEXT, begin + at)
    return status


@entry
def replay(
    address: int, position: int, readable_bytes: int, read_tick: int, wheel: int, precision_ms: int
) -> int:
    """Put units of a file into the wheel where they are missing there; return how many bytes of units there are.

    Slots before `read_tick` are left alone: they are over.
    """
    at = 0
    while at + timer_log.SIZE + timer_log.BLANK_BYTES_MIN <= readable_bytes:
        if not timer_log.is_unit(address + at):
            break
        unit = timer_log.decode(address + at)
        if unit.previous >= position + at or unit.position < 0 or unit.record_size <= 0:
            break
        tick = timer_log.time_of(unit) // precision_ms
        if tick >= read_tick and timer_wheel.last_of(wheel, tick) < position + at:
            timer_wheel.put(wheel, tick, position + at, -1 if unit.magic & timer_log.RECALLS else 1)
        at += timer_log.SIZE
    return at
