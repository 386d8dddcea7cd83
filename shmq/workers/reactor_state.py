"""Layout and kernels: what a reactor works with, and what it leaves for Python.

    offset  size  field              meaning
    ------  ----  -----------------  ------------------------------------------------------------------
         0     8  epoll              its descriptor
         8     8  events             room for what epoll says at once
        16     8  scratch            what is received lies here, and is served here
        24     8  rows               of connections (`fastpath/connections.py`)
        32     8  rows_used          how many have ever been in use
        40     8  desk               of the kernels that serve (`fastpath/desk.py`)
        48     8  frame_bytes_max
        56     8  output_bytes_max   that may wait for a slow reader
        64     8  first_handed_up    the oldest frame for Python, a node as below, or 0
        72     8  last_handed_up
        80     8  first_ended        the row that was the last to end, or 0
        88     8  ready              descriptors of Python's that are ready, as words
        96     8  ready_count
       104     8  is_paused          1: nothing is to be read
       112     8  first_held_back    the row that was the last to be held back, or 0
       120     8  bell               of this process, or 0
       128     8  inbox              ring of letters for Python, or 0
       136     8  strategy           how to wait (`ring/waiting.py`)
       144     8  spin_ns            how long to look again before a sleep
       152     8  news               for which Python wants to be woken, the doorbell's bits
       160     8  wanted_flushed     Python waits for the log to be flushed beyond here; NONE: it does not
       168     8  seen_dispatched    Python waits for it to be dispatched beyond here; NONE: it does not
       176    32  ranges             for a receive into two ranges
       208    16  timespec           for the clock
       224    16  event              for epoll
       240     8  now_ns             monotonic
       248     8  is_interrupted     1: a signal has come, which only Python can heed
       512

    0 next, 8 row, 16 its connection's id, 24 address of the frame, 32 its size, 40 the frame, if it lies here

Private to one network worker. All is native.
"""

from typing import Final

from shmq.fastpath import connections
from shmq.jit import entry, kernel
from shmq.memory.block import copy
from shmq.memory.endian import load_native_i64, load_u8, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.memory.syscalls import allocate, release

LAYOUT: Final = layout(
    512,
    epoll=(0, "<i8"),
    events=(8, "<i8"),
    scratch=(16, "<i8"),
    rows=(24, "<i8"),
    rows_used=(32, "<i8"),
    desk=(40, "<i8"),
    frame_bytes_max=(48, "<i8"),
    output_bytes_max=(56, "<i8"),
    first_handed_up=(64, "<i8"),
    last_handed_up=(72, "<i8"),
    first_ended=(80, "<i8"),
    ready=(88, "<i8"),
    ready_count=(96, "<i8"),
    is_paused=(104, "<i8"),
    first_held_back=(112, "<i8"),
    bell=(120, "<i8"),
    inbox=(128, "<i8"),
    strategy=(136, "<i8"),
    spin_ns=(144, "<i8"),
    news=(152, "<i8"),
    wanted_flushed=(160, "<i8"),
    seen_dispatched=(168, "<i8"),
    ranges=(176, "V32"),
    timespec=(208, "V16"),
    event=(224, "V16"),
    now_ns=(240, "<i8"),
    is_interrupted=(248, "<i8"),
)
SIZE: Final = LAYOUT.itemsize
EPOLL: Final = offset_of(LAYOUT, "epoll")
EVENTS: Final = offset_of(LAYOUT, "events")
SCRATCH: Final = offset_of(LAYOUT, "scratch")
ROWS: Final = offset_of(LAYOUT, "rows")
ROWS_USED: Final = offset_of(LAYOUT, "rows_used")
DESK: Final = offset_of(LAYOUT, "desk")
FRAME_BYTES_MAX: Final = offset_of(LAYOUT, "frame_bytes_max")
OUTPUT_BYTES_MAX: Final = offset_of(LAYOUT, "output_bytes_max")
FIRST_HANDED_UP: Final = offset_of(LAYOUT, "first_handed_up")
LAST_HANDED_UP: Final = offset_of(LAYOUT, "last_handed_up")
FIRST_ENDED: Final = offset_of(LAYOUT, "first_ended")
READY: Final = offset_of(LAYOUT, "ready")
READY_COUNT: Final = offset_of(LAYOUT, "ready_count")
IS_PAUSED: Final = offset_of(LAYOUT, "is_paused")
FIRST_HELD_BACK: Final = offset_of(LAYOUT, "first_held_back")
BELL: Final = offset_of(LAYOUT, "bell")
INBOX: Final = offset_of(LAYOUT, "inbox")
STRATEGY: Final = offset_of(LAYOUT, "strategy")
SPIN_NS: Final = offset_of(LAYOUT, "spin_ns")
NEWS: Final = offset_of(LAYOUT, "news")
WANTED_FLUSHED: Final = offset_of(LAYOUT, "wanted_flushed")
SEEN_DISPATCHED: Final = offset_of(LAYOUT, "seen_dispatched")
RANGES: Final = offset_of(LAYOUT, "ranges")
TIMESPEC: Final = offset_of(LAYOUT, "timespec")
EVENT: Final = offset_of(LAYOUT, "event")
NOW_NS: Final = offset_of(LAYOUT, "now_ns")
IS_INTERRUPTED: Final = offset_of(LAYOUT, "is_interrupted")

NODE_ROW: Final = 8
NODE_ID: Final = 16
NODE_FRAME: Final = 24
NODE_FRAME_BYTES: Final = 32
NODE_SIZE: Final = 40

CLOSED_BY_PEER: Final = 1
LOST: Final = 2
"""The detail is the error's number."""
NO_FRAME: Final = 3
"""What came is no frame; the detail is its first eight bytes, zeros for what was not there yet."""
TOO_SLOW: Final = 4
"""The detail is how many bytes wait."""
IDLE: Final = 5
"""The detail is for how many milliseconds."""
NO_MEMORY: Final = 6

NONE: Final = -1


@kernel
def end(state: int, row: int, code: int, detail: int) -> None:
    """Let a connection be over: nothing is read or sent any more, and Python closes it. The first reason stands."""
    if load_native_i64(row + connections.END) != 0:
        return
    connections.clear_flag(row, connections.OPEN)
    store_native_i64(row + connections.END, code)
    store_native_i64(row + connections.END_DETAIL, detail)
    store_native_i64(row + connections.NEXT_ENDED, load_native_i64(state + FIRST_ENDED))
    store_native_i64(state + FIRST_ENDED, row)


@kernel
def first_bytes(at: int, size_bytes: int) -> int:
    """The first eight bytes at an address as a word, zeros for those that are not there."""
    word = 0
    for index in range(min(size_bytes, 8)):
        word |= load_u8(at + index) << 8 * index
    return word


@entry
def take_ended(state: int) -> int:
    """Take a row out of the list of those that are over; 0 where there is none."""
    row = load_native_i64(state + FIRST_ENDED)
    if row != 0:
        store_native_i64(state + FIRST_ENDED, load_native_i64(row + connections.NEXT_ENDED))
    return row


@kernel
def hand_up(state: int, row: int, frame: int, frame_bytes: int) -> bool:
    """Copy a frame for Python; False without memory."""
    node = int(allocate(NODE_SIZE + frame_bytes))
    if node == 0:
        return False
    copy(node + NODE_SIZE, frame, frame_bytes)
    _append(state, row, node, node + NODE_SIZE, frame_bytes)
    return True


@kernel
def hand_over(state: int, row: int, frame: int, frame_bytes: int) -> bool:
    """Leave a frame on the heap to Python, without a copy; False without memory: it is still the caller's."""
    node = int(allocate(NODE_SIZE))
    if node == 0:
        return False
    _append(state, row, node, frame, frame_bytes)
    return True


@entry
def drop_handed_up(state: int) -> None:
    """Forget the frames that Python has seen; their connections' next ones may go the fast way again."""
    node = load_native_i64(state + FIRST_HANDED_UP)
    while node != 0:
        following = load_native_i64(node)
        connections.clear_flag(load_native_i64(node + NODE_ROW), connections.HANDED_UP)
        frame = load_native_i64(node + NODE_FRAME)
        if frame != node + NODE_SIZE:
            release(frame)
        release(node)
        node = following
    store_native_i64(state + FIRST_HANDED_UP, 0)
    store_native_i64(state + LAST_HANDED_UP, 0)


@kernel
def _append(state: int, row: int, node: int, frame: int, frame_bytes: int) -> None:
    store_native_i64(node, 0)
    store_native_i64(node + NODE_ROW, row)
    store_native_i64(node + NODE_ID, load_native_i64(row + connections.ID))
    store_native_i64(node + NODE_FRAME, frame)
    store_native_i64(node + NODE_FRAME_BYTES, frame_bytes)
    last = load_native_i64(state + LAST_HANDED_UP)
    if last != 0:
        store_native_i64(last, node)
    else:
        store_native_i64(state + FIRST_HANDED_UP, node)
    store_native_i64(state + LAST_HANDED_UP, node)
    connections.set_flag(row, connections.HANDED_UP)
