"""AsyncProducer: sends messages on an event loop, any number at once."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar

from shmq.client.aio import AsyncTransport
from shmq.client.errors import ClosedError
from shmq.client.identity import Identity
from shmq.client.membership import HEARTBEAT_S
from shmq.client.message import Message, SendResult
from shmq.client.producer import NAMESRV_DEFAULT
from shmq.client.protocol import Flow
from shmq.client.routing import Router
from shmq.client.sending import ProducerSettings, Sender
from shmq.wire.bodies import MessageQueue

ResultT = TypeVar("ResultT")


class AsyncProducer:
    """A producer for any number of tasks of one event loop.

    Args:
        namesrv: the name servers, `host:port` joined by semicolons.
        settings: how to send.
    """

    def __init__(self, namesrv: str = NAMESRV_DEFAULT, settings: ProducerSettings | None = None) -> None:
        router = Router(namesrv)
        self._sender = Sender(router, Identity(router.name_servers[0]), settings or ProducerSettings())
        self._transport: AsyncTransport | None = AsyncTransport()
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def queues(self, topic: str) -> tuple[MessageQueue, ...]:
        """Return the queues that messages of a topic may be sent to."""
        return await self._run(self._sender.queues(topic))

    async def send(self, message: Message, queue: MessageQueue | None = None) -> SendResult:
        """Send a message to a queue, or to the topic's next; return where it is stored.

        Raises:
            MessageError: no broker would take it.
            SendError: the brokers that were asked did not take it.
            ClientError: it may have been stored or not.
        """
        return await self._run(self._sender.send(message, queue))

    async def send_batch(self, messages: Sequence[Message], queue: MessageQueue | None = None) -> SendResult:
        """Send messages of one topic as one: they get consecutive offsets of one queue. Raises as send does."""
        return await self._run(self._sender.send_batch(messages, queue))

    async def send_oneway(self, message: Message, queue: MessageQueue | None = None) -> None:
        """Send a message and ask for no answer: whether a broker took it stays unknown."""
        await self._run(self._sender.send_oneway(message, queue))

    async def close(self) -> None:
        """Take leave of the brokers and close the connections."""
        transport, self._transport = self._transport, None
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if transport is not None:
            await transport.run(self._sender.membership.leave())
            await transport.close()

    async def _run(self, flow: Flow[ResultT]) -> ResultT:
        if self._transport is None:
            raise ClosedError("the producer is closed")
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(self._transport))
        return await self._transport.run(flow)

    async def _keep(self, transport: AsyncTransport) -> None:
        """Have the brokers know this producer while it is idle, too."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await transport.run(self._sender.membership.keep())
