"""One file of the key index: from the hash of a topic and a key to the records that have it, newest first.

    offset  size  field            meaning
    ------  ----  ---------------  ------------------------------------------------------------------
         0     8  begin_timestamp  store time of the first record that is in here, ms
         8     8  end_timestamp    of the last one
        16     8  begin_position   where the first record lies in the log
        24     8  end_position     where the last one does
        32     4  used_slots       how many slots are not empty
        36     4  count            the number of the next entry; the first is 1, number 0 is never used
        40

Then a table of slots, 4 bytes each: the number of the newest entry whose hash belongs there, 0 where there is none.
Then the entries, by number:

    offset  size  field            meaning
    ------  ----  ---------------  ------------------------------------------------------------------
         0     4  key_hash         of `topic#key`, never negative
         4     8  position         where the record lies in the log
        12     4  seconds          its store time, counted from the file's begin_timestamp
        16     4  previous         the next older entry of the slot, 0 where there is none
        20

Big-endian: RocketMQ's index file, byte for byte (store.md, 3.6). A file that follows a full one is made with that
one's end as its begin; its first entry counts its seconds from there, and replaces the begin after that.

Written by the dispatcher's process alone, read by every network worker. An entry is whole before its slot names it,
and counted last: a crash of the process in between leaves a slot that names the entry which will be written next, and
that entry's `previous`, which `put` heeds. What a power cut leaves is for `key_recover.py`.
"""

from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.atomics import acquire_fence, prefetch_to_write, release_fence
from shmq.memory.block import zero
from shmq.memory.endian import load_i32, load_i64, store_i32, store_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.store.key_shape import ENTRY_BYTES, HEADER_BYTES, SLOT_BYTES

LAYOUT: Final = layout(
    HEADER_BYTES,
    begin_timestamp=(0, ">i8"),
    end_timestamp=(8, ">i8"),
    begin_position=(16, ">i8"),
    end_position=(24, ">i8"),
    used_slots=(32, ">i4"),
    count=(36, ">i4"),
)
BEGIN_TIMESTAMP: Final = offset_of(LAYOUT, "begin_timestamp")
END_TIMESTAMP: Final = offset_of(LAYOUT, "end_timestamp")
BEGIN_POSITION: Final = offset_of(LAYOUT, "begin_position")
END_POSITION: Final = offset_of(LAYOUT, "end_position")
USED_SLOTS: Final = offset_of(LAYOUT, "used_slots")
COUNT: Final = offset_of(LAYOUT, "count")

ENTRY_LAYOUT: Final = layout(
    ENTRY_BYTES, key_hash=(0, ">i4"), position=(4, ">i8"), seconds=(12, ">i4"), previous=(16, ">i4")
)
KEY_HASH: Final = offset_of(ENTRY_LAYOUT, "key_hash")
POSITION: Final = offset_of(ENTRY_LAYOUT, "position")
SECONDS: Final = offset_of(ENTRY_LAYOUT, "seconds")
PREVIOUS: Final = offset_of(ENTRY_LAYOUT, "previous")

FIRST_NUMBER: Final = 1
STEPS_MAX: Final = 1 << 18
"""A slot's chain is followed no farther: it takes some 20 ms, in which a network worker does nothing else."""

_AHEAD: Final = 16
"""So many entries ahead their slots are fetched: each is a line of its own, seldom in a cache."""
_INT32_MAX: Final = 0x7FFF_FFFF
_SECOND_MS: Final = 1000


class Key(NamedTuple):
    """A key of a record: its hash, where in the file its slot lies, the record's position and its store time, ms."""

    key_hash: int
    slot: int
    position: int
    store_ms: int


class Wanted(NamedTuple):
    """What is looked for: a key's hash, and the earliest and latest store time, ms, both included."""

    key_hash: int
    begin_ms: int
    end_ms: int


@kernel
def key_hash_of(java_hash: int) -> int:
    """The hash that stands in the file for Java's hash of `topic#key`."""
    key_hash = abs(java_hash)
    return key_hash if key_hash <= _INT32_MAX else 0


@kernel
def slot_at(slots: int, key_hash: int) -> int:
    """Where in the file the slot of a hash lies."""
    return HEADER_BYTES + SLOT_BYTES * (key_hash % slots)


@entry
def entry_at(slots: int, number: int) -> int:
    """Where in the file an entry lies."""
    return HEADER_BYTES + SLOT_BYTES * slots + ENTRY_BYTES * number


@kernel
def put(file: int, slots: int, key: Key) -> None:
    """Add an entry to a file that has room for it.

    Args:
        file: where it is mapped.
        slots: how many it has.
        key: what is added.
    """
    number = load_i32(file + COUNT)
    at = file + entry_at(slots, number)
    slot = file + key.slot
    previous = load_i32(slot)
    if previous == number:  # a predecessor was killed behind its store to the slot
        previous = load_i32(at + PREVIOUS)
    if not 0 < previous < number:
        previous = 0
    begin_ms = load_i64(file + BEGIN_TIMESTAMP)
    store_i32(at + KEY_HASH, key.key_hash)
    store_i64(at + POSITION, key.position)
    store_i32(at + SECONDS, seconds_since(begin_ms, key.store_ms))
    store_i32(at + PREVIOUS, previous)
    release_fence()  # pairs with a reader's load of the slot: the entry is whole
    store_i32(slot, number)
    if number == FIRST_NUMBER:
        store_i64(file + BEGIN_POSITION, key.position)
        store_i64(file + BEGIN_TIMESTAMP, key.store_ms)
    if previous == 0:
        store_i32(file + USED_SLOTS, load_i32(file + USED_SLOTS) + 1)
    store_i64(file + END_POSITION, key.position)
    store_i64(file + END_TIMESTAMP, key.store_ms)
    release_fence()  # pairs with a successor's look at the count: whatever is counted is whole
    store_i32(file + COUNT, number + 1)


@entry
def select(file: int, slots: int, wanted: Wanted, found: int, most: int) -> int:
    """The positions of the newest records with a key's hash that may have been stored in the given time.

    Entries know whole seconds: who must know exactly looks at the records.

    Args:
        file: where it is mapped.
        slots: how many it has.
        wanted: what is looked for.
        found: address of room for `most` words.
        most: so many at most.

    Returns:
        How many there are.
    """
    number = load_i32(file + slot_at(slots, wanted.key_hash))
    acquire_fence()  # pairs with put(): the entry that the slot names is whole
    count = load_i32(file + COUNT)
    begin_ms = load_i64(file + BEGIN_TIMESTAMP)
    limit = count + 1  # the newest may not be counted yet
    result = 0
    steps = 0
    while 0 < number < limit and result < most and steps < STEPS_MAX:
        at = file + entry_at(slots, number)
        earliest_ms = begin_ms
        if number > FIRST_NUMBER:  # the first is the file's begin, whatever it says
            earliest_ms += load_i32(at + SECONDS) * _SECOND_MS
        latest_ms = earliest_ms + _SECOND_MS - 1
        if latest_ms < wanted.begin_ms:
            break
        if earliest_ms <= wanted.end_ms and load_i32(at + KEY_HASH) == wanted.key_hash:
            store_native_i64(found + 8 * result, load_i64(at + POSITION))
            result += 1
        limit = number  # older entries have smaller numbers: a torn file makes no circle
        number = load_i32(at + PREVIOUS)
        steps += 1
    return result


@entry
def first_number_from(file: int, slots: int, count: int, position: int) -> int:
    """The number of the first entry whose record lies at or behind a position; count where there is none."""
    low = FIRST_NUMBER
    high = count
    while low < high:
        middle = (low + high) // 2
        if load_i64(file + entry_at(slots, middle) + POSITION) < position:
            low = middle + 1
        else:
            high = middle
    return low


@entry
def rebuild_slots(file: int, slots: int, count: int) -> None:
    """Make the slots what the entries below a number say, which is all that the file is to have from now on."""
    zero(file + HEADER_BYTES, SLOT_BYTES * slots)
    used = 0
    for number in range(FIRST_NUMBER, count):
        coming = min(number + _AHEAD, count - 1)
        prefetch_to_write(file + slot_at(slots, load_i32(file + entry_at(slots, coming) + KEY_HASH)))
        at = file + entry_at(slots, number)
        slot = file + slot_at(slots, load_i32(at + KEY_HASH))
        previous = load_i32(slot)
        used += int(previous == 0)
        store_i32(at + PREVIOUS, previous)
        store_i32(slot, number)
    store_i32(file + USED_SLOTS, used)
    store_i32(file + COUNT, count)


@kernel
def seconds_since(begin_ms: int, store_ms: int) -> int:
    """What stands in the entry of a record for its store time."""
    if begin_ms <= 0 or store_ms < begin_ms:
        return 0
    return min((store_ms - begin_ms) // _SECOND_MS, _INT32_MAX)
