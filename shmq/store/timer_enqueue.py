"""Kernel: messages of the timer topic become units of the timer log, each in the slot of its moment.

It walks entries of the topic's queue, in order, and returns where Python has something to do: a file of the commit log
or of the timer log to be mapped or made. What a record asks for is read in the record; one that asks for no moment
is passed over. As in RocketMQ a message whose moment is further away than the roll window gets a unit that says so, in
a nearer slot: there it is stored anew.

A message that is late already belongs to the slot that is being delivered: so it waits with the others of that
slot, and who takes it back is found there as well.
"""

from typing import Final, NamedTuple

import numpy as np

from shmq.jit import entry, kernel
from shmq.memory.block import address_of
from shmq.memory.endian import load_i32, load_u8, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.store import properties, record, timer_log, timer_wheel
from shmq.store.mapping_table import find_mapping
from shmq.store.position import NONE
from shmq.store.queue_entry import SIZE as ENTRY_SIZE
from shmq.store.queue_entry import decode, is_message

DONE: Final = 0
NEEDS_UNITS: Final = 1
NEEDS_RECORD: Final = 2

NOTE: Final = layout(
    40, entries=(0, "<i8"), units=(8, "<i8"), passed=(16, "<i8"), needed=(24, "<i8"), earliest=(32, "<i8")
)
"""How far it went: entries and units that are done, entries without one, a position that is to be mapped, the first
tick that got a unit."""
_ENTRIES: Final = offset_of(NOTE, "entries")
_UNITS: Final = offset_of(NOTE, "units")
_PASSED: Final = offset_of(NOTE, "passed")
_NEEDED: Final = offset_of(NOTE, "needed")
_EARLIEST: Final = offset_of(NOTE, "earliest")

_OUT_MS: Final = np.frombuffer(b"TIMER_OUT_MS", dtype=np.uint8)
_RECALLED_KEY: Final = np.frombuffer(b"TIMER_DEL_UNIQKEY", dtype=np.uint8)
_REAL_TOPIC: Final = np.frombuffer(b"REAL_TOPIC", dtype=np.uint8)
_DIGITS_MAX: Final = 15
_ZERO: Final = ord("0")


class Enqueuing(NamedTuple):
    """Where everything lies.

    Attributes:
        entries: of the queue, the next ones.
        entry_count: how many there are.
        files: of the commit log, a mapping table.
        file_bytes: the size of each.
        unit: where the next unit is written.
        unit_position: its position.
        room_bytes: how much of that file is left.
        wheel: the wheel.
        precision_ms: how long a tick is.
        now_ms: the clock, at a tick.
        read_ms: the slot that is being delivered: nothing goes before it.
        roll_ms: what is further away is rolled.
        note: the words that are written back.
    """

    entries: int
    entry_count: int
    files: int
    file_bytes: int
    unit: int
    unit_position: int
    room_bytes: int
    wheel: int
    precision_ms: int
    now_ms: int
    read_ms: int
    roll_ms: int
    note: int


@kernel
def whole_number(text: int, size_bytes: int) -> int:
    """The value of up to 15 decimal digits; NONE for anything else."""
    if size_bytes < 1 or size_bytes > _DIGITS_MAX:
        return NONE
    value = 0
    for at in range(size_bytes):
        digit = load_u8(text + at) - _ZERO
        if digit < 0 or digit > 9:
            return NONE
        value = 10 * value + digit
    return value


@kernel
def number_in(text: int, size_bytes: int, name: int, name_bytes: int) -> int:
    """The value of a property that is a whole number; NONE without one."""
    value, value_bytes = properties.find(text, size_bytes, name, name_bytes)
    return whole_number(text + value, value_bytes) if value >= 0 else NONE


@entry
def enqueue(work: Enqueuing) -> int:
    """Give entries their units; note how far it went, and say why it stopped."""
    done = 0
    units = 0
    passed = 0
    earliest = NONE
    status = DONE
    while done < work.entry_count:
        found = decode(work.entries + ENTRY_SIZE * done)
        room_bytes = work.room_bytes - timer_log.SIZE * units
        if room_bytes < timer_log.SIZE + timer_log.BLANK_BYTES_MIN:
            status = NEEDS_UNITS
            break
        tick = NONE
        if is_message(found.record_size):
            start = found.position // work.file_bytes * work.file_bytes
            mapped = find_mapping(work.files, start, 0)
            if mapped == NONE:
                store_native_i64(work.note + _NEEDED, found.position)
                status = NEEDS_RECORD
                break
            address = mapped + found.position - start
            readable_bytes = start + work.file_bytes - found.position
            if (
                found.record_size <= readable_bytes
                and load_i32(address + record.TOTAL_SIZE) == found.record_size
            ):
                at = timer_log.SIZE * units
                tick = _write(work, address, found.record_size, found.position, at)
        if tick == NONE:
            passed += 1
        else:
            units += 1
            if earliest == NONE or tick < earliest:
                earliest = tick
        done += 1
    store_native_i64(work.note + _ENTRIES, done)
    store_native_i64(work.note + _UNITS, units)
    store_native_i64(work.note + _PASSED, passed)
    store_native_i64(work.note + _EARLIEST, earliest)
    return status


@kernel
def _write(work: Enqueuing, address: int, record_size: int, position: int, at: int) -> int:
    """Write a record's unit `at` bytes behind the first, and put it in its slot; return the tick, NONE where there is none."""
    parts = record.parts_of(address, record_size)
    if parts.size != record_size:
        return NONE
    text = address + parts.properties
    out_ms = number_in(text, parts.properties_bytes, address_of(_OUT_MS), len(_OUT_MS))
    if out_ms == NONE:
        return NONE
    magic = timer_log.WAITS
    slot_ms = out_ms
    ahead_ms = out_ms - work.now_ms
    if ahead_ms >= work.roll_ms:
        magic |= timer_log.ROLLS
        slot_ms = work.now_ms + work.roll_ms
        if ahead_ms - work.roll_ms < work.roll_ms // (3 * work.precision_ms) * work.precision_ms:
            # Twice as far, in two steps of about one length: none of them is a short one.
            slot_ms = work.now_ms + work.roll_ms // (2 * work.precision_ms) * work.precision_ms
    recalled, _ = properties.find(text, parts.properties_bytes, address_of(_RECALLED_KEY), len(_RECALLED_KEY))
    if recalled >= 0:
        magic |= timer_log.RECALLS
    topic, topic_bytes = properties.find(
        text, parts.properties_bytes, address_of(_REAL_TOPIC), len(_REAL_TOPIC)
    )
    topic_hash = properties.java_hash(text + topic, topic_bytes) if topic >= 0 else 0
    tick = max(slot_ms, work.read_ms) // work.precision_ms
    timer_log.encode(
        work.unit + at,
        timer_log.Unit(
            timer_wheel.last_of(work.wheel, tick),
            magic,
            work.now_ms,
            tick * work.precision_ms - work.now_ms,
            position,
            record_size,
            topic_hash,
            0,
        ),
    )
    timer_wheel.put(work.wheel, tick, work.unit_position + at, -1 if recalled >= 0 else 1)
    return tick
