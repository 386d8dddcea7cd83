"""The ring: one producer, one consumer, records of any length that fits.

The producer claims room, writes the payload there and publishes it; nothing is visible before. The
consumer peeks at the oldest record, reads it in place and gives its room back. A record never wraps: where
it would, padding fills the rest of the data first. "Full" and "empty" are named negatives.

The proof is short: `produced` is released after the bytes it covers and acquired before they are read;
`consumed` is released after the last read of the bytes it covers and acquired before they are overwritten.
Whoever dies, the other sees only whole records, and a successor goes on from the two cursors.

Those whose names end in `_within` are for an end that does not trust the other: it knows the capacity. Whatever the
other end writes, and when, they read and write nothing outside the ring.
"""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.atomics import load_acquire, load_relaxed, prefetch_to_write, store_relaxed, store_release
from shmq.memory.endian import load_native_i32, load_native_i64, store_native_i32, store_native_i64
from shmq.memory.layout import LINE_BYTES, round_up
from shmq.ring import header, record

NONE: Final = -1
"""No record is there, or no room."""

_PRODUCED: Final = header.PRODUCED
_CONSUMED_SEEN: Final = header.CONSUMED_SEEN
_CONSUMED: Final = header.CONSUMED
_CAPACITY: Final = header.CAPACITY
_DATA: Final = header.SIZE
_HEAD: Final = record.SIZE
_SIZE_BYTES: Final = record.SIZE_BYTES
_KIND: Final = record.KIND
_TAG: Final = record.TAG
_PADDING: Final = record.PADDING
_BROKEN: Final = record.BROKEN


class Record(NamedTuple):
    """A record as it lies in the ring.

    Attributes:
        position: where it begins, in the ring's count of bytes; NONE: there is none.
        address: of its payload.
        size_bytes: of its payload.
        kind: what the payload is.
        tag: the sender's number.
    """

    position: int
    address: int
    size_bytes: int
    kind: int
    tag: int


def ring_bytes(capacity_bytes: int) -> int:
    """How much memory a ring of this capacity takes."""
    assert capacity_bytes & (capacity_bytes - 1) == 0, "a capacity is a power of two"
    return _DATA + capacity_bytes


def initialise(ring: int, capacity_bytes: int) -> None:
    """Make zeroed memory a ring."""
    store_native_i64(ring + _CAPACITY, capacity_bytes)


def capacity_of(ring: int) -> int:
    """The capacity that the ring was made with."""
    return load_native_i64(ring + _CAPACITY)


def payload_bytes_max(capacity_bytes: int) -> int:
    """The longest payload that surely fits an empty ring, wherever its cursors stand."""
    return capacity_bytes // 2 - _HEAD


@entry
def space_of(payload_bytes: int) -> int:
    """How many bytes of a ring a record takes."""
    return (_HEAD + payload_bytes + 7) & -8


@entry
def claim(ring: int, payload_bytes: int) -> int:
    """Reserve room for a record; return its position, or NONE where the ring is full.

    Claiming again without publishing gives the same room.
    """
    return claim_after(ring, load_relaxed(ring + _PRODUCED), payload_bytes)  # ours: nobody else writes it


@kernel
def claim_after(ring: int, produced: int, payload_bytes: int) -> int:
    """As claim, behind records that were filled and not published yet, which end at `produced`."""
    return claim_within(ring, load_native_i64(ring + _CAPACITY), produced, payload_bytes)


@entry
def claim_within(ring: int, capacity: int, produced: int, payload_bytes: int) -> int:
    """As claim_after, in a ring whose other end is not trusted: its capacity is the caller's to know."""
    size = space_of(payload_bytes)
    at = produced & (
        capacity - record.ALIGNMENT
    )  # in memory that is not ours alone, even our own cursor may be odd
    padding = 0
    if at + size > capacity:
        padding = capacity - at
    if produced + padding + size > load_relaxed(ring + _CONSUMED_SEEN) + capacity:
        consumed = load_acquire(ring + _CONSUMED)  # pairs with give_back(): those bytes are free
        store_relaxed(ring + _CONSUMED_SEEN, consumed)
        if produced + padding + size > consumed + capacity:
            return NONE
    if padding > 0:
        store_native_i32(ring + _DATA + at + _SIZE_BYTES, _PADDING)
    return produced + padding


@entry
def payload_address(ring: int, position: int) -> int:
    """Where the payload of the record at a position lies."""
    return payload_within(ring, load_native_i64(ring + _CAPACITY), position)


@entry
def payload_within(ring: int, capacity: int, position: int) -> int:
    """As payload_address, in a ring of a capacity that the caller knows."""
    return ring + _DATA + (position & (capacity - record.ALIGNMENT)) + _HEAD


@entry
def fill_head(ring: int, position: int, payload_bytes: int, kind: int, tag: int) -> int:
    """Write a claimed record's head; return the position after it, for `publish`."""
    return fill_head_at(payload_address(ring, position), position, payload_bytes, kind, tag)


@entry
def fill_head_at(payload: int, position: int, payload_bytes: int, kind: int, tag: int) -> int:
    """As fill_head, where the address of the payload is known."""
    head = payload - _HEAD
    store_native_i32(head + _SIZE_BYTES, payload_bytes)
    store_native_i32(head + _KIND, kind)
    store_native_i64(head + _TAG, tag)
    return position + space_of(payload_bytes)


@entry
def publish(ring: int, position_after: int) -> None:
    """Make everything before a position visible to the consumer."""
    store_release(ring + _PRODUCED, position_after)  # pairs with peek()


@kernel
def take_ahead(ring: int, capacity: int, produced: int, lines: int) -> None:
    """Have some lines behind the producer's cursor for oneself, before they are written.

    The consumer was the last to read them, and each takes its way to come here: for who has a moment to spare.
    """
    begin = ring + _DATA + (produced & (capacity - record.ALIGNMENT))
    for line in range(lines):
        prefetch_to_write(begin + LINE_BYTES * line)


@entry
def peek(ring: int, after: int) -> Record:
    """The record at a position of the consumer's (its cursor, or behind the record before).

    Where a producer has published a head of impossible length, nothing behind it can be found: the record is
    then of the kind BROKEN, its payload not to be read, and takes all that is published.
    """
    return peek_within(ring, load_native_i64(ring + _CAPACITY), after)


@entry
def peek_within(ring: int, capacity: int, after: int) -> Record:
    """As peek, in a ring whose producer is not trusted: its capacity is the caller's to know.

    Nothing outside the ring is read, whatever the producer stored. Published bytes that cannot be, as they are
    more than the ring holds, are one BROKEN record; a cursor that went back is an empty ring.
    """
    produced = load_acquire(ring + _PRODUCED)  # pairs with publish(): the bytes before it are whole
    if after >= produced:
        return Record(NONE, 0, 0, 0, 0)
    if produced - after > capacity:
        return Record(after, ring + _DATA, produced - after - _HEAD, _BROKEN, 0)
    position = after
    at = position & (capacity - 1)
    if load_native_i32(ring + _DATA + at + _SIZE_BYTES) == _PADDING and position + capacity - at < produced:
        position += capacity - at
        at = 0
    head = ring + _DATA + at
    size = load_native_i32(head + _SIZE_BYTES)
    kind = load_native_i32(head + _KIND)
    if size < 0 or position + space_of(size) > produced or at + space_of(size) > capacity:
        size = produced - position - _HEAD
        kind = _BROKEN
    return Record(position, head + _HEAD, size, kind, load_native_i64(head + _TAG))


@kernel
def record_within(ring: int, capacity: int, after: int, produced: int) -> Record:
    """As peek_within, below a cursor of the producer's that was read before; each word of a head is read once."""
    position = after
    if produced - after > capacity or (produced | after) % record.ALIGNMENT:
        return Record(position, ring + _DATA + _HEAD, produced - position - _HEAD, _BROKEN, 0)
    at = position & (capacity - 1)
    first = load_relaxed(ring + _DATA + at)  # size and kind in one: nobody changes one of them in between
    if _low_half(first) == _PADDING and position + capacity - at < produced:
        position += capacity - at
        at = 0
        first = load_relaxed(ring + _DATA)
    size = _low_half(first)
    kind = first >> 32
    if size < 0 or position + space_of(size) > produced or at + space_of(size) > capacity:
        size = produced - position - _HEAD
        kind = _BROKEN
    return Record(position, ring + _DATA + at + _HEAD, size, kind, load_relaxed(ring + _DATA + at + _TAG))


@kernel
def _low_half(word: int) -> int:
    """The first four bytes of a word, signed."""
    low = word & 0xFFFF_FFFF
    return low - ((low & 0x8000_0000) << 1)


@entry
def consumed_position(ring: int) -> int:
    """The consumer's own cursor."""
    return load_relaxed(ring + _CONSUMED)


@entry
def produced_position(ring: int) -> int:
    """The producer's cursor, as anybody may see it."""
    return load_acquire(ring + _PRODUCED)


@entry
def give_back(ring: int, position_after: int) -> None:
    """Let the producer reuse everything before a position."""
    store_release(ring + _CONSUMED, position_after)  # pairs with claim()


@entry
def is_empty(ring: int) -> bool:
    """Whether the consumer has given back all that was published."""
    return load_acquire(ring + _PRODUCED) <= load_relaxed(ring + _CONSUMED)


def capacity_for(payload_bytes: int) -> int:
    """The smallest capacity whose ring surely takes a payload of this size."""
    needed = 2 * round_up(payload_bytes + _HEAD, record.ALIGNMENT)
    return 1 << (needed - 1).bit_length()
