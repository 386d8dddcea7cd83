"""The blocking transport: drives flows over sockets, in the thread of the caller.

One connection per address, opened when it is first needed and again after it was lost. Sockets are non-blocking and
share one selector, so that while one exchange is waited for, all connections are read: several pulls can be in
flight at once, and a peer that writes is never kept from reading. Nothing happens between two calls; what arrived
meanwhile is read by the next one, before any deadline is judged.

A connection that said nothing since a request that got no answer in time is taken for dead, and closed.
"""

import itertools
import selectors
import socket
from time import monotonic
from typing import Final

from shmq.client.errors import ClientError, ClosedError, NoAnswerError, UnreachableError
from shmq.client.protocol import Await, Begin, Conversation, Exchange, Flow, ResultT, expired
from shmq.config.addresses import split_address
from shmq.errors import PeerError

CONNECT_TIMEOUT_S: Final = 3.0
RECEIVE_BYTES: Final = 1 << 18

_numbers: Final = itertools.count(1)


class _Connection:
    """One socket and what is said on it."""

    def __init__(self, address: str, opened: socket.socket) -> None:
        self.address = address
        self.socket = opened
        self.number = next(_numbers)
        self.conversation = Conversation()
        self.outgoing = bytearray()
        self.heard_s = monotonic()


class BlockingTransport:
    """Connections by address. For one thread at a time."""

    def __init__(self) -> None:
        self._connections: dict[str, _Connection] = {}
        self._selector = selectors.DefaultSelector()

    def run(self, flow: Flow[ResultT]) -> ResultT:
        """Do what a flow wants until it returns or raises."""
        try:
            effect = next(flow)
            while True:
                if isinstance(effect, Begin):
                    self._begin(effect.exchange)
                else:
                    self._await(effect)
                effect = next(flow)
        except StopIteration as stop:
            result: ResultT = stop.value
            return result
        finally:
            flow.close()

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self._connections.values()):
            self._lose(connection, ClosedError("the client was closed"))
        self._selector.close()

    def _begin(self, exchange: Exchange) -> None:
        try:
            connection = self._connected(exchange)
        except OSError as error:
            reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
            exchange.fail(UnreachableError(f"cannot connect to {exchange.address}: {reason}"))
            return
        exchange.connection = connection.number
        exchange.begun_s = monotonic()
        connection.outgoing += connection.conversation.begin(exchange)
        self._write_all(connection, exchange.deadline_s)
        if not connection.outgoing:
            connection.conversation.written(exchange)

    def _await(self, effect: Await) -> None:
        while not any(exchange.is_done for exchange in effect.exchanges):
            until_s = min((effect.until_s, *(exchange.deadline_s for exchange in effect.exchanges)))
            while self._read(until_s):  # what has arrived by now counts, however late it is read
                if any(exchange.is_done for exchange in effect.exchanges):
                    return
            late = expired(effect.exchanges, monotonic())
            for exchange in late:
                self._abandon(exchange)
            if late or monotonic() >= effect.until_s:
                return

    def _connected(self, exchange: Exchange) -> _Connection:
        """Return the connection to an address, a new one if there is none or it has ended."""
        address = exchange.address
        if address in self._connections:
            self._read(
                0.0
            )  # a peer that closed an idle connection is noticed before anything is written to it
        if address not in self._connections:
            timeout_s = min(CONNECT_TIMEOUT_S, exchange.deadline_s - monotonic())
            if timeout_s <= 0:
                raise TimeoutError
            opened = socket.create_connection(split_address(address), timeout_s)
            opened.setblocking(False)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(address, opened)
            self._connections[address] = connection
            self._selector.register(opened, selectors.EVENT_READ, connection)
        return self._connections[address]

    def _read(self, until_s: float) -> bool:
        """Read what there is, or what comes next by then; return whether anything came."""
        ready = self._selector.select(max(0.0, until_s - monotonic()))
        for key, events in ready:
            connection: _Connection = key.data
            if events & selectors.EVENT_READ:
                self._receive(connection)
            if events & selectors.EVENT_WRITE:
                self._write(connection)
        return bool(ready)

    def _receive(self, connection: _Connection) -> None:
        try:
            received = connection.socket.recv(RECEIVE_BYTES)
            if not received:
                self._lose(connection, UnreachableError(f"{connection.address} closed the connection"))
                return
            connection.heard_s = monotonic()
            connection.outgoing += connection.conversation.feed(received)
        except BlockingIOError:
            return
        except (OSError, PeerError) as error:
            self._lose(
                connection, UnreachableError(f"the connection to {connection.address} is lost: {error}")
            )
            return
        if connection.outgoing:
            self._write(connection)

    def _write_all(self, connection: _Connection, deadline_s: float) -> None:
        """Write what is outgoing; go on reading meanwhile, lest both sides wait for each other."""
        self._write(connection)
        while connection.outgoing and self._is_open(connection):
            if monotonic() >= deadline_s:
                self._lose(connection, NoAnswerError(f"{connection.address} does not take what is sent"))
                return
            self._read(deadline_s)

    def _write(self, connection: _Connection) -> None:
        """Write what the socket takes now, and wait for it to take more if that is not all."""
        if not self._is_open(connection):
            return
        try:
            while connection.outgoing:
                sent = connection.socket.send(connection.outgoing)
                del connection.outgoing[:sent]
        except BlockingIOError:
            self._selector.modify(connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)
        except OSError as error:
            self._lose(
                connection, UnreachableError(f"the connection to {connection.address} is lost: {error}")
            )
        else:
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)

    def _abandon(self, exchange: Exchange) -> None:
        """Wait no longer for an answer; close a connection that shows no life."""
        connection = self._connections.get(exchange.address)
        if connection is not None and connection.number == exchange.connection:
            connection.conversation.forget(exchange)
            if connection.heard_s < exchange.begun_s:
                self._lose(connection, UnreachableError(f"{connection.address} has gone silent"))

    def _lose(self, connection: _Connection, error: ClientError) -> None:
        if self._is_open(connection):
            del self._connections[connection.address]
            self._selector.unregister(connection.socket)
            connection.socket.close()
            connection.conversation.fail(error)

    def _is_open(self, connection: _Connection) -> bool:
        return self._connections.get(connection.address) is connection
