"""The listeners of one server: they accept while there is room for connections and descriptors for sockets.

More connections than allowed are closed at once, with one log line until there is room again. A listener that
finds no file descriptor free rests for a while, with one line, instead of being ready again and again.
"""

import errno
import socket
from collections.abc import Callable
from typing import Any, Final

from shmq.workers.connection import Accepted, Listener, host_of, name_of

ACCEPTS_PER_POLL: Final = 16  # few, so that workers that share a listener share what comes in
ACCEPT_PAUSE_MS: Final = 500  # how long a listener rests that found no file descriptor free

_OUT_OF_RESOURCES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Acceptor:
    """Accepts for a server, which watches the listeners for it."""

    def __init__(
        self,
        open_gate: Callable[[int], None],
        close_gate: Callable[[int], None],
        connections_max: int,
        log: Any,
    ) -> None:
        """Take how to watch a listener's descriptor, and how to stop that."""
        self._open_gate = open_gate
        self._close_gate = close_gate
        self._connections_max = connections_max
        self._log = log
        self._gates: dict[int, tuple[int, Listener]] = {}
        self._resting: list[int] = []  # descriptors that wait for resources
        self._retry_at_ms = 0
        self._is_full = False
        self._is_out_of_resources = False

    def listen(self, listener: Listener) -> None:
        """Accept from a listener, from now on."""
        listener.socket.setblocking(False)
        self._gates[listener.socket.fileno()] = (len(self._gates), listener)
        self._open_gate(listener.socket.fileno())

    def owns(self, descriptor: int) -> bool:
        """Whether a descriptor is a listener's."""
        return descriptor in self._gates

    @property
    def is_resting(self) -> bool:
        """Whether a listener waits for resources."""
        return bool(self._resting)

    def reopen(self, timeout_ms: int, now_ms: int) -> int:
        """Let resting listeners try again if it is time; return how long the server may wait."""
        left_ms = self._retry_at_ms - now_ms
        if left_ms > 0:
            return left_ms if timeout_ms < 0 else min(timeout_ms, left_ms)
        resting, self._resting = self._resting, []
        for descriptor in resting:
            self._open_gate(descriptor)
        return timeout_ms

    def accept(self, descriptor: int, connected: int, now_ms: int) -> list[Accepted]:
        """Accept who is waiting at a listener, a bounded number, while so many are connected."""
        index, listener = self._gates[descriptor]
        admitted: list[Accepted] = []
        for _ in range(ACCEPTS_PER_POLL):
            try:
                accepted, _ = listener.socket.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._rest(descriptor, error, now_ms)
                    break
                self._log.info("connection lost before it was accepted", reason=str(error))
                continue
            self._is_out_of_resources = False
            if self._has_room(accepted, connected + len(admitted)):
                self._admit(accepted, index, listener, admitted)
        return admitted

    def stop(self) -> None:
        """Close the listeners."""
        for descriptor, (_, listener) in self._gates.items():
            if descriptor not in self._resting:
                self._close_gate(descriptor)
            listener.socket.close()
        self._gates.clear()
        self._resting.clear()

    def _has_room(self, accepted: socket.socket, connected: int) -> bool:
        """Turn a newcomer away where there are as many as may be."""
        if connected < self._connections_max:
            self._is_full = False
            return True
        accepted.close()
        if not self._is_full:  # one line for all that are turned away until there is room again
            self._is_full = True
            self._log.warning("connections are refused", connections=connected)
        return False

    def _admit(
        self, accepted: socket.socket, index: int, listener: Listener, admitted: list[Accepted]
    ) -> None:
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer, local = host_of(accepted.getpeername()), host_of(accepted.getsockname())
        except OSError as error:  # the peer was gone before we asked who it is
            accepted.close()
            self._log.info("connection lost as it was accepted", reason=str(error))
            return
        admitted.append(Accepted(accepted, peer, local, index, listener.is_vip))
        self._log.debug("connection accepted", peer=name_of(peer), local=name_of(local))

    def _rest(self, descriptor: int, error: OSError, now_ms: int) -> None:
        self._close_gate(descriptor)
        if not self._is_out_of_resources:  # one line until an accept succeeds again
            self._is_out_of_resources = True
            self._log.error("cannot accept connections for now", reason=str(error))
        self._resting.append(descriptor)
        self._retry_at_ms = now_ms + ACCEPT_PAUSE_MS
