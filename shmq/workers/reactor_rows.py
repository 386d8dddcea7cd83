"""Kernels: the life of a connection's row, and what epoll is to say of it.

A row may be used again as soon as it is free. Two things may still know of its last connection: an event of
epoll's, which names a connection by row and the low bits of its id, and the list of rows with output, in which
a free row stays until it is passed over. So the next connection inherits its place in that list.
"""

from typing import Final

from shmq.fastpath import connections, desk
from shmq.fastpath.parked import forget_row
from shmq.jit import entry, kernel
from shmq.memory import epoll
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.syscalls import release
from shmq.workers import reactor_state

ID_BITS: Final = 0x7FFFFFFF
"""How much of an id epoll carries, so that its word is not negative."""
_INDEX_BITS: Final = 0xFFFFFFFF
_QUIET_MS: Final = 1000


@entry
def open_row(state: int, index: int, descriptor: int, connection_id: int, flags: int) -> int:
    """Begin a row for a connection, and have epoll watch it; 0, or an error number negated.

    Its hosts are written by Python. The clock is the desk's.
    """
    if index >= load_native_i64(state + reactor_state.ROWS_USED):
        store_native_i64(state + reactor_state.ROWS_USED, index + 1)
    row = load_native_i64(state + reactor_state.ROWS) + index * connections.SIZE
    in_list = load_native_i64(row + connections.FLAGS) & connections.DIRTY
    store_native_i64(row + connections.DESCRIPTOR, descriptor)
    store_native_i64(row + connections.ID, connection_id)
    store_native_i64(row + connections.FLAGS, in_list | flags | connections.OPEN)
    store_native_i64(row + connections.FIRST_PARKED, 0)
    store_native_i64(row + connections.WATCHED, connections.NONE)
    store_native_i64(row + connections.END, 0)
    touch(state, row)
    return watch_row(state, row, epoll.READABLE)


@entry
def free_row(state: int, row: int) -> None:
    """End a row: its socket is closed next, and what it held is given back."""
    at_desk = load_native_i64(state + reactor_state.DESK)
    if load_native_i64(at_desk + desk.PARKED) != 0:
        forget_row(at_desk, row)
    _unwatch_row(state, row)
    if connections.has_flag(row, connections.HELD_BACK):
        _leave_held_back(state, row)
    release(load_native_i64(row + connections.INPUT))
    store_native_i64(row + connections.INPUT, 0)
    store_native_i64(row + connections.INPUT_BYTES, 0)
    store_native_i64(row + connections.INPUT_CAPACITY, 0)
    drop_output(row)
    store_native_i64(row + connections.DESCRIPTOR, connections.NONE)
    store_native_i64(row + connections.ID, 0)
    store_native_i64(row + connections.FLAGS, load_native_i64(row + connections.FLAGS) & connections.DIRTY)


@kernel
def find_row(state: int, data: int) -> int:
    """The open row that epoll means, or 0 where its connection is gone."""
    index = data & _INDEX_BITS
    if index >= load_native_i64(state + reactor_state.ROWS_USED):
        return 0
    row = load_native_i64(state + reactor_state.ROWS) + index * connections.SIZE
    is_same = load_native_i64(row + connections.ID) & ID_BITS == data >> 32
    return row if is_same and connections.has_flag(row, connections.OPEN) else 0


@kernel
def drop_output(row: int) -> None:
    """Give the room for output back, with what waits in it."""
    release(load_native_i64(row + connections.OUTPUT))
    store_native_i64(row + connections.OUTPUT, 0)
    store_native_i64(row + connections.OUTPUT_BEGIN, 0)
    store_native_i64(row + connections.OUTPUT_END, 0)
    store_native_i64(row + connections.OUTPUT_CAPACITY, 0)


@kernel
def touch(state: int, row: int) -> None:
    """Note that bytes have moved."""
    now_ms = load_native_i64(load_native_i64(state + reactor_state.DESK) + desk.NOW_MS)
    store_native_i64(row + connections.LAST_ACTIVE_MS, now_ms)


@kernel
def watch_row(state: int, row: int, wanted: int) -> int:
    """Have epoll wait for what is wanted; 0, or an error number negated."""
    watched = load_native_i64(row + connections.WATCHED)
    if watched == wanted:
        return 0
    index = (row - load_native_i64(state + reactor_state.ROWS)) // connections.SIZE
    event = state + reactor_state.EVENT
    epoll.write_event(event, wanted, index | (load_native_i64(row + connections.ID) & ID_BITS) << 32)
    operation = epoll.ADD if watched == connections.NONE else epoll.CHANGE
    store_native_i64(row + connections.WATCHED, wanted)
    descriptor = load_native_i64(row + connections.DESCRIPTOR)
    return epoll.control(load_native_i64(state + reactor_state.EPOLL), operation, descriptor, event)


@kernel
def attend(state: int, row: int) -> None:
    """Have epoll wait for what a row needs now: its peer's bytes, and room where output waits for it."""
    wanted = 0 if connections.has_flag(row, connections.HELD_BACK) else epoll.READABLE
    if connections.has_flag(row, connections.BLOCKED):
        wanted |= epoll.WRITABLE
    if load_native_i64(row + connections.WATCHED) != connections.NONE:
        watch_row(state, row, wanted)


@kernel
def hold_back(state: int, row: int, events: int) -> None:
    """Stop waiting for a peer until reading is resumed, or its readiness would be told again and again."""
    if not connections.has_flag(row, connections.HELD_BACK):
        connections.set_flag(row, connections.HELD_BACK)
        store_native_i64(
            row + connections.NEXT_HELD_BACK, load_native_i64(state + reactor_state.FIRST_HELD_BACK)
        )
        store_native_i64(state + reactor_state.FIRST_HELD_BACK, row)
    if events & epoll.GONE:  # which no mask can silence; what it sent before is still to be read
        _unwatch_row(state, row)
    attend(state, row)


@entry
def resume_reading(state: int) -> None:
    """Read again from everybody."""
    store_native_i64(state + reactor_state.IS_PAUSED, 0)
    row = load_native_i64(state + reactor_state.FIRST_HELD_BACK)
    while row != 0:
        following = load_native_i64(row + connections.NEXT_HELD_BACK)
        connections.clear_flag(row, connections.HELD_BACK)
        touch(state, row)  # it was we who were idle
        if load_native_i64(row + connections.WATCHED) == connections.NONE:
            watch_row(state, row, epoll.READABLE)
        attend(state, row)
        row = following
    store_native_i64(state + reactor_state.FIRST_HELD_BACK, 0)


@entry
def expire(state: int, now_ms: int, idle_ms: int) -> None:
    """End the connections on which nothing has moved for so long; quiet ones give room for output back."""
    row = load_native_i64(state + reactor_state.ROWS)
    for _ in range(load_native_i64(state + reactor_state.ROWS_USED)):
        if connections.has_flag(row, connections.OPEN):
            quiet_ms = now_ms - load_native_i64(row + connections.LAST_ACTIVE_MS)
            if quiet_ms > idle_ms:
                reactor_state.end(state, row, reactor_state.IDLE, quiet_ms)
            elif quiet_ms > _QUIET_MS and connections.output_bytes(row) == 0:
                drop_output(row)
        row += connections.SIZE


@entry
def output_bytes_of_all(state: int) -> int:
    """How much waits for all peers together."""
    waiting = 0
    row = load_native_i64(state + reactor_state.ROWS)
    for _ in range(load_native_i64(state + reactor_state.ROWS_USED)):
        waiting += connections.output_bytes(row)
        row += connections.SIZE
    return waiting


@kernel
def _unwatch_row(state: int, row: int) -> None:
    if load_native_i64(row + connections.WATCHED) != connections.NONE:
        descriptor = load_native_i64(row + connections.DESCRIPTOR)
        epoll.control(
            load_native_i64(state + reactor_state.EPOLL),
            epoll.REMOVE,
            descriptor,
            state + reactor_state.EVENT,
        )
        store_native_i64(row + connections.WATCHED, connections.NONE)


@kernel
def _leave_held_back(state: int, row: int) -> None:
    following = load_native_i64(row + connections.NEXT_HELD_BACK)
    if load_native_i64(state + reactor_state.FIRST_HELD_BACK) == row:
        store_native_i64(state + reactor_state.FIRST_HELD_BACK, following)
        return
    before = load_native_i64(state + reactor_state.FIRST_HELD_BACK)
    while load_native_i64(before + connections.NEXT_HELD_BACK) != row:
        before = load_native_i64(before + connections.NEXT_HELD_BACK)
    store_native_i64(before + connections.NEXT_HELD_BACK, following)
