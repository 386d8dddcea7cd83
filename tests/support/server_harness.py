"""A server on loopback beside its clients, turned by the test: the one in Python or the one in kernels."""

import socket
import struct
from collections.abc import Callable
from typing import Any

import structlog

from shmq.fastpath import connections
from shmq.wire.frame import Frame
from shmq.workers import reactor
from shmq.workers.accepting import ACCEPT_PAUSE_MS
from shmq.workers.connection import Connection, Limits, Listener
from shmq.workers.listening import listen_on
from shmq.workers.reactor_server import ReactorServer
from shmq.workers.runner import wall_ms
from shmq.workers.sockets import SocketServer
from tests.support.readiness import wait_readable

LIMITS = Limits(frame_bytes_max=16 << 20, output_bytes_max=1 << 20, connections_max=64, idle_ms=1000)
WAIT_MS = 10_000


class Clock:
    """Milliseconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


class Harness:
    """A server on loopback, its clock, and what it has returned."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.clock = Clock()
        self.listening = [listen_on("127.0.0.1:0"), listen_on("127.0.0.1:0")]
        self.ports = [each.getsockname()[1] for each in self.listening]
        listeners = [Listener(self.listening[0]), Listener(self.listening[1], is_vip=True)]
        self.server = self.make(listeners, limits)
        self.frames: list[tuple[Connection, Frame]] = []
        self.clients: list[socket.socket] = []

    def make(self, listeners: list[Listener], limits: Limits) -> Any:
        return SocketServer(listeners, limits, structlog.get_logger())

    def connect(self, port_index: int = 0) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.ports[port_index]))
        client.settimeout(WAIT_MS / 1000)
        self.clients.append(client)
        return client

    def join(self, port_index: int = 0) -> tuple[socket.socket, Any]:
        known = set(self.server.connections)
        client = self.connect(port_index)
        self.poll_until(lambda: len(self.server.connections) > len(known))
        (connection,) = set(self.server.connections) - known
        return client, connection

    def poll_until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            assert wait_readable([self.server._epoll], WAIT_MS / 1000), "nothing happened for a long time"
            self.poll(0)

    def poll(self, timeout_ms: int = 0) -> list[tuple[Connection, Frame]]:
        frames = self.server.poll(timeout_ms, self.clock)
        self.frames += frames
        return frames

    def send(self, connection: Any, pieces: list[bytes | memoryview]) -> None:
        """Send, and let the server try at once."""
        self.server.send(connection, pieces)

    def output_bytes(self, connection: Any) -> int:
        return connection.output_bytes

    def held_bytes(self, connection: Any) -> int:
        """How much of an unfinished frame is there."""
        return connection.reader.held_bytes

    def is_held_back(self, connection: Any) -> bool:
        """Whether it is not waited for because reading is paused."""
        return connection.is_held_back

    def last_active_ms(self, connection: Any) -> int:
        return connection.last_active_ms

    def now_ms(self) -> int:
        return self.clock.now_ms

    def pass_accept_pause(self) -> None:
        self.clock.now_ms += ACCEPT_PAUSE_MS

    def stop(self) -> None:
        self.server.close_all()
        for client in self.clients:
            client.close()


class ReactorHarness(Harness):
    """The same with a reactor, whose clock is the host's."""

    def make(self, listeners: list[Listener], limits: Limits) -> Any:
        server = ReactorServer(limits, lambda host: host, structlog.get_logger())
        for listener in listeners:
            server.listen(listener)
        reactor.read_clocks(server.state)  # to have it loaded before a test takes the file descriptors away
        return server

    def poll(self, timeout_ms: int = 0) -> list[tuple[Connection, Frame]]:
        frames = self.server.poll(timeout_ms)
        self.frames += frames
        return frames

    def send(self, connection: Any, pieces: list[bytes | memoryview]) -> None:
        self.server.send(connection, pieces)
        self.server.flush()

    def output_bytes(self, connection: Any) -> int:
        row = self.server.row_of(connection)
        return int(row["output_end"] - row["output_begin"])

    def held_bytes(self, connection: Any) -> int:
        return int(self.server.row_of(connection)["input_bytes"])

    def is_held_back(self, connection: Any) -> bool:
        return bool(self.server.row_of(connection)["flags"] & connections.HELD_BACK)

    def last_active_ms(self, connection: Any) -> int:
        return int(self.server.row_of(connection)["last_active_ms"])

    def now_ms(self) -> int:
        return wall_ms()

    def pass_accept_pause(self) -> None:
        end_ms = wall_ms() + ACCEPT_PAUSE_MS
        while wall_ms() < end_ms:
            wait_readable([], 0.01)


def frame(body: bytes, header: bytes = b"{}") -> bytes:
    return struct.pack(">II", 4 + len(header) + len(body), len(header)) + header + body


def receive_exactly(client: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        piece = client.recv(size - len(received))
        assert piece
        received += piece
    return bytes(received)
