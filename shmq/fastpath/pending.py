"""Layout and kernels: submissions that wait: first for the writer's completion, then perhaps for the flush.

    offset  size  field            meaning
    ------  ----  ---------------  ----------------------------------------------------------------
         0     8  capacity         how many rows there are, at most 2**16
         8     8  free             the row that is taken next, or 0
        16     8  fresh            how many rows were ever taken; those behind them are untouched
        24     8  first_unflushed  the row whose answer waits longest for the flush, or 0
        32     8  last_unflushed   the one that waits shortest
        40     8  serial           of the newest submission
        48     8  count            how many rows are taken
       128        the rows

A row:

         0     8  tag              the submission's; 0 where the row is free
         8     8  row              the connection that waits, if it is still the one of this id
        16     8  connection_id
        24     8  opaque
        32     8  flags            bits below
        40     8  queue_id         as the answer names it
        48     8  record_count
        56     8  records_bytes    their length together
        64     8  sizes            the heap's: the length of each of several records, 4 bytes each; or 0
        72     8  next             the next row of the list that this one is in, or 0
        80     8  queue_offset     of the first record
        88     8  position         of the first record
        96     8  deadline_ms      the answer goes then, flushed or not
       104     8  key_bytes        of the message's unique key; ABSENT
       112    64  key
       192

A tag is FAST, the worker's epoch (14 bits), a serial number (32 bits), the row's number (16 bits): what is completed
for a predecessor, for Python's own submissions or for the second time finds no row of its tag. Rows given back are
taken again first, while they are in the cache. Private to its network worker, native byte order.
"""

from typing import Final

from shmq.fastpath.request import ABSENT
from shmq.jit import kernel
from shmq.memory.block import copy
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.memory.syscalls import release
from shmq.store.position import NONE

HEAD_LAYOUT: Final = layout(
    128,
    capacity=(0, "<i8"),
    free=(8, "<i8"),
    fresh=(16, "<i8"),
    first_unflushed=(24, "<i8"),
    last_unflushed=(32, "<i8"),
    serial=(40, "<i8"),
    count=(48, "<i8"),
)
CAPACITY: Final = offset_of(HEAD_LAYOUT, "capacity")
FREE: Final = offset_of(HEAD_LAYOUT, "free")
FRESH: Final = offset_of(HEAD_LAYOUT, "fresh")
FIRST_UNFLUSHED: Final = offset_of(HEAD_LAYOUT, "first_unflushed")
LAST_UNFLUSHED: Final = offset_of(HEAD_LAYOUT, "last_unflushed")
SERIAL: Final = offset_of(HEAD_LAYOUT, "serial")
COUNT: Final = offset_of(HEAD_LAYOUT, "count")

KEY_BYTES_MAX: Final = 64

LAYOUT: Final = layout(
    192,
    tag=(0, "<i8"),
    row=(8, "<i8"),
    connection_id=(16, "<i8"),
    opaque=(24, "<i8"),
    flags=(32, "<i8"),
    queue_id=(40, "<i8"),
    record_count=(48, "<i8"),
    records_bytes=(56, "<i8"),
    sizes=(64, "<i8"),
    next=(72, "<i8"),
    queue_offset=(80, "<i8"),
    position=(88, "<i8"),
    deadline_ms=(96, "<i8"),
    key_bytes=(104, "<i8"),
    key=(112, "V64"),
)
TAG: Final = offset_of(LAYOUT, "tag")
ROW: Final = offset_of(LAYOUT, "row")
CONNECTION_ID: Final = offset_of(LAYOUT, "connection_id")
OPAQUE: Final = offset_of(LAYOUT, "opaque")
FLAGS: Final = offset_of(LAYOUT, "flags")
QUEUE_ID: Final = offset_of(LAYOUT, "queue_id")
RECORD_COUNT: Final = offset_of(LAYOUT, "record_count")
RECORDS_BYTES: Final = offset_of(LAYOUT, "records_bytes")
SIZES: Final = offset_of(LAYOUT, "sizes")
NEXT: Final = offset_of(LAYOUT, "next")
QUEUE_OFFSET: Final = offset_of(LAYOUT, "queue_offset")
POSITION: Final = offset_of(LAYOUT, "position")
DEADLINE_MS: Final = offset_of(LAYOUT, "deadline_ms")
KEY_BYTES: Final = offset_of(LAYOUT, "key_bytes")
KEY: Final = offset_of(LAYOUT, "key")

IS_BINARY: Final = 1
"""The answer's header is binary, as its question's was."""
IS_ONEWAY: Final = 2
"""Nobody wants an answer."""
WAITS_FOR_FLUSH: Final = 4
"""The producer wants to know that the message is safe, not only that it is stored."""

FAST: Final = 1 << 62
"""The bit that tells these tags from those of Python's own submissions."""

_ROWS_AT: Final = HEAD_LAYOUT.itemsize
_ROW_BYTES: Final = LAYOUT.itemsize
_INDEX_BITS: Final = 16
_INDEX_MASK: Final = (1 << _INDEX_BITS) - 1
_SERIAL_MASK: Final = (1 << 32) - 1
_EPOCH_SHIFT: Final = 48
_EPOCH_MASK: Final = (1 << 14) - 1


def pending_bytes(capacity: int) -> int:
    """How much memory so many rows need."""
    assert capacity <= 1 << _INDEX_BITS, "a tag has no room for larger numbers of rows"
    return _ROWS_AT + _ROW_BYTES * capacity


def format_pending(pending: int, capacity: int) -> None:
    """Make zeroed memory an empty table."""
    store_native_i64(pending + CAPACITY, capacity)


@kernel
def take_row(pending: int, epoch: int) -> int:
    """Take a row, with a tag of its own; NONE where all are taken."""
    row = load_native_i64(pending + FREE)
    if row != 0:
        store_native_i64(pending + FREE, load_native_i64(row + NEXT))
    else:
        fresh = load_native_i64(pending + FRESH)
        if fresh >= load_native_i64(pending + CAPACITY):
            return NONE
        store_native_i64(pending + FRESH, fresh + 1)
        row = pending + _ROWS_AT + _ROW_BYTES * fresh
    serial = load_native_i64(pending + SERIAL) + 1
    index = (row - pending - _ROWS_AT) // _ROW_BYTES
    tag = FAST | (epoch & _EPOCH_MASK) << _EPOCH_SHIFT | (serial & _SERIAL_MASK) << _INDEX_BITS | index
    store_native_i64(pending + SERIAL, serial)
    store_native_i64(pending + COUNT, load_native_i64(pending + COUNT) + 1)
    store_native_i64(row + TAG, tag)
    store_native_i64(row + SIZES, 0)
    return row


@kernel
def give_row_back(pending: int, row: int) -> None:
    """Forget a submission that is answered, or never was made."""
    release(load_native_i64(row + SIZES))
    store_native_i64(row + TAG, 0)
    store_native_i64(row + NEXT, load_native_i64(pending + FREE))
    store_native_i64(pending + FREE, row)
    store_native_i64(pending + COUNT, load_native_i64(pending + COUNT) - 1)


@kernel
def find_row(pending: int, tag: int) -> int:
    """The row of a tag, or NONE."""
    index = tag & _INDEX_MASK
    row = pending + _ROWS_AT + _ROW_BYTES * index
    if index >= load_native_i64(pending + FRESH) or load_native_i64(row + TAG) != tag:
        return NONE
    return row


@kernel
def put_key(row: int, key: int, key_bytes: int) -> None:
    """Keep a unique key of at most KEY_BYTES_MAX; ABSENT bytes are no key. So many bytes are read in any case."""
    store_native_i64(row + KEY_BYTES, key_bytes)
    if key_bytes != ABSENT:
        copy(row + KEY, key, KEY_BYTES_MAX)


@kernel
def await_flush(pending: int, row: int) -> None:
    """Let a completed submission wait behind those that wait already."""
    store_native_i64(row + NEXT, 0)
    last = load_native_i64(pending + LAST_UNFLUSHED)
    if load_native_i64(pending + FIRST_UNFLUSHED) == 0:
        store_native_i64(pending + FIRST_UNFLUSHED, row)
    else:
        store_native_i64(last + NEXT, row)
    store_native_i64(pending + LAST_UNFLUSHED, row)


@kernel
def first_unflushed(pending: int) -> int:
    """The row that waits longest for the flush, or 0."""
    return load_native_i64(pending + FIRST_UNFLUSHED)


@kernel
def end_wait(pending: int) -> None:
    """Take the row that waits longest out of the list."""
    first = load_native_i64(pending + FIRST_UNFLUSHED)
    store_native_i64(pending + FIRST_UNFLUSHED, load_native_i64(first + NEXT))
