"""A connection that we dial: to a name server, or to a broker that a name server tells something.

It never blocks: names are resolved in a thread, connecting and sending go on while its owner polls. When it is
lost it is dialled again, after a pause that doubles, until the owner closes it. Log lines come when it is reached
and when it is lost or cannot be reached, not at each try.
"""

import os
import socket
import threading
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Protocol

from shmq.config.addresses import split_address
from shmq.errors import PeerError
from shmq.wire.command import Command, decode, encode
from shmq.wire.frame import FrameReader
from shmq.workers.sockets import READABLE, RECEIVE_BYTES, WRITABLE

DIAL_TIMEOUT_MS: Final = 3000
RETRY_MS_MIN: Final = 100
RETRY_MS_MAX: Final = 10_000


class Watcher(Protocol):
    """Who tells when a descriptor is ready."""

    def watch(self, descriptor: int, on_ready: Callable[[], None], events: int = READABLE) -> None:
        """Call on_ready while descriptor is ready for events; again: change them."""

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor."""


class State(Enum):
    """Where a link stands."""

    RESTING = 0
    RESOLVING = 1
    DIALLING = 2
    CONNECTED = 3


class Link:
    """One such connection.

    Attributes:
        address: the peer's `host:port`.
        state: where it stands.
        epoch: how often it has been connected.
        received: what the peer sent; for the owner to take.
    """

    def __init__(self, address: str, watcher: Watcher, log: Any) -> None:
        self.address = address
        self.state = State.RESTING
        self.epoch = 0
        self.received: list[Command] = []
        self._watcher = watcher
        self._log = log
        self._socket: socket.socket | None = None
        self._resolution: _Resolution | None = None
        self._reader = FrameReader()
        self._output = bytearray()
        self._now_ms = 0
        self._due_ms = 0  # of the next try, or of giving the present one up
        self._retry_ms = RETRY_MS_MIN
        self._is_failure_told = False

    @property
    def is_connected(self) -> bool:
        """Whether what is sent now has a chance to arrive."""
        return self.state is State.CONNECTED

    @property
    def output_bytes(self) -> int:
        """Bytes that the peer has not taken yet."""
        return len(self._output)

    @property
    def due_ms(self) -> int:
        """When tick() has something to do though nothing is ready."""
        return 2**62 if self.is_connected else self._due_ms

    def tick(self, now_ms: int) -> None:
        """Dial, or give up dialling, when it is time."""
        self._now_ms = now_ms
        if self.is_connected or now_ms < self._due_ms:
            return
        if self.state is State.RESTING:
            self._resolve()
        else:
            self._lose(f"no answer within {DIAL_TIMEOUT_MS} ms")

    def send(self, command: Command) -> bool:
        """Send a command; False where the link is not connected."""
        if not self.is_connected:
            return False
        self._output += encode(command)
        self._write()
        return self.is_connected

    def close(self) -> None:
        """Close the link for good, or until the next tick()."""
        self._release()
        self.state = State.RESTING

    def _resolve(self) -> None:
        self.state = State.RESOLVING
        self._due_ms = self._now_ms + DIAL_TIMEOUT_MS
        try:
            host, port = split_address(self.address)
        except ValueError as error:
            self._lose(str(error))
            return
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):  # a name: only a server can tell, and it may take its time
            self._resolution = _Resolution(host, port)
            self._watcher.watch(self._resolution.descriptor, self._take_resolution)
            return
        self._dial(found[0])

    def _take_resolution(self) -> None:
        assert self._resolution is not None
        answer = self._resolution.answer
        self._release()
        if isinstance(answer, Exception):
            self._lose(f"its name cannot be resolved: {answer}")
        else:
            self._dial(answer)

    def _dial(self, found: Any) -> None:
        family, kind, protocol, _, where = found
        self.state = State.DIALLING
        self._due_ms = self._now_ms + DIAL_TIMEOUT_MS
        try:
            self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._watcher.watch(self._socket.fileno(), self._on_ready, WRITABLE)
            self._socket.connect(where)
        except BlockingIOError:
            pass  # under way; readiness to write says how it ended
        except OSError as error:
            self._lose(str(error.strerror))

    def _on_ready(self) -> None:
        assert self._socket is not None
        if self.state is State.DIALLING:
            failure = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure:
                self._lose(os.strerror(failure))
                return
            self._reach()
        if self._output:
            self._write()
        if self.is_connected:
            self._read()

    def _reach(self) -> None:
        self.state = State.CONNECTED
        self.epoch += 1
        self._reader = FrameReader()
        self._retry_ms = RETRY_MS_MIN
        self._is_failure_told = False
        self._log.info("connected", peer=self.address)
        self._attend()

    def _attend(self) -> None:
        assert self._socket is not None
        self._watcher.watch(
            self._socket.fileno(), self._on_ready, READABLE | WRITABLE if self._output else READABLE
        )

    def _read(self) -> None:
        assert self._socket is not None
        try:
            received = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(str(error.strerror))
            return
        if not received:
            self._lose("closed by the peer")
            return
        try:
            self.received += map(decode, self._reader.feed(received))
        except PeerError as error:
            self._lose(str(error))

    def _write(self) -> None:
        assert self._socket is not None
        try:
            sent = self._socket.send(self._output)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(str(error.strerror))
            return
        del self._output[:sent]
        self._attend()

    def _lose(self, reason: str) -> None:
        if not self._is_failure_told:
            self._is_failure_told = True
            self._log.warning(
                "connection lost" if self.is_connected else "cannot connect", peer=self.address, reason=reason
            )
        self._release()
        self.state = State.RESTING
        self._due_ms = self._now_ms + self._retry_ms
        self._retry_ms = min(2 * self._retry_ms, RETRY_MS_MAX)

    def _release(self) -> None:
        if self._resolution is not None:
            self._watcher.unwatch(self._resolution.descriptor)
            self._resolution.abandon()
            self._resolution = None
        if self._socket is not None:
            self._watcher.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._output.clear()


class _Resolution:
    """The look-up of a name, in a thread of its own, since nothing can bound how long it takes.

    Attributes:
        descriptor: readable when the answer is there.
        answer: the first address found, or the error.
    """

    def __init__(self, host: str, port: int) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.answer: Any = OSError()
        self._lock = threading.Lock()
        self._is_abandoned = False
        threading.Thread(target=self._run, args=(host, port), daemon=True).start()

    def abandon(self) -> None:
        """Nobody waits for the answer any more."""
        with self._lock:
            self._is_abandoned = True
            os.close(self.descriptor)

    def _run(self, host: str, port: int) -> None:
        try:
            answer: Any = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except (OSError, UnicodeError) as error:
            answer = error
        with self._lock:
            if not self._is_abandoned:
                self.answer = answer
                os.eventfd_write(self.descriptor, 1)
