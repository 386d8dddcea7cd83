"""The sockets of a process that serves peers: accept, read whole frames, write, and let nobody hinder others.

One epoll, level-triggered and non-blocking; the owner calls poll() in its loop and nothing else waits. Each
connection gets a bounded share of a poll, so a peer that sends without end delays the others by one share.
What a peer does not read waits as it was given, uncopied, up to a limit; then its connection is closed. So
is one that sends what is no frame, and one on which nothing has moved for long. A server that has no file
descriptors left stops accepting for a while instead of spinning.

Whatever the reason, a connection that goes away is put into `closed` once, and leaves one log line.
"""

import errno
import select
import socket
from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import Any, Final

from shmq.errors import PeerError
from shmq.wire.frame import Frame
from shmq.workers.connection import Connection, Limits, Listener, name_of

RECEIVE_BYTES: Final = 65_536  # of one call; below malloc's threshold for mapping pages afresh
RECEIVES_PER_POLL: Final = 4
ACCEPTS_PER_POLL: Final = 16  # few, so that workers that share a listener share what comes in
ACCEPT_PAUSE_MS: Final = 500  # how long a listener rests that found no file descriptor free
PIECES_PER_SEND: Final = 1024  # IOV_MAX of Linux
READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT

_GONE: Final = select.EPOLLHUP | select.EPOLLERR
_UNWATCHED: Final = -1  # no mask: epoll does not know the connection
_OUT_OF_RESOURCES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

_connection_ids = count(1)


class SocketServer:
    """Serves the peers of some listeners, and watches other descriptors for its owner.

    Attributes:
        closed: who went away since the owner last cleared it; frames of theirs may come from the same poll.
    """

    def __init__(self, listeners: Sequence[Listener], limits: Limits, log: Any) -> None:
        self.closed: list[Connection] = []
        self._limits = limits
        self._log = log
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._watched: dict[int, Callable[[], None]] = {}
        self._gates: dict[int, tuple[int, Listener]] = {}
        self._resting: list[int] = []  # listeners' descriptors that wait for resources
        self._retry_at_ms = 0
        self._held_back: list[Connection] = []  # readable, but reading is paused
        self._reading_paused = False
        self._is_full = False
        self._is_out_of_resources = False
        self._now_ms = 0
        self._by_id: dict[int, Connection] = {}
        for listener in listeners:
            self.listen(listener)

    def listen(self, listener: Listener) -> None:
        """Accept connections from a listener, from now on."""
        listener.socket.setblocking(False)
        self._gates[listener.socket.fileno()] = (len(self._gates), listener)
        self._open_gate(listener.socket.fileno())

    def find(self, connection_id: int) -> Connection | None:
        """The open connection of an id."""
        return self._by_id.get(connection_id)

    @property
    def connections(self) -> Sequence[Connection]:
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

    def poll(self, timeout_ms: int, now_ms: Callable[[], int]) -> list[tuple[Connection, Frame]]:
        """Wait for readiness, at most timeout_ms (for ever if negative), and serve it once; return whole frames."""
        if self._resting:
            timeout_ms = self._reopen_gates(timeout_ms, now_ms())
        ready = self._epoll.poll(-1 if timeout_ms < 0 else timeout_ms / 1000)
        self._now_ms = now_ms()
        frames: list[tuple[Connection, Frame]] = []
        for descriptor, events in ready:
            # One that was closed earlier in this round is unknown here, or a newcomer that finds nothing to read.
            connection = self._connections.get(descriptor)
            if connection is not None:
                self._serve(connection, events, frames)
            elif descriptor in self._watched:
                self._watched[descriptor]()
            elif descriptor in self._gates:
                self._accept(*self._gates[descriptor])
        return frames

    def send(self, connection: Connection, pieces: Sequence[bytes | memoryview]) -> None:
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

    def close(self, connection: Connection, reason: str) -> None:
        """Close a connection for a fault of its peer; what waits to be sent is dropped."""
        if connection.is_open:
            self._log.warning("connection closed", peer=name_of(connection.peer), reason=reason)
            self._forget(connection)

    def stop_accepting(self) -> None:
        """Close the listeners; connections stay."""
        for descriptor, (_, listener) in self._gates.items():
            if descriptor not in self._resting:
                self._epoll.unregister(descriptor)
            listener.socket.close()
        self._gates.clear()
        self._resting.clear()

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

    def _accept(self, index: int, listener: Listener) -> None:
        for _ in range(ACCEPTS_PER_POLL):
            try:
                accepted, _ = listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._rest(listener.socket.fileno(), error)
                    return
                self._log.info("connection lost before it was accepted", reason=str(error))
                continue
            self._admit(accepted, index, listener)

    def _admit(self, accepted: socket.socket, index: int, listener: Listener) -> None:
        self._is_out_of_resources = False
        if len(self._connections) >= self._limits.connections_max:
            accepted.close()
            if not self._is_full:  # one line for all that are turned away until there is room again
                self._is_full = True
                self._log.warning("connections are refused", connections=len(self._connections))
            return
        self._is_full = False
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(accepted, next(_connection_ids), self._limits)
        except OSError as error:  # the peer was gone before we asked who it is
            accepted.close()
            self._log.info("connection lost as it was accepted", reason=str(error))
            return
        connection.is_vip = listener.is_vip
        connection.listener = index
        connection.last_active_ms = self._now_ms
        connection.events = READABLE
        self._connections[accepted.fileno()] = connection
        self._by_id[connection.id] = connection
        self._epoll.register(accepted.fileno(), READABLE)
        self._log.debug("connection accepted", peer=name_of(connection.peer), local=name_of(connection.local))

    def _rest(self, descriptor: int, error: OSError) -> None:
        self._epoll.unregister(descriptor)
        if not self._is_out_of_resources:  # one line until an accept succeeds again
            self._is_out_of_resources = True
            self._log.error("cannot accept connections for now", reason=str(error))
        self._resting.append(descriptor)
        self._retry_at_ms = self._now_ms + ACCEPT_PAUSE_MS

    def _reopen_gates(self, timeout_ms: int, now_ms: int) -> int:
        """Let resting listeners try again if it is time; return how long a poll may wait."""
        left_ms = self._retry_at_ms - now_ms
        if left_ms > 0:
            return left_ms if timeout_ms < 0 else min(timeout_ms, left_ms)
        resting, self._resting = self._resting, []
        for descriptor in resting:
            self._open_gate(descriptor)
        return timeout_ms

    def _open_gate(self, descriptor: int) -> None:
        # Exclusive: of the workers that share a listener, one connection wakes one, not all.
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _serve(self, connection: Connection, events: int, frames: list[tuple[Connection, Frame]]) -> None:
        if events & WRITABLE and connection.output:
            self._flush(connection)
        if not connection.is_open or not events & (READABLE | _GONE):
            return
        if self._reading_paused:
            self._hold_back(connection, events)
        else:
            self._read(connection, frames)

    def _read(self, connection: Connection, frames: list[tuple[Connection, Frame]]) -> None:
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

    def _flush(self, connection: Connection) -> None:
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

    def _attend(self, connection: Connection) -> None:
        """Have epoll wait for what the connection needs now: its peer's bytes, and room where output waits."""
        wanted = 0 if connection.is_held_back else READABLE
        if connection.output:
            wanted |= WRITABLE
        if connection.events not in {wanted, _UNWATCHED}:
            self._epoll.modify(connection.socket.fileno(), wanted)
            connection.events = wanted

    def _hold_back(self, connection: Connection, events: int) -> None:
        """Stop waiting for the peer until reading is resumed, or its readiness would be reported again and again."""
        if not connection.is_held_back:
            connection.is_held_back = True
            self._held_back.append(connection)
        if events & _GONE:  # which no mask can silence; what it sent before is still to be read
            self._epoll.unregister(connection.socket.fileno())
            connection.events = _UNWATCHED
        self._attend(connection)

    def _drop(self, connection: Connection, reason: str) -> None:
        """Close a connection that went by itself: news only where it leaves something unfinished."""
        level = self._log.info if connection.reader.held_bytes or connection.output else self._log.debug
        level("connection closed", peer=name_of(connection.peer), reason=reason)
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
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
