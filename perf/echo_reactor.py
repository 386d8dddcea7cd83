"""A peer that does nothing but its protocol, compiled: whole remoting frames in, acknowledgements out.

    python -m perf.echo_reactor

One thread, one epoll, one kernel that receives, cuts frames, takes opaque and flag out of each JSON or binary header
and writes an answer as long as a broker's, unless none is wanted. It reads no other field, keeps no message and has
nobody to tell. What it takes a second is the bound that sockets and this protocol set to any broker on the machine; and
a load that cannot drive it faster than a broker would measure itself. Prints `listening on PORT`, then serves until stdin ends.
"""

import select
import socket
import sys
import threading
from typing import Any, Final, NamedTuple

import numpy as np

from perf.load import lanes as w
from perf.load.answers import GARBLED, HINT_WORDS, frame_bytes, is_answered, opaque_of
from perf.load.forms import TAG_BASE, put_digits
from perf.load.lanes import fill_input, flush, make_room
from perf.load.net import NOT_NOW, READABLE, SCRATCH_BYTES, WRITABLE, ready_for, ready_row, wait, watch
from shmq.jit import Bytes, Words, kernel
from shmq.memory.block import address_of, copy
from shmq.memory.endian import load_u8, store_i32
from shmq.wire.codes import ResponseCode
from shmq.wire.command import FLAG_RESPONSE, Command, Encoding, encode

LISTENING: Final = "listening on "
ROWS: Final = 4096
INPUT_BYTES: Final = 1 << 20
OUTPUT_BYTES: Final = 1 << 20

_LISTENER_ROW: Final = 0
_TURN_MS: Final = 100
_BACKLOG: Final = 1024
_BINARY: Final = 1
_BINARY_OPAQUE_AT: Final = 8 + 5
_EPOLL: Final = 0
_JSON_BYTES: Final = 1
_JSON_TAG_AT: Final = 2
_BINARY_BYTES: Final = 3
_FIELDS: Final = {
    "MSG_REGION": "DefaultRegion",
    "TRACE_ON": "true",
    "msgId": "7F00000100002A9F0000000000000000",
    "queueId": "0",
    "queueOffset": "1000000",
    "transactionId": "7F00000100011DBD0000000000000000",
}


class Reactor(NamedTuple):
    """All that the kernel uses."""

    plan: Words
    rows: Words
    json: Bytes
    binary: Bytes
    hints: Words
    scratch: Bytes


class Server:
    """The listener, the connections and their buffers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._free = list(range(ROWS - 1, _LISTENER_ROW, -1))
        self._buffers: dict[int, tuple[Any, Any]] = {}
        json_text, binary = (_answer(encoding) for encoding in (Encoding.JSON, Encoding.ROCKETMQ))
        plan = np.zeros(8, dtype=np.int64)
        plan[_EPOLL] = self._epoll.fileno()
        plan[_JSON_BYTES], plan[_BINARY_BYTES] = len(json_text), len(binary)
        plan[_JSON_TAG_AT] = json_text.index(b'"opaque":') + 9
        self._reactor = Reactor(
            plan,
            np.zeros(ROWS * w.WORDS, dtype=np.int64),
            np.frombuffer(json_text, dtype=np.uint8).copy(),
            np.frombuffer(binary, dtype=np.uint8).copy(),
            np.zeros(HINT_WORDS, dtype=np.int64),
            np.zeros(SCRATCH_BYTES, dtype=np.uint8),
        )
        self._watch(_LISTENER_ROW, self._listener)

    def turn(self) -> None:
        """Serve until something is for Python: a connection that comes or goes, or a tenth of a second is over."""
        row = _serve(self._reactor)
        if row == _LISTENER_ROW:
            self._accept()
        elif row > 0:
            self._drop(row)

    def _accept(self) -> None:
        while True:
            try:
                made, _ = self._listener.accept()
            except BlockingIOError:
                return
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            row = self._free.pop()
            words = self._reactor.rows[row * w.WORDS : (row + 1) * w.WORDS]
            words[:] = 0
            if row not in self._buffers:
                self._buffers[row] = (np.zeros(INPUT_BYTES + 64, np.uint8), np.zeros(OUTPUT_BYTES, np.uint8))
            words[w.DESCRIPTOR] = made.fileno()
            words[w.INPUT], words[w.OUTPUT] = (each.ctypes.data for each in self._buffers[row])
            self._sockets[row] = made
            self._watch(row, made)

    def _drop(self, row: int) -> None:
        self._sockets.pop(row).close()
        self._free.append(row)

    def _watch(self, row: int, each: socket.socket) -> None:
        self._epoll.register(each.fileno(), select.EPOLLIN)
        watch(self._epoll.fileno(), self._reactor.scratch.ctypes.data, each.fileno(), row, READABLE)


@kernel
def _serve(reactor: Reactor) -> int:
    """Serve; return the row that Python must look at (0: the listener), or -1 when a turn is over."""
    epoll, scratch = reactor.plan[_EPOLL], address_of(reactor.scratch)
    while True:
        ready = wait(epoll, scratch, _TURN_MS)
        if ready <= 0:
            return -1
        for index in range(ready):
            row = ready_row(scratch, index)
            if row == _LISTENER_ROW:
                return _LISTENER_ROW
            at = row * w.WORDS
            if ready_for(scratch, index) & ~WRITABLE:
                got = fill_input(reactor.rows, at, INPUT_BYTES)
                if got < 0 and got != NOT_NOW:
                    return row
                if not _answer_all(reactor, at):
                    return row
            if flush(reactor.rows, at, epoll, scratch) < 0:
                return row


@kernel
def _answer_all(reactor: Reactor, at: int) -> bool:
    """Answer each frame that is whole; False where the bytes are no frames."""
    rows = reactor.rows
    while rows[at + w.INPUT_BEGIN] < rows[at + w.INPUT_END]:
        frame = rows[at + w.INPUT] + rows[at + w.INPUT_BEGIN]
        whole = frame_bytes(frame, rows[at + w.INPUT_END] - rows[at + w.INPUT_BEGIN])
        if whole == 0:
            return True
        if whole < 0:
            return False
        rows[at + w.INPUT_BEGIN] += whole
        if not is_answered(frame, reactor.hints):
            continue
        opaque = opaque_of(frame, reactor.hints)
        is_binary = load_u8(frame + 4) == _BINARY
        size = reactor.plan[_BINARY_BYTES] if is_binary else reactor.plan[_JSON_BYTES]
        target = make_room(rows, at, size, OUTPUT_BYTES)
        if target == 0 or opaque == GARBLED:
            return False
        if is_binary:
            copy(target, address_of(reactor.binary), size)
            store_i32(target + _BINARY_OPAQUE_AT, opaque)
        else:
            copy(target, address_of(reactor.json), size)
            put_digits(target + reactor.plan[_JSON_TAG_AT], opaque, 10)
    return True


def _answer(encoding: Encoding) -> bytes:
    return encode(
        Command(ResponseCode.SUCCESS, TAG_BASE, flag=FLAG_RESPONSE, fields=_FIELDS, encoding=encoding)
    )


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main() -> None:
    """Serve until stdin ends."""
    server = Server()
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    print(f"{LISTENING}{server.port}", flush=True)
    while not ended.is_set():
        server.turn()


if __name__ == "__main__":
    main()
