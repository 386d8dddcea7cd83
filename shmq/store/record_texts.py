"""Kernel: the values of some properties of many records, one behind the other, for a filter that is Python.

A queue's entries are walked, and of each record only the properties that were asked for are copied: each value, or
nothing where the record has none, and VALUE_END behind it, which no value holds. So Python decodes and splits all of
them at once. A blank, and a record that is not what its entry says, has no properties.

Records are read within one mapped file of the log at a time. Nothing is written but the caller's memory.
"""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.block import copy, equal
from shmq.memory.endian import load_i32, load_i64, load_native_i64, load_u8, store_native_i64, store_u8
from shmq.store.extension_scan import UNWANTED
from shmq.store.properties import NAME_END, VALUE_END, end_of_pair
from shmq.store.queue_entry import POSITION, RECORD_SIZE, SIZE, is_message
from shmq.store.record import BLANK_BYTES_MIN, TOTAL_SIZE, parts_of

NAME_BYTES: Final = 32
"""A name: where it lies, how long it is; then where its value was found and how long that is."""


class Texts(NamedTuple):
    """What copy_texts() is asked for.

    Attributes:
        entries: where the first entry is mapped.
        end: how many entries there are.
        file_start: the first position of the log that is mapped.
        file_end: the position behind the last.
        file: where they are mapped.
        names: NAME_BYTES for each name, all different.
        name_count: how many they are.
        room: where values are written.
        room_bytes: how many bytes may be.
        marks: a byte for each entry, of which those with UNWANTED are passed over; 0: none is.
    """

    entries: int
    end: int
    file_start: int
    file_end: int
    file: int
    names: int
    name_count: int
    room: int
    room_bytes: int
    marks: int


@entry
def copy_texts(asked: Texts, begin: int) -> tuple[int, int]:
    """Copy values from an entry on; return the entry that was not done any more, and how many bytes were written.

    It stops at a record that is in another file, or when another record might not fit.
    """
    written = 0
    index = begin
    while index < asked.end:
        if asked.marks != 0 and load_u8(asked.marks + index) == UNWANTED:
            index += 1
            continue
        at = asked.entries + index * SIZE
        position = load_i64(at + POSITION)
        size = load_i32(at + RECORD_SIZE)
        is_here = is_message(size) and position >= 0
        if is_here and (not asked.file_start <= position < asked.file_end):
            break
        properties = properties_bytes = 0
        if is_here and size <= asked.file_end - position:
            properties, properties_bytes = _properties_of(asked.file + position - asked.file_start, size)
        if written + properties_bytes + asked.name_count > asked.room_bytes:
            break
        _find(
            asked, properties, properties_bytes, asked.file + asked.file_end - asked.file_start - properties
        )
        for number in range(asked.name_count):
            name = asked.names + NAME_BYTES * number
            value_bytes = load_native_i64(name + 24)
            if value_bytes > 0:
                copy(asked.room + written, load_native_i64(name + 16), value_bytes)
            store_u8(asked.room + written + value_bytes, VALUE_END)
            written += value_bytes + 1
        index += 1
    return index, written


@kernel
def _properties_of(record: int, size_bytes: int) -> tuple[int, int]:
    """Where the properties of a record of this size lie and how long they are; (0, 0) where it is none."""
    if size_bytes < BLANK_BYTES_MIN or load_i32(record + TOTAL_SIZE) != size_bytes:
        return 0, 0
    parts = parts_of(record, size_bytes)
    if parts.size != size_bytes:
        return 0, 0
    return record + parts.properties, parts.properties_bytes


@kernel
def _find(asked: Texts, properties: int, size_bytes: int, readable_bytes: int) -> None:
    """Note where the value of each name lies; of two with one name the last counts, of none there are 0 bytes."""
    for number in range(asked.name_count):
        store_native_i64(asked.names + NAME_BYTES * number + 24, 0)
    at = 0
    while at < size_bytes:
        end = end_of_pair(properties, at, size_bytes, readable_bytes)
        for number in range(asked.name_count):
            name = asked.names + NAME_BYTES * number
            value = at + load_native_i64(name + 8) + 1
            if (
                value < end
                and load_u8(properties + value - 1) == NAME_END
                and equal(properties + at, load_native_i64(name), value - 1 - at)
            ):
                store_native_i64(name + 16, properties + value)
                store_native_i64(name + 24, end - value)
        at = end + 1
