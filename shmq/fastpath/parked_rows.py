"""Layout and kernels: the pulls that wait in a network worker, found by queue, by deadline and by connection.

    offset  size  field             meaning
    ------  ----  ----------------  ------------------------------------------------------------
         0     8  count             how many wait
         8     8  capacity          how many can
        16     8  rows              a row each, described below
        24     8  rows_used         how many rows were ever taken
        32     8  first_free        a row that was given back, or 0
        40     8  heap              their deadlines (`deadlines.py`)
        48     8  watches           how many queues are waited for; their watches are dense
        56     8  watch_slots       of each watch: the queue's slot
        64     8  watch_pasts       of each watch: none of its pulls waits for less than what is past it
        72     8  watch_firsts      of each watch: its first pull
        80     8  watch_of_slot     the index of a slot's watch, plus 1; 0 where none waits for the queue
        88     8  seen              `dispatched` when the queues were looked at; NONE: there is more to look at
        96     8  first_handed_up   the first pull that is Python's now, or 0
       104     8  last_handed_up
       112     8  looked_ms         when the queues were looked at
       128

    offset  size  field             meaning
    ------  ----  ----------------  ------------------------------------------------------------
         0     8  connection        its row (`connections.py`)
         8     8  connection_id
        16     8  slot              the queue
        24     8  past_offset       what it waits for is past it; nothing below matches its filter
        32     8  deadline_ms
        40     8  frame             a copy of it on the heap, with the tags behind
        48     8  frame_bytes
        56     8  tags              the filter of its last pass
        64     8  tag_count
        72     8  suspend_at        where in the frame its waiting time is written; 0 where it does not count
        80     8  suspend_bytes
        88     8  heap_index
        96     8  next_of_queue     or the next free row, or the next that is handed up
       104     8  previous_of_queue
       112     8  next_of_owner     of the same connection
       120     8  previous_of_owner
       128

Private to a network worker: gone with it, as its connections are. When queues have grown, one pass over the watches'
slots and offsets, which lie side by side, finds those with something new; no pull is touched that cannot have got any.
"""

from typing import Final, NamedTuple

import numpy as np

from shmq.fastpath import connections, desk
from shmq.fastpath.deadlines import ENTRY_BYTES, add_deadline, remove_deadline
from shmq.fastpath.request import SPARE_BYTES
from shmq.jit import Words, kernel
from shmq.memory.block import address_of, copy, zero
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.memory.syscalls import allocate, release
from shmq.store.position import NONE

LAYOUT: Final = layout(
    128,
    count=(0, "<i8"),
    capacity=(8, "<i8"),
    rows=(16, "<i8"),
    rows_used=(24, "<i8"),
    first_free=(32, "<i8"),
    heap=(40, "<i8"),
    watches=(48, "<i8"),
    watch_slots=(56, "<i8"),
    watch_pasts=(64, "<i8"),
    watch_firsts=(72, "<i8"),
    watch_of_slot=(80, "<i8"),
    seen=(88, "<i8"),
    first_handed_up=(96, "<i8"),
    last_handed_up=(104, "<i8"),
    looked_ms=(112, "<i8"),
)
SIZE: Final = LAYOUT.itemsize
COUNT: Final = offset_of(LAYOUT, "count")
CAPACITY: Final = offset_of(LAYOUT, "capacity")
ROWS: Final = offset_of(LAYOUT, "rows")
ROWS_USED: Final = offset_of(LAYOUT, "rows_used")
FIRST_FREE: Final = offset_of(LAYOUT, "first_free")
HEAP: Final = offset_of(LAYOUT, "heap")
WATCHES: Final = offset_of(LAYOUT, "watches")
WATCH_SLOTS: Final = offset_of(LAYOUT, "watch_slots")
WATCH_PASTS: Final = offset_of(LAYOUT, "watch_pasts")
WATCH_FIRSTS: Final = offset_of(LAYOUT, "watch_firsts")
WATCH_OF_SLOT: Final = offset_of(LAYOUT, "watch_of_slot")
SEEN: Final = offset_of(LAYOUT, "seen")
FIRST_HANDED_UP: Final = offset_of(LAYOUT, "first_handed_up")
LAST_HANDED_UP: Final = offset_of(LAYOUT, "last_handed_up")
LOOKED_MS: Final = offset_of(LAYOUT, "looked_ms")

ROW_LAYOUT: Final = layout(
    128,
    connection=(0, "<i8"),
    connection_id=(8, "<i8"),
    slot=(16, "<i8"),
    past_offset=(24, "<i8"),
    deadline_ms=(32, "<i8"),
    frame=(40, "<i8"),
    frame_bytes=(48, "<i8"),
    tags=(56, "<i8"),
    tag_count=(64, "<i8"),
    suspend_at=(72, "<i8"),
    suspend_bytes=(80, "<i8"),
    heap_index=(88, "<i8"),
    next_of_queue=(96, "<i8"),
    previous_of_queue=(104, "<i8"),
    next_of_owner=(112, "<i8"),
    previous_of_owner=(120, "<i8"),
)
ROW_SIZE: Final = ROW_LAYOUT.itemsize
CONNECTION: Final = offset_of(ROW_LAYOUT, "connection")
CONNECTION_ID: Final = offset_of(ROW_LAYOUT, "connection_id")
SLOT: Final = offset_of(ROW_LAYOUT, "slot")
PAST_OFFSET: Final = offset_of(ROW_LAYOUT, "past_offset")
DEADLINE_MS: Final = offset_of(ROW_LAYOUT, "deadline_ms")
FRAME: Final = offset_of(ROW_LAYOUT, "frame")
FRAME_BYTES: Final = offset_of(ROW_LAYOUT, "frame_bytes")
TAGS: Final = offset_of(ROW_LAYOUT, "tags")
TAG_COUNT: Final = offset_of(ROW_LAYOUT, "tag_count")
SUSPEND_AT: Final = offset_of(ROW_LAYOUT, "suspend_at")
SUSPEND_BYTES: Final = offset_of(ROW_LAYOUT, "suspend_bytes")
HEAP_INDEX: Final = offset_of(ROW_LAYOUT, "heap_index")
NEXT_OF_QUEUE: Final = offset_of(ROW_LAYOUT, "next_of_queue")
PREVIOUS_OF_QUEUE: Final = offset_of(ROW_LAYOUT, "previous_of_queue")
NEXT_OF_OWNER: Final = offset_of(ROW_LAYOUT, "next_of_owner")
PREVIOUS_OF_OWNER: Final = offset_of(ROW_LAYOUT, "previous_of_owner")

PULLS_MAX: Final = 65_536


class Wait(NamedTuple):
    """What a pull waits for.

    Attributes:
        slot: the queue's.
        past_offset: it has seen everything below.
        deadline_ms: the last moment.
        tags: where the hashes of its filter lie.
        tag_count: how many they are; ALL for all messages.
    """

    slot: int
    past_offset: int
    deadline_ms: int
    tags: int
    tag_count: int


class ParkedRows:
    """The table's memory, of which only what was ever used costs any; it must outlive every use of the desk."""

    def __init__(self, at_desk: int, slots: int, pulls_max: int = PULLS_MAX) -> None:
        """Make an empty table for the queues of so many slots, and note it on the desk."""
        parts = {
            ROWS: ROW_SIZE * pulls_max,
            HEAP: ENTRY_BYTES * pulls_max,
            WATCH_SLOTS: 8 * pulls_max,
            WATCH_PASTS: 8 * pulls_max,
            WATCH_FIRSTS: 8 * pulls_max,
            WATCH_OF_SLOT: 8 * slots,
        }
        self._parts = {word: np.zeros(size_bytes // 8, dtype=np.int64) for word, size_bytes in parts.items()}
        self._block: Words = np.zeros(SIZE // 8, dtype=np.int64)
        self._block[CAPACITY // 8] = pulls_max
        self._block[SEEN // 8] = NONE
        for word, part in self._parts.items():
            self._block[word // 8] = address_of(part)
        store_native_i64(at_desk + desk.PARKED, address_of(self._block))


@kernel
def park(at_desk: int, connection: int, wait: Wait, frame: int, frame_bytes: int) -> int:
    """Let a pull wait, whose frame lies here; return its row, or 0 without room."""
    block = load_native_i64(at_desk + desk.PARKED)
    count = load_native_i64(block + COUNT)
    if count >= load_native_i64(block + CAPACITY):
        return 0
    row = _take_row(block)
    if row == 0:
        return 0
    if not _keep(row, wait, frame, frame_bytes):
        _give_row(block, row)
        return 0
    store_native_i64(row + CONNECTION, connection)
    store_native_i64(row + CONNECTION_ID, load_native_i64(connection + connections.ID))
    store_native_i64(row + SLOT, wait.slot)
    store_native_i64(row + PAST_OFFSET, wait.past_offset)
    store_native_i64(row + DEADLINE_MS, wait.deadline_ms)
    store_native_i64(row + SUSPEND_AT, 0)
    add_deadline(load_native_i64(block + HEAP), count, wait.deadline_ms, row, HEAP_INDEX)
    store_native_i64(block + COUNT, count + 1)
    _watch(block, row)
    _own(connection, row)
    return row


@kernel
def wait_on(row: int, wait: Wait) -> bool:
    """Let a pull that waits go on waiting, for more; False without memory, and nothing has changed."""
    previous = load_native_i64(row + FRAME)
    if not _keep(row, wait, previous, load_native_i64(row + FRAME_BYTES)):
        return False
    release(previous)
    store_native_i64(row + PAST_OFFSET, wait.past_offset)
    return True


@kernel
def unpark(at_desk: int, row: int) -> None:
    """Take a pull out: it is answered, or nobody waits for the answer any more."""
    block = load_native_i64(at_desk + desk.PARKED)
    _leave(block, row)
    release(load_native_i64(row + FRAME))
    _give_row(block, row)


@kernel
def hand_up(at_desk: int, row: int) -> None:
    """Put a pull that waits into the list of those for Python."""
    block = load_native_i64(at_desk + desk.PARKED)
    _leave(block, row)
    store_native_i64(row + NEXT_OF_QUEUE, 0)
    last = load_native_i64(block + LAST_HANDED_UP)
    if last == 0:
        store_native_i64(block + FIRST_HANDED_UP, row)
    else:
        store_native_i64(last + NEXT_OF_QUEUE, row)
    store_native_i64(block + LAST_HANDED_UP, row)


@kernel
def first_handed_up(at_desk: int) -> int:
    """The row of the first pull that is Python's, or 0. Its connection may have gone: the id tells."""
    return load_native_i64(load_native_i64(at_desk + desk.PARKED) + FIRST_HANDED_UP)


@kernel
def drop_handed_up(at_desk: int) -> None:
    """Give up the row, and the frame, of the first pull that is Python's."""
    block = load_native_i64(at_desk + desk.PARKED)
    row = load_native_i64(block + FIRST_HANDED_UP)
    following = load_native_i64(row + NEXT_OF_QUEUE)
    store_native_i64(block + FIRST_HANDED_UP, following)
    if following == 0:
        store_native_i64(block + LAST_HANDED_UP, 0)
    release(load_native_i64(row + FRAME))
    _give_row(block, row)


@kernel
def _take_row(block: int) -> int:
    row = load_native_i64(block + FIRST_FREE)
    if row != 0:
        store_native_i64(block + FIRST_FREE, load_native_i64(row + NEXT_OF_QUEUE))
        return row
    used = load_native_i64(block + ROWS_USED)
    if used >= load_native_i64(block + CAPACITY):
        return 0  # some are handed up
    store_native_i64(block + ROWS_USED, used + 1)
    return load_native_i64(block + ROWS) + ROW_SIZE * used


@kernel
def _give_row(block: int, row: int) -> None:
    store_native_i64(row + NEXT_OF_QUEUE, load_native_i64(block + FIRST_FREE))
    store_native_i64(block + FIRST_FREE, row)


@kernel
def _keep(row: int, wait: Wait, frame: int, frame_bytes: int) -> bool:
    """Copy a frame and a filter; False without memory, and nothing has changed."""
    tag_bytes = 8 * max(wait.tag_count, 0)
    kept = int(allocate(frame_bytes + SPARE_BYTES + tag_bytes))
    if kept == 0:
        return False
    copy(kept, frame, frame_bytes)
    zero(kept + frame_bytes, SPARE_BYTES)
    copy(kept + frame_bytes + SPARE_BYTES, wait.tags, tag_bytes)
    store_native_i64(row + FRAME, kept)
    store_native_i64(row + FRAME_BYTES, frame_bytes)
    store_native_i64(row + TAGS, kept + frame_bytes + SPARE_BYTES)
    store_native_i64(row + TAG_COUNT, wait.tag_count)
    return True


@kernel
def _leave(block: int, row: int) -> None:
    """Take a row out of everything by which it is found."""
    count = load_native_i64(block + COUNT)
    remove_deadline(load_native_i64(block + HEAP), count, row, HEAP_INDEX)
    store_native_i64(block + COUNT, count - 1)
    _unwatch(block, row)
    following = load_native_i64(row + NEXT_OF_OWNER)
    previous = load_native_i64(row + PREVIOUS_OF_OWNER)
    if following != 0:
        store_native_i64(following + PREVIOUS_OF_OWNER, previous)
    if previous != 0:
        store_native_i64(previous + NEXT_OF_OWNER, following)
    else:
        store_native_i64(load_native_i64(row + CONNECTION) + connections.FIRST_PARKED, following)


@kernel
def _own(connection: int, row: int) -> None:
    following = load_native_i64(connection + connections.FIRST_PARKED)
    store_native_i64(row + NEXT_OF_OWNER, following)
    store_native_i64(row + PREVIOUS_OF_OWNER, 0)
    if following != 0:
        store_native_i64(following + PREVIOUS_OF_OWNER, row)
    store_native_i64(connection + connections.FIRST_PARKED, row)


@kernel
def _watch(block: int, row: int) -> None:
    """Put a row into the chain of its queue, whose watch is made where there is none."""
    slot = load_native_i64(row + SLOT)
    past = load_native_i64(row + PAST_OFFSET)
    watch_word = load_native_i64(block + WATCH_OF_SLOT) + 8 * slot
    index = load_native_i64(watch_word) - 1
    following = 0
    pasts = load_native_i64(block + WATCH_PASTS)
    firsts = load_native_i64(block + WATCH_FIRSTS)
    if index < 0:
        index = load_native_i64(block + WATCHES)
        store_native_i64(block + WATCHES, index + 1)
        store_native_i64(watch_word, index + 1)
        store_native_i64(load_native_i64(block + WATCH_SLOTS) + 8 * index, slot)
        store_native_i64(pasts + 8 * index, past)
    else:
        following = load_native_i64(firsts + 8 * index)
        store_native_i64(following + PREVIOUS_OF_QUEUE, row)
        store_native_i64(pasts + 8 * index, min(past, load_native_i64(pasts + 8 * index)))
    store_native_i64(row + NEXT_OF_QUEUE, following)
    store_native_i64(row + PREVIOUS_OF_QUEUE, 0)
    store_native_i64(firsts + 8 * index, row)


@kernel
def _unwatch(block: int, row: int) -> None:
    """Take a row out of the chain of its queue; the last watch takes the place of one that nobody needs."""
    following = load_native_i64(row + NEXT_OF_QUEUE)
    previous = load_native_i64(row + PREVIOUS_OF_QUEUE)
    if following != 0:
        store_native_i64(following + PREVIOUS_OF_QUEUE, previous)
    if previous != 0:
        store_native_i64(previous + NEXT_OF_QUEUE, following)
        return
    of_slot = load_native_i64(block + WATCH_OF_SLOT)
    slot = load_native_i64(row + SLOT)
    index = load_native_i64(of_slot + 8 * slot) - 1
    firsts = load_native_i64(block + WATCH_FIRSTS)
    store_native_i64(firsts + 8 * index, following)
    if following != 0:
        return
    slots = load_native_i64(block + WATCH_SLOTS)
    pasts = load_native_i64(block + WATCH_PASTS)
    last = load_native_i64(block + WATCHES) - 1
    store_native_i64(block + WATCHES, last)
    store_native_i64(of_slot + 8 * slot, 0)
    if index != last:
        moved = load_native_i64(slots + 8 * last)
        store_native_i64(slots + 8 * index, moved)
        store_native_i64(pasts + 8 * index, load_native_i64(pasts + 8 * last))
        store_native_i64(firsts + 8 * index, load_native_i64(firsts + 8 * last))
        store_native_i64(of_slot + 8 * moved, index + 1)
