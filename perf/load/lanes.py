"""Layout: a load's connections (lanes), and how bytes get in and out of them.

Each lane is a row of words:

    word  field        meaning
    ----  -----------  ---------------------------------------------------------
       0  descriptor
       1  input        address of its input buffer
       2  input_begin  first byte that is not yet understood
       3  input_end
       4  output       address of its output buffer
       5  output_sent  first byte that is not yet sent
       6  output_end
       7  is_blocked   1 while the socket's buffer is full and it is watched for room
       8  answered     answers that came, where they come in order
       9  requested    requests sent, and
      10  queued       requests to send, where each is sent from a place of its own

Both buffers are as large as the owner's plan says. Python makes rows, kernels use them.
"""

import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from perf.load.net import NOT_NOW, READABLE, WRITABLE, give, move, receive, watch
from shmq.jit import Bytes, Words, kernel
from shmq.memory.block import view

WORDS: Final = 16
DESCRIPTOR: Final = 0
INPUT: Final = 1
INPUT_BEGIN: Final = 2
INPUT_END: Final = 3
OUTPUT: Final = 4
OUTPUT_SENT: Final = 5
OUTPUT_END: Final = 6
IS_BLOCKED: Final = 7
ANSWERED: Final = 8
REQUESTED: Final = 9
QUEUED: Final = 10

CLOSED: Final = -100_000
"""The peer has ended the stream."""

_PADDING_BYTES: Final = 64
_SHOWN_BYTES: Final = 300
_CONNECT_DEADLINE_S: Final = 20.0
_RESET: Final = struct.pack("ii", 1, 0)


class Lanes:
    """Connections to one address, their buffers and their epoll.

    Attributes:
        sockets: the connections, still blocking for whoever says hello by them.
        rows: their words.
        epoll: watches them all for input; the data of an event is the row's number.
    """

    def __init__(self, address: str, count: int, *, input_bytes: int, output_bytes: int) -> None:
        host, _, port = address.rpartition(":")
        self.input_bytes, self.output_bytes = input_bytes, output_bytes
        self.sockets = [_connect(host, int(port)) for _ in range(count)]
        self.rows = np.zeros(count * WORDS, dtype=np.int64)
        self._buffers: list[Bytes] = []
        self.epoll = select.epoll()
        for index, each in enumerate(self.sockets):
            row = self.rows[index * WORDS :]
            row[DESCRIPTOR] = each.fileno()
            row[INPUT] = self._buffer(input_bytes)
            row[OUTPUT] = self._buffer(output_bytes)

    def listen(self, rows: Sequence[int] | None = None) -> None:
        """From now on kernels read them."""
        # select.epoll puts the descriptor into an event; kernels want the row, so they set it themselves
        scratch = np.zeros(64, dtype=np.uint8)
        for row in range(len(self.sockets)) if rows is None else rows:
            self.epoll.register(self.sockets[row].fileno(), select.EPOLLIN)
            watch(self.epoll.fileno(), scratch.ctypes.data, self.sockets[row].fileno(), row, READABLE)

    def unread(self, row: int) -> bytes:
        """The beginning of what a lane has received and not understood."""
        words = self.rows[row * WORDS : (row + 1) * WORDS]
        size = min(_SHOWN_BYTES, int(words[INPUT_END] - words[INPUT_BEGIN]))
        return view(int(words[INPUT] + words[INPUT_BEGIN]), size).tobytes()

    def close(self) -> None:
        """End the connections at once: no port stays behind in TIME_WAIT."""
        self.epoll.close()
        for each in self.sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            each.close()

    def _buffer(self, size_bytes: int) -> int:
        buffer = np.zeros(size_bytes + _PADDING_BYTES, dtype=np.uint8)
        self._buffers.append(buffer)
        return int(buffer.ctypes.data)


@kernel
def fill_input(lanes: Words, at: int, input_bytes: int) -> int:
    """Receive once into the lane at a word; return how many bytes came, or NOT_NOW, CLOSED or another failure."""
    begin, end = lanes[at + INPUT_BEGIN], lanes[at + INPUT_END]
    if begin == end:
        begin = end = 0
    elif end * 2 > input_bytes:
        move(lanes[at + INPUT], lanes[at + INPUT] + begin, end - begin)
        begin, end = 0, end - begin
    got = receive(lanes[at + DESCRIPTOR], lanes[at + INPUT] + end, input_bytes - end)
    lanes[at + INPUT_BEGIN] = begin
    lanes[at + INPUT_END] = end + max(got, 0)
    return got if got != 0 else CLOSED


@kernel
def make_room(lanes: Words, at: int, size_bytes: int, output_bytes: int) -> int:
    """The address where so many bytes of output go next, or 0 where they do not fit."""
    sent, end = lanes[at + OUTPUT_SENT], lanes[at + OUTPUT_END]
    if end + size_bytes > output_bytes:
        move(lanes[at + OUTPUT], lanes[at + OUTPUT] + sent, end - sent)
        end -= sent
        lanes[at + OUTPUT_SENT] = 0
        lanes[at + OUTPUT_END] = end
        if end + size_bytes > output_bytes:
            return 0
    lanes[at + OUTPUT_END] = end + size_bytes
    return int(lanes[at + OUTPUT] + end)


@kernel
def flush(lanes: Words, at: int, epoll: int, scratch: int) -> int:
    """Send what waits; where the socket is full, watch it for room. 0, or a failure."""
    while lanes[at + OUTPUT_SENT] < lanes[at + OUTPUT_END]:
        sent = lanes[at + OUTPUT_SENT]
        gave = give(lanes[at + DESCRIPTOR], lanes[at + OUTPUT] + sent, lanes[at + OUTPUT_END] - sent)
        if gave == NOT_NOW:
            if not lanes[at + IS_BLOCKED]:
                lanes[at + IS_BLOCKED] = 1
                watch(epoll, scratch, lanes[at + DESCRIPTOR], at // WORDS, READABLE | WRITABLE)
            return 0
        if gave < 0:
            return gave
        lanes[at + OUTPUT_SENT] = sent + gave
    lanes[at + OUTPUT_SENT] = lanes[at + OUTPUT_END] = 0
    if lanes[at + IS_BLOCKED]:
        lanes[at + IS_BLOCKED] = 0
        watch(epoll, scratch, lanes[at + DESCRIPTOR], at // WORDS, READABLE)
    return 0


def _connect(host: str, port: int) -> socket.socket:
    give_up_at = time.monotonic() + _CONNECT_DEADLINE_S
    while True:
        try:
            made = socket.create_connection((host, port), _CONNECT_DEADLINE_S)
        except ConnectionError:  # a full backlog, where thousands connect
            if time.monotonic() > give_up_at:
                raise
            continue
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
