"""Kernels: what a column of Arrow consists of, gathered from the records of a batch: where each value ends, and all bytes.

Texts become valid UTF-8 on the way: each malformed sequence becomes one U+FFFD. A column's room is the caller's, who
knows from the rows how much there can be at most. Its offsets begin with a zero that the caller has written.
"""

from typing import Final, NamedTuple

import numpy as np

from shmq.jit import entry, kernel
from shmq.memory.block import address_of, copy, equal
from shmq.memory.endian import load_native_i32, load_native_i64, load_u8, store_native_i32, store_u8
from shmq.memory.layout import offset_of
from shmq.store import properties
from shmq.store.record_rows import ROW_BYTES, ROW_LAYOUT

_BODY_AT: Final = offset_of(ROW_LAYOUT, "body_at")
_BODY_BYTES: Final = offset_of(ROW_LAYOUT, "body_bytes")
_PROPERTIES_AT: Final = offset_of(ROW_LAYOUT, "properties_at")
_PROPERTIES_BYTES: Final = offset_of(ROW_LAYOUT, "properties_bytes")

_TAGS: Final = np.frombuffer(b"TAGS", dtype=np.uint8)
_KEYS: Final = np.frombuffer(b"KEYS", dtype=np.uint8)
_UNIQUE_KEY: Final = np.frombuffer(b"UNIQ_KEY", dtype=np.uint8)
_SEPARATOR: Final = ord(" ")


class Rows(NamedTuple):
    """The records of a batch.

    Attributes:
        rows: where their rows lie.
        record_count: how many.
        log: where the file is mapped that they lie in.
        log_bytes: its size.
    """

    rows: int
    record_count: int
    log: int
    log_bytes: int


class Texts(NamedTuple):
    """A column of texts: where the offsets lie, 32 bits each, and the bytes."""

    offsets: int
    content: int


class PropertyColumns(NamedTuple):
    """Where the columns go that are made of properties.

    Attributes:
        tags, has_tags: the tag of each record, and a byte each that is 1 where there is one.
        unique, has_unique: its unique id, likewise.
        keys, key_ends: the keys of all records, and the offsets that say which are whose.
        names, values, pair_ends: names and values of all other properties, likewise.
        pairs: room for the pairs of one record, see `properties.split`.
    """

    tags: Texts
    has_tags: int
    unique: Texts
    has_unique: int
    keys: Texts
    key_ends: int
    names: Texts
    values: Texts
    pair_ends: int
    pairs: int


@entry
def gather_bodies(source: Rows, content: int) -> None:
    """Copy the bodies behind each other."""
    for index in range(source.record_count):
        row = source.rows + ROW_BYTES * index
        size_bytes = load_native_i32(row + _BODY_BYTES)
        copy(content, source.log + load_native_i32(row + _BODY_AT), size_bytes)
        content += size_bytes


@entry
def gather_properties(source: Rows, to: PropertyColumns) -> tuple[int, int]:
    """Fill the columns; return how many keys there are, and how many other properties."""
    key_count = 0
    pair_count = 0
    for index in range(source.record_count):
        row = source.rows + ROW_BYTES * index
        at = load_native_i32(row + _PROPERTIES_AT)
        count = properties.split(
            source.log + at, load_native_i32(row + _PROPERTIES_BYTES), source.log_bytes - at, to.pairs
        )
        store_native_i32(to.tags.offsets + 4 * (index + 1), load_native_i32(to.tags.offsets + 4 * index))
        store_native_i32(to.unique.offsets + 4 * (index + 1), load_native_i32(to.unique.offsets + 4 * index))
        store_u8(to.has_tags + index, 0)
        store_u8(to.has_unique + index, 0)
        for number in range(count):
            pair = to.pairs + 8 * properties.PAIR_WORDS * number
            value = load_native_i64(pair + 16)
            value_bytes = load_native_i64(pair + 24)
            if _is_called(pair, address_of(_TAGS), 4):
                _append(to.tags, index, value, value_bytes)
                store_u8(to.has_tags + index, 1)
            elif _is_called(pair, address_of(_UNIQUE_KEY), 8):
                _append(to.unique, index, value, value_bytes)
                store_u8(to.has_unique + index, 1)
            elif _is_called(pair, address_of(_KEYS), 4):
                key_count = _append_keys(to.keys, key_count, value, value_bytes)
            else:
                _append(to.names, pair_count, load_native_i64(pair), load_native_i64(pair + 8))
                _append(to.values, pair_count, value, value_bytes)
                pair_count += 1
        store_native_i32(to.key_ends + 4 * (index + 1), key_count)
        store_native_i32(to.pair_ends + 4 * (index + 1), pair_count)
    return key_count, pair_count


@kernel
def _is_called(pair: int, name: int, name_bytes: int) -> bool:
    return load_native_i64(pair + 8) == name_bytes and equal(load_native_i64(pair), name, name_bytes)


@kernel
def _append_keys(keys: Texts, count: int, text: int, size_bytes: int) -> int:
    """Append each key of a record to a column that has so many; return how many it has then."""
    at = 0
    while at < size_bytes:
        begin = at
        while at < size_bytes and load_u8(text + at) != _SEPARATOR:
            at += 1
        if at > begin:
            _append(keys, count, text + begin, at - begin)
            count += 1
        at += 1
    return count


@kernel
def _append(column: Texts, index: int, text: int, size_bytes: int) -> None:
    """Make a text the value of this index, the column's last."""
    begin = load_native_i32(column.offsets + 4 * index)
    copied = properties.copy_text(column.content + begin, text, size_bytes)
    store_native_i32(column.offsets + 4 * (index + 1), begin + copied)
