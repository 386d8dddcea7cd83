"""PullConsumer: reads a topic, blocking until messages come."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self, TypeVar

from shmq.client.connection import BlockingTransport
from shmq.client.errors import ClosedError
from shmq.client.identity import Identity
from shmq.client.message import Delivery, check_topic
from shmq.client.producer import NAMESRV_DEFAULT
from shmq.client.protocol import Flow
from shmq.client.pulling import ConsumerSettings, Puller
from shmq.client.routing import Router
from shmq.wire.bodies import MessageQueue

ResultT = TypeVar("ResultT")


class PullConsumer:
    """A consumer of all queues of one topic, for one thread.

    Brokers list it, if it has a group, while it is in use: it has no thread of its own, and sends heartbeats
    beside pulls. It does not share queues with other members of its group.

    Args:
        topic: what to read.
        namesrv: the name servers, `host:port` joined by semicolons.
        settings: what to read of it, and as who.
    """

    def __init__(
        self, topic: str, namesrv: str = NAMESRV_DEFAULT, settings: ConsumerSettings | None = None
    ) -> None:
        check_topic(topic)
        router = Router(namesrv)
        self._puller = Puller(topic, router, Identity(router.name_servers[0]), settings or ConsumerSettings())
        self._transport: BlockingTransport | None = BlockingTransport()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def positions(self) -> dict[MessageQueue, int]:
        """The offset of each queue's next message to be handed out."""
        return self._puller.positions

    @property
    def is_at_end(self) -> bool:
        """Whether every queue has been read as far as stop_at says."""
        return self._puller.is_at_end

    def ends(self) -> dict[MessageQueue, int]:
        """Return for each queue the offset that its next message will have."""
        return self._run(self._puller.ends())

    def stop_at(self, offsets: Mapping[MessageQueue, int]) -> None:
        """Hand out no message of these queues from these offsets on."""
        self._puller.stop_at(offsets)

    def seek(self, queue: MessageQueue, offset: int) -> None:
        """Go on in a queue from another offset."""
        self._puller.seek(queue, offset)

    def poll(self, timeout_s: float) -> list[Delivery]:
        """Return the next messages, or none when the time is over or all queues are at their end.

        Raises:
            PullError: a broker refuses for good.
            ClientError: nothing came, and the topic is not there (NoRouteError) or some queue could not be read; a
                later poll may succeed.
        """
        return self._run(self._puller.poll(timeout_s))

    def commit(self, offsets: Mapping[MessageQueue, int] | None = None) -> None:
        """Have the brokers remember how far the group has come: all that was handed out, or as far as given."""
        self._run(self._puller.commit(offsets))

    def close(self) -> None:
        """Take leave of the brokers and close the connections. Nothing is committed."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.run(self._puller.membership.leave())
            transport.close()

    def _run(self, flow: Flow[ResultT]) -> ResultT:
        if self._transport is None:
            raise ClosedError("the consumer is closed")
        return self._transport.run(flow)
