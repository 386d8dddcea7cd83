"""The asyncio transport: drives any number of flows at once over shared connections.

One connection per address, opened when it is first needed and again after it was lost; flows that need it at the
same time wait for the same attempt. A task per connection reads, so answers are taken as they come. A flow may be
cancelled: its request stays on its way, its answer is dropped.

A connection that said nothing since a request that got no answer in time is taken for dead, and closed.
"""

import asyncio
import contextlib
import itertools
from time import monotonic
from typing import Final

from shmq.client.connection import CONNECT_TIMEOUT_S, RECEIVE_BYTES
from shmq.client.errors import ClientError, ClosedError, NoAnswerError, UnreachableError
from shmq.client.protocol import Await, Begin, Conversation, Exchange, Flow, ResultT, expired
from shmq.config.addresses import split_address
from shmq.errors import PeerError

_UNSENT_BYTES_MAX: Final = 1 << 20  # more waits until the peer has taken some

_numbers: Final = itertools.count(1)


class _Connection:
    """One pair of streams and what is said on it."""

    def __init__(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.address = address
        self.reader = reader
        self.writer = writer
        self.number = next(_numbers)
        self.conversation = Conversation()
        self.heard_s = monotonic()
        self.is_open = True
        self.listening: asyncio.Task[None] | None = None


class AsyncTransport:
    """Connections by address, for one event loop."""

    def __init__(self) -> None:
        self._opening: dict[str, asyncio.Task[_Connection]] = {}
        self._connections: dict[str, _Connection] = {}

    async def run(self, flow: Flow[ResultT]) -> ResultT:
        """Do what a flow wants until it returns or raises."""
        try:
            effect = next(flow)
            while True:
                if isinstance(effect, Begin):
                    await self._begin(effect.exchange)
                else:
                    await self._await(effect)
                effect = next(flow)
        except StopIteration as stop:
            result: ResultT = stop.value
            return result
        finally:
            flow.close()

    async def close(self) -> None:
        """Close all connections."""
        opening = list(self._opening.values())
        connections = list(self._connections.values())
        for task in opening:
            task.cancel()
        for connection in connections:
            self._lose(connection, ClosedError("the client was closed"))
        listening = [connection.listening for connection in connections if connection.listening is not None]
        await asyncio.gather(*opening, *listening, return_exceptions=True)
        for connection in connections:
            with contextlib.suppress(OSError):  # how a lost connection ended is no news to who closes
                await connection.writer.wait_closed()

    async def _begin(self, exchange: Exchange) -> None:
        try:
            connection = await self._connected(exchange)
        except OSError as error:
            reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
            exchange.fail(UnreachableError(f"cannot connect to {exchange.address}: {reason}"))
            return
        except asyncio.CancelledError:
            exchange.fail(UnreachableError(f"the request to {exchange.address} was cancelled"))
            raise
        exchange.connection = connection.number
        exchange.begun_s = monotonic()
        connection.writer.write(connection.conversation.begin(exchange))
        if connection.writer.transport.get_write_buffer_size() > _UNSENT_BYTES_MAX:
            await self._drain(connection, exchange.deadline_s)
        if connection.is_open:
            connection.conversation.written(exchange)

    async def _await(self, effect: Await) -> None:
        exchanges = effect.exchanges
        if any(exchange.is_done for exchange in exchanges):
            return
        woken = asyncio.Event()
        for exchange in exchanges:
            exchange.watchers.append(woken.set)
        until_s = min((effect.until_s, *(exchange.deadline_s for exchange in exchanges)))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until_s - monotonic())):
                    await woken.wait()
        finally:
            for exchange in exchanges:
                exchange.watchers.remove(woken.set)
        if not woken.is_set():
            for exchange in expired(exchanges, monotonic()):
                self._abandon(exchange)

    async def _connected(self, exchange: Exchange) -> _Connection:
        """Return the connection to an address, a new one if there is none or it has ended."""
        address = exchange.address
        connection = self._connections.get(address)
        if connection is not None:
            return connection
        opening = self._opening.get(address)
        if opening is None:
            opening = self._opening[address] = asyncio.create_task(self._open(address))
        async with asyncio.timeout(max(0.0, exchange.deadline_s - monotonic())):
            return await asyncio.shield(opening)

    async def _open(self, address: str) -> _Connection:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connection = _Connection(address, *await asyncio.open_connection(*split_address(address)))
        finally:
            del self._opening[address]
        self._connections[address] = connection
        connection.listening = asyncio.create_task(self._listen(connection))
        return connection

    async def _listen(self, connection: _Connection) -> None:
        error = UnreachableError(f"{connection.address} closed the connection")
        try:
            while received := await connection.reader.read(RECEIVE_BYTES):
                connection.heard_s = monotonic()
                answers = connection.conversation.feed(received)
                if answers:
                    connection.writer.write(answers)
        except (OSError, PeerError) as broken:
            error = UnreachableError(f"the connection to {connection.address} is lost: {broken}")
        self._lose(connection, error)

    async def _drain(self, connection: _Connection, deadline_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, deadline_s - monotonic())):
                await connection.writer.drain()
        except TimeoutError:
            self._lose(connection, NoAnswerError(f"{connection.address} does not take what is sent"))
        except OSError as error:
            self._lose(
                connection, UnreachableError(f"the connection to {connection.address} is lost: {error}")
            )

    def _abandon(self, exchange: Exchange) -> None:
        """Wait no longer for an answer; close a connection that shows no life."""
        connection = self._connections.get(exchange.address)
        if connection is not None and connection.number == exchange.connection:
            connection.conversation.forget(exchange)
            if connection.heard_s < exchange.begun_s:
                self._lose(connection, UnreachableError(f"{connection.address} has gone silent"))

    def _lose(self, connection: _Connection, error: ClientError) -> None:
        if connection.is_open:
            connection.is_open = False
            del self._connections[connection.address]
            connection.writer.close()
            connection.conversation.fail(error)
