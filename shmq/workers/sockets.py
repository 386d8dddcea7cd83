"""The sockets of a process that serves peers: accept, read whole frames, write, and let nobody hinder others.

One epoll, level-triggered and non-blocking; the owner calls poll() in its loop and nothing else waits. Each
connection gets a bounded share of a poll, so a peer that sends without end delays the others by one share.
What a peer does not read waits as it was given, uncopied, up to a limit; then its connection is closed. So
is one that sends what is no frame, and one on which nothing has moved for long. A server that has no file
descriptors left stops accepting for a while instead of spinning.

Whatever the reason, a connection that goes away is put into `closed` once, and leaves one log line.
"""

import os
import select
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

from shmq.errors import PeerError
from shmq.wire.frame import Frame, FrameReader
from shmq.workers.accepting import Acceptor
from shmq.workers.connection import Accepted, Connection, Limits, Listener, name_of

RECEIVE_BYTES: Final = 65_536  # of one call; below malloc's threshold for mapping pages afresh
RECEIVES_PER_POLL: Final = 4
PIECES_PER_SEND: Final = 1024  # IOV_MAX of Linux
READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT

_GONE: Final = select.EPOLLHUP | select.EPOLLERR
_UNWATCHED: Final = -1  # no mask: epoll does not know the connection


class BufferedConnection(Connection):
    """A connection whose bytes wait in Python.

    Attributes:
        last_active_ms: when bytes last moved, either way.
        output_bytes: how much waits for the peer to read.
        reader, output, events, is_held_back: for the server alone.
    """

    __slots__ = ("events", "is_held_back", "last_active_ms", "output", "output_bytes", "reader")

    def __init__(self, accepted: Accepted, limits: Limits) -> None:
        super().__init__(accepted)
        self.last_active_ms = 0
        self.output_bytes = 0
        self.reader = FrameReader(limits.frame_bytes_max)
        self.output: deque[bytes | memoryview] = deque()
        self.events = 0
        self.is_held_back = False


class SocketServer:
    """Serves the peers of some listeners, and watches other descriptors for its owner.

    Attributes:
        closed: who went away since the owner last cleared it; frames of theirs may come from the same poll.
    """

    def __init__(self, listeners: Sequence[Listener], limits: Limits, log: Any) -> None:
        self.closed: list[BufferedConnection] = []
        self._limits = limits
        self._log = log
        self._epoll = select.epoll()
        self._connections: dict[int, BufferedConnection] = {}
        self._watched: dict[int, Callable[[], None]] = {}
        self._acceptor = Acceptor(self._open_gate, self._epoll.unregister, limits.connections_max, log)
        self._held_back: list[BufferedConnection] = []  # readable, but reading is paused
        self._reading_paused = False
        self._now_ms = 0
        self._by_id: dict[int, BufferedConnection] = {}
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.watch(self._waker, self._hear)
        for listener in listeners:
            self.listen(listener)

    def listen(self, listener: Listener) -> None:
        """Accept connections from a listener, from now on."""
        self._acceptor.listen(listener)

    def find(self, connection_id: int) -> BufferedConnection | None:
        """The open connection of an id."""
        return self._by_id.get(connection_id)

    @property
    def connections(self) -> Sequence[BufferedConnection]:
        """Who is connected."""
        return tuple(self._connections.values())

    @property
    def output_bytes(self) -> int:
        """Bytes that wait for peers to read, in all."""
        return sum(connection.output_bytes for connection in self._connections.values())

    def watch(self, descriptor: int, on_ready: Callable[[], None], events: int = READABLE) -> None:
        """Call on_ready in poll() while descriptor is ready for events, or broken; again: change them."""
        if descriptor in self._watched:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._watched[descriptor] = on_ready

    def unwatch(self, descriptor: int) -> None:
        """Forget a watched descriptor; call it before closing it."""
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def poll(self, timeout_ms: int, now_ms: Callable[[], int]) -> list[tuple[BufferedConnection, Frame]]:
        """Wait for readiness, at most timeout_ms (for ever if negative), and serve it once; return whole frames."""
        if self._acceptor.is_resting:
            timeout_ms = self._acceptor.reopen(timeout_ms, now_ms())
        ready = self._epoll.poll(-1 if timeout_ms < 0 else timeout_ms / 1000)
        self._now_ms = now_ms()
        frames: list[tuple[BufferedConnection, Frame]] = []
        for descriptor, events in ready:
            # One that was closed earlier in this round is unknown here, or a newcomer that finds nothing to read.
            connection = self._connections.get(descriptor)
            if connection is not None:
                self._serve(connection, events, frames)
            elif descriptor in self._watched:
                self._watched[descriptor]()
            elif self._acceptor.owns(descriptor):
                accepted = self._acceptor.accept(descriptor, len(self._connections), self._now_ms)
                for each in accepted:
                    self._admit(each)
        return frames

    def wake(self) -> None:
        """End a wait in poll(), or the next one; for signal handlers, behind which a wait in epoll goes on."""
        os.eventfd_write(self._waker, 1)

    def send(self, connection: BufferedConnection, pieces: Sequence[bytes | memoryview]) -> None:
        """Send the pieces of one or more frames, what the peer does not take at once as it takes it.

        The pieces must stay as they are until they are sent. One answer may exceed the limit of waiting
        output, which is there for peers that do not read.
        """
        if not connection.is_open:
            return
        waited_bytes = connection.output_bytes
        connection.output.extend(pieces)
        connection.output_bytes += sum(map(len, pieces))
        if not waited_bytes:
            self._flush(connection)
        elif connection.output_bytes > self._limits.output_bytes_max:
            waiting = connection.output_bytes
            self.close(connection, f"too slow a reader: {waiting} bytes wait for it")

    def close(self, connection: BufferedConnection, reason: str) -> None:
        """Close a connection for a fault of its peer; what waits to be sent is dropped."""
        if connection.is_open:
            self._log.warning("connection closed", peer=name_of(connection.peer), reason=reason)
            self._forget(connection)

    def stop_accepting(self) -> None:
        """Close the listeners; connections stay."""
        self._acceptor.stop()

    def pause_reading(self) -> None:
        """Read from nobody until resume_reading(); accept, write and watch as before."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Read again."""
        self._reading_paused = False
        for connection in self._held_back:
            if not connection.is_open:
                continue
            connection.is_held_back = False
            connection.last_active_ms = self._now_ms  # it was we who were idle
            if connection.events == _UNWATCHED:
                self._epoll.register(connection.socket.fileno(), READABLE)
                connection.events = READABLE
            self._attend(connection)
        self._held_back.clear()

    def expire_idle(self, now_ms: int) -> None:
        """Close the connections on which nothing has moved for the limit's idle_ms; none while reading is paused."""
        if self._reading_paused:
            return
        limit_ms = self._limits.idle_ms
        for connection in self.connections:
            idle_ms = now_ms - connection.last_active_ms
            if idle_ms > limit_ms:
                self._log.info(
                    "connection closed", peer=name_of(connection.peer), reason=f"idle for {idle_ms} ms"
                )
                self._forget(connection)

    def close_all(self) -> None:
        """Close everything; what peers take at once is still sent."""
        self.stop_accepting()
        for connection in self.connections:
            if connection.output:
                self._flush(connection)
            if connection.is_open:
                self._forget(connection)
        self._watched.clear()
        self._epoll.close()
        if self._waker >= 0:
            os.close(self._waker)
            self._waker = -1

    def _hear(self) -> None:
        os.eventfd_read(self._waker)

    def _admit(self, accepted: Accepted) -> None:
        connection = BufferedConnection(accepted, self._limits)
        connection.last_active_ms = self._now_ms
        connection.events = READABLE
        self._connections[accepted.socket.fileno()] = connection
        self._by_id[connection.id] = connection
        self._epoll.register(accepted.socket.fileno(), READABLE)

    def _open_gate(self, descriptor: int) -> None:
        # Exclusive: of the workers that share a listener, one connection wakes one, not all.
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _serve(
        self, connection: BufferedConnection, events: int, frames: list[tuple[BufferedConnection, Frame]]
    ) -> None:
        if events & WRITABLE and connection.output:
            self._flush(connection)
        if not connection.is_open or not events & (READABLE | _GONE):
            return
        if self._reading_paused:
            self._hold_back(connection, events)
        else:
            self._read(connection, frames)

    def _read(self, connection: BufferedConnection, frames: list[tuple[BufferedConnection, Frame]]) -> None:
        for _ in range(RECEIVES_PER_POLL):
            try:
                received = connection.socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._drop(connection, f"lost: {error.strerror}")
                return
            if not received:
                self._drop(connection, "closed by the peer")
                return
            connection.last_active_ms = self._now_ms
            try:
                frames.extend((connection, frame) for frame in connection.reader.feed(received))
            except PeerError as error:
                self.close(connection, str(error))
                return
            if len(received) < RECEIVE_BYTES:
                return

    def _flush(self, connection: BufferedConnection) -> None:
        output = connection.output
        try:
            sent = connection.socket.sendmsg(islice(output, PIECES_PER_SEND))
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._drop(connection, f"lost: {error.strerror}")
            return
        if sent:
            connection.last_active_ms = self._now_ms
            connection.output_bytes -= sent
        while output and sent >= len(output[0]):
            sent -= len(output.popleft())
        if sent:
            output[0] = memoryview(output[0])[sent:]
        self._attend(connection)

    def _attend(self, connection: BufferedConnection) -> None:
        """Have epoll wait for what the connection needs now: its peer's bytes, and room where output waits."""
        wanted = 0 if connection.is_held_back else READABLE
        if connection.output:
            wanted |= WRITABLE
        if connection.events not in {wanted, _UNWATCHED}:
            self._epoll.modify(connection.socket.fileno(), wanted)
            connection.events = wanted

    def _hold_back(self, connection: BufferedConnection, events: int) -> None:
        """Stop waiting for the peer until reading is resumed, or its readiness would be reported again and again."""
        if not connection.is_held_back:
            connection.is_held_back = True
            self._held_back.append(connection)
        if events & _GONE:  # which no mask can silence; what it sent before is still to be read
            self._epoll.unregister(connection.socket.fileno())
            connection.events = _UNWATCHED
        self._attend(connection)

    def _drop(self, connection: BufferedConnection, reason: str) -> None:
        """Close a connection that went by itself: news only where it leaves something unfinished."""
        level = self._log.info if connection.reader.held_bytes or connection.output else self._log.debug
        level("connection closed", peer=name_of(connection.peer), reason=reason)
        self._forget(connection)

    def _forget(self, connection: BufferedConnection) -> None:
        connection.is_open = False
        descriptor = connection.socket.fileno()
        del self._connections[descriptor]
        del self._by_id[connection.id]
        if connection.events != _UNWATCHED:
            self._epoll.unregister(descriptor)
        connection.output.clear()
        connection.output_bytes = 0
        connection.socket.close()
        self.closed.append(connection)
