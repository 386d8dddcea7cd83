"""Kernels: send what waits, one call for each connection and round, however many answers that are.

What a peer does not take at once waits until epoll says that it takes more. Output may always be added to a
connection that had none; where some waits from before, no more than a limit may.
"""

from typing import Final

from shmq.fastpath import connections, desk
from shmq.jit import ReadBytes, entry, kernel
from shmq.memory.block import address_of, copy
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.sockets import WOULD_WAIT, send
from shmq.workers import reactor_state
from shmq.workers.reactor_rows import attend, drop_output, touch

KEPT_BYTES_MAX: Final = 65_536
"""A drained buffer above this goes back to the heap at once."""


@entry
def send_dirty(state: int) -> int:
    """Send what the connections of the desk's list have; how many there were."""
    first_dirty = load_native_i64(state + reactor_state.DESK) + desk.FIRST_DIRTY
    row = load_native_i64(first_dirty)
    store_native_i64(first_dirty, 0)
    sent = 0
    while row != 0:
        following = load_native_i64(row + connections.NEXT_DIRTY)
        connections.clear_flag(row, connections.DIRTY)
        if connections.has_flag(row, connections.BLOCKED):
            end_if_too_slow(state, row)
        else:
            send_output(state, row)
        sent += 1
        row = following
    return sent


@kernel
def send_output(state: int, row: int) -> None:
    """Send what waits for a peer, as much as it takes."""
    if not connections.has_flag(row, connections.OPEN):
        drop_output(row)
        return
    waiting = connections.output_bytes(row)
    if waiting == 0:
        return
    begin = load_native_i64(row + connections.OUTPUT_BEGIN)
    at = load_native_i64(row + connections.OUTPUT) + begin
    sent = send(load_native_i64(row + connections.DESCRIPTOR), at, waiting)
    if sent < 0 and sent != WOULD_WAIT:
        reactor_state.end(state, row, reactor_state.LOST, -sent)
        return
    if sent > 0:
        touch(state, row)
        store_native_i64(row + connections.OUTPUT_BEGIN, begin + sent)
    if sent == waiting:
        _empty(row)
        if connections.has_flag(row, connections.BLOCKED):
            connections.clear_flag(row, connections.BLOCKED)
            attend(state, row)
    else:
        connections.set_flag(row, connections.BLOCKED)
        attend(state, row)


@entry
def add_output(state: int, row: int, output: ReadBytes) -> None:
    """Let bytes of Python's wait for a peer; the connection ends where too many wait already, or no memory is left."""
    size_bytes = len(output)
    at = connections.reserve(row, size_bytes)
    if at == connections.NONE:
        reactor_state.end(state, row, reactor_state.NO_MEMORY, 0)
        return
    copy(at, address_of(output), size_bytes)
    connections.extend(load_native_i64(state + reactor_state.DESK) + desk.FIRST_DIRTY, row, size_bytes)
    if connections.has_flag(row, connections.BLOCKED):
        end_if_too_slow(state, row)


@kernel
def end_if_too_slow(state: int, row: int) -> None:
    """End a connection whose peer lets more wait than it may."""
    waiting = connections.output_bytes(row)
    if waiting > load_native_i64(state + reactor_state.OUTPUT_BYTES_MAX):
        reactor_state.end(state, row, reactor_state.TOO_SLOW, waiting)


@kernel
def _empty(row: int) -> None:
    if load_native_i64(row + connections.OUTPUT_CAPACITY) > KEPT_BYTES_MAX:
        drop_output(row)
    else:
        store_native_i64(row + connections.OUTPUT_BEGIN, 0)
        store_native_i64(row + connections.OUTPUT_END, 0)
