"""Kernel: what lies behind the entries of a queue, as rows of numbers; no message is copied.

A row of a batch:

    offset  size  field         meaning
    ------  ----  ------------  ----------------------------------------------------
         0     8  position      where the record begins in the log
         8     8  body_at       where the body begins in the log
        16     8  queue_offset  its number in its queue
        24     8  store_ms      the broker's clock
        32     8  born_ms       the producer's
        40     8  tag_hash      Java's hash of the tags; 0 without
        48     4  body_bytes    length of the body
        52     4  record_bytes  length of the record
        56     4  sys_flag      says whether the body is compressed
        60     4  queue_id
        64

Entries and records are read-only mappings, and were published before the queue's `max` that the caller has
read. An entry that stands for no message, or whose tags are not wanted, makes no row.
"""

from typing import Final, NamedTuple

import numpy as np

from shmq.jit import entry, kernel
from shmq.memory.atomics import prefetch
from shmq.memory.block import address_of, equal
from shmq.memory.endian import load_i32, load_i64, load_native_i64, store_native_i32, store_native_i64
from shmq.memory.layout import LINE_BYTES, layout
from shmq.store import record
from shmq.store.position import NONE
from shmq.store.queue_entry import EXTENSION_MAX, POSITION, RECORD_SIZE, SIZE, TAG_HASH, is_message

ROW: Final = layout(
    64,
    position=(0, "<i8"),
    body_at=(8, "<i8"),
    queue_offset=(16, "<i8"),
    store_ms=(24, "<i8"),
    born_ms=(32, "<i8"),
    tag_hash=(40, "<i8"),
    body_bytes=(48, "<i4"),
    record_bytes=(52, "<i4"),
    sys_flag=(56, "<i4"),
    queue_id=(60, "<i4"),
)
ROW_SIZE: Final = ROW.itemsize

_AHEAD: Final = 16
"""So many entries ahead a record's head is fetched: records of one queue lie apart, and each is a line of its own."""
_HEAD_LINES: Final = 2

TAG_WORDS: Final = 3
"""A wanted tag: its hash, where its text lies, how long that is."""

_TAGS: Final = np.frombuffer(b"TAGS", dtype=np.uint8)


class Part(NamedTuple):
    """A part of a queue to be gathered.

    Attributes:
        entries: where the entry of `offset` is mapped.
        offset: the first queue offset.
        entry_count: how many entries there are.
        rows: where the rows go.
        rows_max: how many fit.
        log_start: the first position of the log file that is mapped.
        log_address: where that is.
        log_bytes: how long it is.
        tags: where the wanted tags lie, TAG_WORDS words each.
        tag_count: how many; 0: all messages are wanted.
    """

    entries: int
    offset: int
    entry_count: int
    rows: int
    rows_max: int
    log_start: int
    log_address: int
    log_bytes: int
    tags: int
    tag_count: int


@entry
def gather(part: Part) -> tuple[int, int]:
    """Make rows; return how many entries were gone through and how many rows they gave.

    It stops at a record that lies in another file of the log than the mapped one.
    """
    taken = 0
    made = 0
    while taken < part.entry_count and made < part.rows_max:
        entry = part.entries + taken * SIZE
        if taken + _AHEAD < part.entry_count:
            _expect_record(part, entry + _AHEAD * SIZE)
        position = load_i64(entry + POSITION)
        size = load_i32(entry + RECORD_SIZE)
        if is_message(size):
            at = position - part.log_start
            if at < 0 or at + size > part.log_bytes:
                break
            message = part.log_address + at
            tag_hash = load_i64(entry + TAG_HASH)
            if part.tag_count == 0 or _is_wanted(part, message, tag_hash):
                _make_row(part.rows + ROW_SIZE * made, message, position, size, tag_hash)
                made += 1
        taken += 1
    return taken, made


@entry
def first_file(entries: int, count: int, file_bytes: int) -> int:
    """Where the log file begins in which the first message of these entries lies; NONE without a message."""
    for index in range(count):
        entry = entries + index * SIZE
        if is_message(load_i32(entry + RECORD_SIZE)):
            position = load_i64(entry + POSITION)
            return position - position % file_bytes
    return NONE


@kernel
def _expect_record(part: Part, entry: int) -> None:
    """Ask for the head of an entry's record, wherever it lies."""
    message = part.log_address + load_i64(entry + POSITION) - part.log_start
    for line in range(_HEAD_LINES):
        prefetch(message + LINE_BYTES * line)


@kernel
def _make_row(row: int, message: int, position: int, size: int, tag_hash: int) -> None:
    body = record.body_at(message)
    store_native_i64(row, position)
    store_native_i64(row + 8, position + body)
    store_native_i64(row + 16, load_i64(message + record.QUEUE_OFFSET))
    store_native_i64(row + 24, record.store_timestamp(message))
    store_native_i64(row + 32, load_i64(message + record.BORN_TIMESTAMP))
    store_native_i64(row + 40, tag_hash if tag_hash > EXTENSION_MAX else record.tag_hash(message))
    store_native_i32(row + 48, max(load_i32(message + body - 4), 0))
    store_native_i32(row + 52, size)
    store_native_i32(row + 56, load_i32(message + record.SYS_FLAG))
    store_native_i32(row + 60, load_i32(message + record.QUEUE_ID))


@kernel
def _is_wanted(part: Part, message: int, tag_hash: int) -> bool:
    """Whether a record's tags are among those asked for: by hash, where the entry has one, then by text."""
    for index in range(part.tag_count):
        tag = part.tags + 8 * TAG_WORDS * index
        if load_native_i64(tag) == tag_hash or tag_hash <= EXTENSION_MAX:
            value, value_bytes = record.property_at(message, address_of(_TAGS), 4)
            text_bytes = load_native_i64(tag + 16)
            is_long_as = value != NONE and value_bytes == text_bytes
            if is_long_as and equal(message + value, load_native_i64(tag + 8), text_bytes):
                return True
    return False
