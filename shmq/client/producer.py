"""Producer: sends messages, blocking until they are stored."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

from shmq.client.connection import BlockingTransport
from shmq.client.errors import ClosedError
from shmq.client.identity import Identity
from shmq.client.message import Message, SendResult
from shmq.client.protocol import Flow
from shmq.client.routing import Router
from shmq.client.sending import ProducerSettings, Sender
from shmq.wire.bodies import MessageQueue

ResultT = TypeVar("ResultT")

NAMESRV_DEFAULT: Final = "127.0.0.1:9876"


class Producer:
    """A producer for any number of threads, which take turns; for many sends at once there is AsyncProducer.

    Brokers list it while it is in use: it has no thread of its own, and sends heartbeats beside messages.

    Args:
        namesrv: the name servers, `host:port` joined by semicolons.
        settings: how to send.
    """

    def __init__(self, namesrv: str = NAMESRV_DEFAULT, settings: ProducerSettings | None = None) -> None:
        router = Router(namesrv)
        self._sender = Sender(router, Identity(router.name_servers[0]), settings or ProducerSettings())
        self._transport: BlockingTransport | None = BlockingTransport()
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def queues(self, topic: str) -> tuple[MessageQueue, ...]:
        """Return the queues that messages of a topic may be sent to."""
        return self._run(self._sender.queues(topic))

    def send(self, message: Message, queue: MessageQueue | None = None) -> SendResult:
        """Send a message to a queue, or to the topic's next; return where it is stored.

        Raises:
            MessageError: no broker would take it.
            SendError: the brokers that were asked did not take it.
            ClientError: it may have been stored or not.
        """
        return self._run(self._sender.send(message, queue))

    def send_batch(self, messages: Sequence[Message], queue: MessageQueue | None = None) -> SendResult:
        """Send messages of one topic as one: they get consecutive offsets of one queue. Raises as send does."""
        return self._run(self._sender.send_batch(messages, queue))

    def send_oneway(self, message: Message, queue: MessageQueue | None = None) -> None:
        """Send a message and ask for no answer: whether a broker took it stays unknown."""
        self._run(self._sender.send_oneway(message, queue))

    def close(self) -> None:
        """Take leave of the brokers and close the connections."""
        with self._turn:
            transport, self._transport = self._transport, None
            if transport is not None:
                transport.run(self._sender.membership.leave())
                transport.close()

    def _run(self, flow: Flow[ResultT]) -> ResultT:
        with self._turn:
            if self._transport is None:
                raise ClosedError("the producer is closed")
            return self._transport.run(flow)
