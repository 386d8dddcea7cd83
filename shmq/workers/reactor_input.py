"""Kernels: receive, cut frames out of what came, have them served where they lie.

Everybody's bytes are received into one scratch buffer. What is left of an unfinished frame goes to the heap;
while it is short it is copied back in front of what comes next, so that many small frames cost one call. From
DIRECT_BYTES on it grows where it is, up to the frame's end, and what follows goes to the scratch buffer with
the same call: a large frame in small pieces costs time in proportion to its bytes. What is served may be read
PADDING_BYTES beyond its end, though nothing means anything there.

The rules of a length are those of `wire/frame.py`. Which one was broken is for Python to say: it gets the first
eight bytes.
"""

from typing import Final

from shmq.fastpath import connections, desk
from shmq.fastpath.outcomes import SLOW
from shmq.fastpath.serve import serve
from shmq.jit import kernel, kernel_apart
from shmq.memory.block import copy
from shmq.memory.endian import load_i32, load_native_i64, store_native_i64
from shmq.memory.sockets import WOULD_WAIT, name_ranges, receive, receive_into_both
from shmq.memory.syscalls import allocate, release, resize
from shmq.workers import reactor_state
from shmq.workers.reactor_rows import touch

SCRATCH_BYTES: Final = 262_144  # what a processor's second cache holds
SHARE_BYTES: Final = 262_144  # of one connection in one round
DIRECT_BYTES: Final = 4096
PADDING_BYTES: Final = 64

_TOTAL_BYTES: Final = 4
_PREFIX_BYTES: Final = 8
_HEADER_BITS: Final = 0xFFFFFF
_KEPT_BYTES_MIN: Final = 1024
_NO_FRAME: Final = -1


@kernel_apart
def take_input(state: int, row: int) -> None:
    """Receive a connection's share of a round and have the frames in it served."""
    taken = 0
    while taken < SHARE_BYTES:
        if load_native_i64(row + connections.INPUT_BYTES) < DIRECT_BYTES:
            received, room = _receive_behind_rest(state, row)
        else:
            received, room = _receive_into_frame(state, row)
        if received == WOULD_WAIT:
            return
        if received < 0:
            reactor_state.end(state, row, reactor_state.LOST, -received)
        elif received == 0:
            reactor_state.end(state, row, reactor_state.CLOSED_BY_PEER, 0)
        if received < room or not connections.has_flag(row, connections.OPEN):
            return
        taken += received


@kernel
def hand_up_or_end(state: int, row: int, frame: int, frame_bytes: int) -> None:
    """Copy a frame for Python; the connection ends where no memory is left for it."""
    if not reactor_state.hand_up(state, row, frame, frame_bytes):
        reactor_state.end(state, row, reactor_state.NO_MEMORY, 0)


@kernel
def _receive_behind_rest(state: int, row: int) -> tuple[int, int]:
    """Receive behind a short rest of the last time; how much, and how much was asked for."""
    scratch = load_native_i64(state + reactor_state.SCRATCH)
    held = load_native_i64(row + connections.INPUT_BYTES)
    if held > 0:
        copy(scratch, load_native_i64(row + connections.INPUT), held)
    room = SCRATCH_BYTES - held
    received = receive(load_native_i64(row + connections.DESCRIPTOR), scratch + held, room)
    if received > 0:
        touch(state, row)
        _serve_all(state, row, scratch, held + received)
    return received, room


@kernel
def _receive_into_frame(state: int, row: int) -> tuple[int, int]:
    """Receive more of a long frame, and what follows it; how much, and how much was asked for."""
    held = load_native_i64(row + connections.INPUT_BYTES)
    frame_bytes = _TOTAL_BYTES + load_i32(load_native_i64(row + connections.INPUT))
    if not _grow_kept(row, min(frame_bytes, 2 * held)):
        reactor_state.end(state, row, reactor_state.NO_MEMORY, 0)
        return WOULD_WAIT, 1
    kept = load_native_i64(row + connections.INPUT)
    room = min(load_native_i64(row + connections.INPUT_CAPACITY), frame_bytes) - held
    behind = SCRATCH_BYTES if held + room == frame_bytes else 0
    scratch = load_native_i64(state + reactor_state.SCRATCH)
    ranges = state + reactor_state.RANGES
    name_ranges(ranges, kept + held, room, scratch, behind)
    received = receive_into_both(load_native_i64(row + connections.DESCRIPTOR), ranges)
    if received > 0:
        touch(state, row)
        store_native_i64(row + connections.INPUT_BYTES, held + min(received, room))
        if held + received >= frame_bytes:
            _serve_kept(state, row, frame_bytes)
            _serve_all(state, row, scratch, received - room)
    return received, room + behind


@kernel
def _serve_all(state: int, row: int, at: int, size_bytes: int) -> None:
    """Serve each whole frame of what lies in the scratch buffer; keep the rest."""
    behind = at + size_bytes
    while True:
        frame_bytes = _measure(at, behind - at, load_native_i64(state + reactor_state.FRAME_BYTES_MAX))
        if frame_bytes == _NO_FRAME:
            start = reactor_state.first_bytes(at, behind - at)
            reactor_state.end(state, row, reactor_state.NO_FRAME, start)
            return
        if behind - at < frame_bytes:
            break
        if _serve(state, row, at, frame_bytes) == SLOW:
            hand_up_or_end(state, row, at, frame_bytes)
        at += frame_bytes
    if not _keep(row, at, behind - at):
        reactor_state.end(state, row, reactor_state.NO_MEMORY, 0)


@kernel
def _serve_kept(state: int, row: int, frame_bytes: int) -> None:
    """Serve the frame that has become whole on the heap."""
    frame = load_native_i64(row + connections.INPUT)
    _forget_kept(row)
    if _serve(state, row, frame, frame_bytes) != SLOW:
        release(frame)
    elif not reactor_state.hand_over(state, row, frame, frame_bytes):
        release(frame)
        reactor_state.end(state, row, reactor_state.NO_MEMORY, 0)


@kernel
def _serve(state: int, row: int, frame: int, frame_bytes: int) -> int:
    """Serve a frame, if there is a fast path at all."""
    at_desk = load_native_i64(state + reactor_state.DESK)
    return SLOW if load_native_i64(at_desk + desk.REQUEST) == 0 else serve(at_desk, row, frame, frame_bytes)


@kernel
def _measure(at: int, size_bytes: int, frame_bytes_max: int) -> int:
    """How many bytes must be there before there is more to tell; NO_FRAME where no frame can start like this."""
    if size_bytes < _TOTAL_BYTES:
        return _TOTAL_BYTES
    total = load_i32(at)
    if total < _TOTAL_BYTES or total > frame_bytes_max - _TOTAL_BYTES:
        return _NO_FRAME
    if size_bytes < _PREFIX_BYTES:
        return _PREFIX_BYTES
    if load_i32(at + _TOTAL_BYTES) & _HEADER_BITS > total - _TOTAL_BYTES:
        return _NO_FRAME
    return _TOTAL_BYTES + total


@kernel
def _keep(row: int, at: int, size_bytes: int) -> bool:
    """Keep the rest of what was received, in as little room as it needs; False without memory."""
    if size_bytes == 0:
        release(load_native_i64(row + connections.INPUT))
        _forget_kept(row)
        return True
    if size_bytes > load_native_i64(row + connections.INPUT_CAPACITY):
        release(load_native_i64(row + connections.INPUT))
        _forget_kept(row)
        if not _grow_kept(row, max(size_bytes, _KEPT_BYTES_MIN)):
            return False
    copy(load_native_i64(row + connections.INPUT), at, size_bytes)
    store_native_i64(row + connections.INPUT_BYTES, size_bytes)
    return True


@kernel
def _grow_kept(row: int, capacity: int) -> bool:
    """Have at least so much room for the rest; False without memory."""
    if capacity <= load_native_i64(row + connections.INPUT_CAPACITY):
        return True
    kept = load_native_i64(row + connections.INPUT)
    roomier = (
        int(allocate(capacity + PADDING_BYTES)) if kept == 0 else int(resize(kept, capacity + PADDING_BYTES))
    )
    if roomier == 0:
        return False
    store_native_i64(row + connections.INPUT, roomier)
    store_native_i64(row + connections.INPUT_CAPACITY, capacity)
    return True


@kernel
def _forget_kept(row: int) -> None:
    store_native_i64(row + connections.INPUT, 0)
    store_native_i64(row + connections.INPUT_BYTES, 0)
    store_native_i64(row + connections.INPUT_CAPACITY, 0)
