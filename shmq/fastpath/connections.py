"""Layout and kernels: a connection as kernels see it: its socket, what came and is not whole, what waits to go.

    offset  size  field             meaning
    ------  ----  ----------------  ----------------------------------------------------------------
         0     8  descriptor        of the socket; NONE where the row is free
         8     8  id                never given twice by this process
        16     8  flags             bits below
        24     8  last_active_ms    when bytes last moved, either way
        32     8  input             the heap's: a frame that is not whole yet; 0 where there is none
        40     8  input_bytes       how much of it is here
        48     8  input_capacity
        56     8  output            the heap's: bytes for the peer; 0 where none ever waited
        64     8  output_begin      the first that is not sent
        72     8  output_end        behind the last
        80     8  output_capacity
        88     8  next_dirty        the next row of the desk's list of those with output, or 0
        96    20  born_host         the peer as a record has it: address, then port (4 bytes)
       116     4  born_host_bytes   8, or 20 with an IPv6 address
       120    20  store_host        our address for that peer, likewise
       140     4  store_host_bytes
       144     8  first_parked      the first pull of its that waits, or 0; 0 in a new row
       152     8  watched           what epoll waits for; NONE: epoll does not know the socket
       160     8  end               why the connection is over, a code of the reactor's; 0 while it is not
       168     8  end_detail        what the code is about
       176     8  next_ended        the next row of the reactor's list of those that are over, or 0
       184     8  next_held_back    the next row of its list of those it does not read from, or 0
       256

Private to its network worker, which dies with it. The rows are native; the two hosts are big-endian, as they go
into the log.
"""

from typing import Final

from shmq.jit import kernel
from shmq.memory.block import copy
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.memory.syscalls import allocate, release

LAYOUT: Final = layout(
    256,
    descriptor=(0, "<i8"),
    id=(8, "<i8"),
    flags=(16, "<i8"),
    last_active_ms=(24, "<i8"),
    input=(32, "<i8"),
    input_bytes=(40, "<i8"),
    input_capacity=(48, "<i8"),
    output=(56, "<i8"),
    output_begin=(64, "<i8"),
    output_end=(72, "<i8"),
    output_capacity=(80, "<i8"),
    next_dirty=(88, "<i8"),
    born_host=(96, "V20"),
    born_host_bytes=(116, "<i4"),
    store_host=(120, "V20"),
    store_host_bytes=(140, "<i4"),
    first_parked=(144, "<i8"),
    watched=(152, "<i8"),
    end=(160, "<i8"),
    end_detail=(168, "<i8"),
    next_ended=(176, "<i8"),
    next_held_back=(184, "<i8"),
)
SIZE: Final = LAYOUT.itemsize
DESCRIPTOR: Final = offset_of(LAYOUT, "descriptor")
ID: Final = offset_of(LAYOUT, "id")
FLAGS: Final = offset_of(LAYOUT, "flags")
LAST_ACTIVE_MS: Final = offset_of(LAYOUT, "last_active_ms")
INPUT: Final = offset_of(LAYOUT, "input")
INPUT_BYTES: Final = offset_of(LAYOUT, "input_bytes")
INPUT_CAPACITY: Final = offset_of(LAYOUT, "input_capacity")
OUTPUT: Final = offset_of(LAYOUT, "output")
OUTPUT_BEGIN: Final = offset_of(LAYOUT, "output_begin")
OUTPUT_END: Final = offset_of(LAYOUT, "output_end")
OUTPUT_CAPACITY: Final = offset_of(LAYOUT, "output_capacity")
NEXT_DIRTY: Final = offset_of(LAYOUT, "next_dirty")
BORN_HOST: Final = offset_of(LAYOUT, "born_host")
BORN_HOST_BYTES: Final = offset_of(LAYOUT, "born_host_bytes")
STORE_HOST: Final = offset_of(LAYOUT, "store_host")
STORE_HOST_BYTES: Final = offset_of(LAYOUT, "store_host_bytes")
WATCHED: Final = offset_of(LAYOUT, "watched")
END: Final = offset_of(LAYOUT, "end")
END_DETAIL: Final = offset_of(LAYOUT, "end_detail")
NEXT_ENDED: Final = offset_of(LAYOUT, "next_ended")
NEXT_HELD_BACK: Final = offset_of(LAYOUT, "next_held_back")
FIRST_PARKED: Final = offset_of(LAYOUT, "first_parked")

OPEN: Final = 1
"""The connection lives; without it nothing is sent, and answers are dropped."""
VIP: Final = 2
"""It came in on a VIP listener."""
HANDED_UP: Final = 4
"""A frame of this round went to Python: a send behind it must not overtake it."""
DIRTY: Final = 8
"""It is in the desk's list of rows with output."""
BLOCKED: Final = 16
"""The peer does not read: epoll says when it takes more."""
OVERFLOWED: Final = 32
"""Too much waits for it; Python closes it."""
HELD_BACK: Final = 64
"""Something came in while nothing was to be read."""

NONE: Final = -1
_OUTPUT_BYTES_MIN: Final = 4096


@kernel
def has_flag(row: int, flag: int) -> bool:
    """Whether a flag is set."""
    return load_native_i64(row + FLAGS) & flag != 0


@kernel
def set_flag(row: int, flag: int) -> None:
    """Set a flag."""
    store_native_i64(row + FLAGS, load_native_i64(row + FLAGS) | flag)


@kernel
def clear_flag(row: int, flag: int) -> None:
    """Clear a flag."""
    store_native_i64(row + FLAGS, load_native_i64(row + FLAGS) & ~flag)


@kernel
def output_bytes(row: int) -> int:
    """How much waits for the peer."""
    return load_native_i64(row + OUTPUT_END) - load_native_i64(row + OUTPUT_BEGIN)


@kernel
def reserve(row: int, size_bytes: int) -> int:
    """Room for so many bytes behind what waits; its address, good until the next call, or NONE without memory.

    Nothing waits there until `extend`.
    """
    output = load_native_i64(row + OUTPUT)
    begin = load_native_i64(row + OUTPUT_BEGIN)
    end = load_native_i64(row + OUTPUT_END)
    if end + size_bytes <= load_native_i64(row + OUTPUT_CAPACITY):
        return output + end
    waiting = end - begin
    if begin >= waiting and waiting + size_bytes <= load_native_i64(row + OUTPUT_CAPACITY):
        copy(output, output + begin, waiting)  # what was sent makes room
        store_native_i64(row + OUTPUT_BEGIN, 0)
        store_native_i64(row + OUTPUT_END, waiting)
        return output + waiting
    capacity = _OUTPUT_BYTES_MIN
    while capacity < 2 * waiting or capacity < waiting + size_bytes:
        capacity *= 2
    roomier = int(allocate(capacity))
    if roomier == 0:
        return NONE
    if waiting > 0:
        copy(roomier, output + begin, waiting)
    release(output)
    store_native_i64(row + OUTPUT, roomier)
    store_native_i64(row + OUTPUT_BEGIN, 0)
    store_native_i64(row + OUTPUT_END, waiting)
    store_native_i64(row + OUTPUT_CAPACITY, capacity)
    return roomier + waiting


@kernel
def extend(desk_list: int, row: int, size_bytes: int) -> None:
    """Let bytes written to reserved room wait for the peer.

    Args:
        desk_list: the desk's word with the first row that has output.
        row: the connection.
        size_bytes: how many were written.
    """
    store_native_i64(row + OUTPUT_END, load_native_i64(row + OUTPUT_END) + size_bytes)
    if not has_flag(row, DIRTY):
        set_flag(row, DIRTY)
        store_native_i64(row + NEXT_DIRTY, load_native_i64(desk_list))
        store_native_i64(desk_list, row)
