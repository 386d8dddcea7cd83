"""Pulling: the flows of a pull consumer, which reads all queues of one topic.

Each queue has at most one pull on its way; the broker holds it until a message comes. Pulls stay on their way
between two polls. A queue's offset is where its next pull begins: it moves when messages are handed out, and a
commit tells the broker. A queue that appears after the first look at the topic is read from its beginning, as all
that is in it came later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic, time
from typing import Final

from shmq.client.errors import ClientError, ClosedError, NoRouteError, PullError, may_pass
from shmq.client.identity import Identity
from shmq.client.membership import Membership
from shmq.client.message import TAGS, Delivery, deliver
from shmq.client.offsets import (
    OFFSET_TIMEOUT_S,
    commit_offsets,
    committed_offsets,
    end_offsets,
    first_offsets,
)
from shmq.client.protocol import Await, Begin, Exchange, Flow, read_answer, request_of
from shmq.client.routing import MASTER_ID, Route, Router
from shmq.errors import PeerError, ShmqError
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.consume_headers import PULL_COUNT_DEFAULT, PullHeader, PullResponseHeader
from shmq.wire.fields import write_header
from shmq.wire.flags import PULL_SUBSCRIPTION, PULL_SUSPEND
from shmq.wire.heartbeat_bodies import (
    EXPRESSION_TAG,
    SUBSCRIBE_ALL,
    ConsumeFromWhere,
    ConsumerData,
    ConsumeType,
    SubscriptionData,
)
from shmq.wire.message import decode_messages

NOBODYS_GROUP: Final = "TOOLS_CONSUMER"  # a group of every broker, for reading without being a consumer
SUSPEND_S: Final = 15.0

_ANSWER_S: Final = 15.0  # beyond the time for which a broker may hold a pull
_PAUSE_S: Final = 1.0  # after a failure
_FLOW_CONTROL_S: Final = 0.02
_EMPTY_PULL_S: Final = 0.1  # a broker that does not hold pulls is not asked more often
_READ: Final = frozenset(
    {
        ResponseCode.SUCCESS,
        ResponseCode.PULL_NOT_FOUND,
        ResponseCode.PULL_RETRY_IMMEDIATELY,
        ResponseCode.PULL_OFFSET_MOVED,
    }
)


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """What a consumer reads, and as who.

    Attributes:
        group: the consumer group whose offsets are used; None reads without leaving a trace.
        expression: the tags that are wanted, `TagA || TagB`, or `*` for every message.
        expression_type: TAG, or SQL92 where the broker allows it.
        from_beginning: where to start in a queue that the group has not consumed: at its first message, not its end.
        message_count_max: how many messages one pull may bring.
        suspend_s: how long a broker may hold a pull until a message comes.
    """

    group: str | None = None
    expression: str = SUBSCRIBE_ALL
    expression_type: str = EXPRESSION_TAG
    from_beginning: bool = False
    message_count_max: int = PULL_COUNT_DEFAULT
    suspend_s: float = SUSPEND_S


@dataclass(slots=True)
class _Reading:
    """One queue and how far it has been read.

    Attributes:
        queue: the queue.
        offset: of the first message that has not been handed out.
        end: read no further than here; None reads on.
        broker_id: the member of the broker that is asked next.
        pull: what is on its way.
        resume_s: not before this is the next pull begun.
        failure: why the last pull brought nothing, if it failed.
    """

    queue: MessageQueue
    offset: int
    end: int | None = None
    broker_id: int = MASTER_ID
    pull: Exchange | None = None
    resume_s: float = 0.0
    failure: ShmqError | None = None

    @property
    def is_at_end(self) -> bool:
        return self.end is not None and self.offset >= self.end


class Puller:
    """The flows of one consumer."""

    def __init__(self, topic: str, router: Router, identity: Identity, settings: ConsumerSettings) -> None:
        self._topic = topic
        self._router = router
        self._settings = settings
        self._subscription = _subscription(topic, settings)
        self.membership = Membership(identity.client_id, consumer=_consumer(self._subscription, settings))
        self._route: Route | None = None
        self._readings: dict[MessageQueue, _Reading] = {}
        self._committed: dict[MessageQueue, int] = {}
        self._has_looked = False

    @property
    def positions(self) -> dict[MessageQueue, int]:
        """The offset of each queue's next message to be handed out."""
        return {queue: reading.offset for queue, reading in self._readings.items()}

    @property
    def is_at_end(self) -> bool:
        """Whether every queue has been read as far as it is to be read."""
        return all(reading.is_at_end for reading in self._readings.values())

    def look(self) -> Flow[Route]:
        """Take note of the topic's queues, and of where to start in those that are new."""
        deadline_s = monotonic() + OFFSET_TIMEOUT_S
        try:
            route = yield from self._router.find(self._topic, deadline_s)
        except NoRouteError:
            self._has_looked = True
            raise
        if route is not self._route:
            new = [queue for queue in route.readable if queue not in self._readings]
            starts = yield from self._starts(route, new, deadline_s)
            self._readings = {
                queue: self._readings.get(queue) or _Reading(queue, starts[queue]) for queue in route.readable
            }
            self._route = route
            self._has_looked = True
        if not route.readable:
            raise NoRouteError(f"no broker of the topic {self._topic} lets it be read")
        return route

    def ends(self) -> Flow[dict[MessageQueue, int]]:
        """Return for each queue the offset that its next message will have."""
        route = yield from self.look()
        return (yield from end_offsets(route, route.readable, monotonic() + OFFSET_TIMEOUT_S))

    def stop_at(self, offsets: Mapping[MessageQueue, int]) -> None:
        """Hand out no message of these queues from these offsets on."""
        for queue, offset in offsets.items():
            self._readings[queue].end = offset

    def seek(self, queue: MessageQueue, offset: int) -> None:
        """Go on in a queue from another offset."""
        reading = self._readings[queue]
        reading.offset = offset
        reading.pull = None  # its answer will be dropped
        reading.resume_s = 0.0

    def poll(self, timeout_s: float) -> Flow[list[Delivery]]:
        """Return the next messages, or none when the time is over or all queues are at their end.

        Raises:
            PullError: a broker refuses for good.
            ClientError: nothing came, and the topic is not there or some queue could not be read.
        """
        deadline_s = monotonic() + timeout_s
        while True:
            route = yield from self._look_until(deadline_s)
            if self.is_at_end:
                return []
            yield from self._pull_idle(route)
            paused = [reading.resume_s for reading in self._wanted() if reading.pull is None]
            pulls = tuple(reading.pull for reading in self._wanted() if reading.pull is not None)
            yield Await(pulls, min((deadline_s, *paused)))
            deliveries = [delivery for reading in self._wanted() for delivery in self._take(reading)]
            if deliveries:
                return deliveries
            is_over = monotonic() >= deadline_s
            self._raise_failure(is_over=is_over)
            if is_over:
                return []

    def commit(self, offsets: Mapping[MessageQueue, int] | None = None) -> Flow[None]:
        """Have the brokers remember how far the group has come: all that was handed out, or as far as given.

        Only what they do not know yet is told.
        """
        group = self._settings.group
        if group is None:
            raise ValueError("a consumer without a group has nothing to commit to")
        route = yield from self.look()
        reached = self.positions if offsets is None else offsets
        for broker_name in {queue.broker_name for queue in reached}:
            address = route.address(broker_name)
            if address is not None:
                yield from self.membership.announce(address)
        news = {queue: offset for queue, offset in reached.items() if self._committed.get(queue) != offset}
        yield from commit_offsets(group, route, news, monotonic() + OFFSET_TIMEOUT_S)
        self._committed |= news

    def _look_until(self, deadline_s: float) -> Flow[Route]:
        """Look at the topic, and again while it is not there, until the time is over."""
        while True:
            try:
                return (yield from self.look())
            except ClientError as error:
                if monotonic() >= deadline_s or not may_pass(error):
                    raise
            yield Await((), min(deadline_s, monotonic() + _PAUSE_S))

    def _starts(
        self, route: Route, queues: list[MessageQueue], deadline_s: float
    ) -> Flow[dict[MessageQueue, int]]:
        """Return where to start: where the group was, else as the settings say."""
        group = self._settings.group
        starts: dict[MessageQueue, int] = {}
        if group is not None:
            starts = yield from committed_offsets(group, route, queues, deadline_s)
            self._committed |= starts
        others = [queue for queue in queues if queue not in starts]
        edge = first_offsets if self._settings.from_beginning or self._has_looked else end_offsets
        return starts | (yield from edge(route, others, deadline_s))

    def _wanted(self) -> list[_Reading]:
        return [reading for reading in self._readings.values() if not reading.is_at_end]

    def _pull_idle(self, route: Route) -> Flow[None]:
        for reading in self._wanted():
            if reading.pull is None and reading.resume_s <= monotonic():
                address = route.address(reading.queue.broker_name, reading.broker_id)
                assert address is not None, "a readable queue has a broker"
                limit_s = monotonic() + self._settings.suspend_s + _ANSWER_S
                reading.pull = Exchange(address, self._request(reading), limit_s)
                yield Begin(reading.pull)
                yield from self.membership.follow(reading.pull)

    def _request(self, reading: _Reading) -> Command:
        header = PullHeader(
            consumer_group=self._settings.group or NOBODYS_GROUP,
            topic=self._topic,
            queue_id=reading.queue.queue_id,
            queue_offset=reading.offset,
            message_count_max=self._settings.message_count_max,
            sys_flag=PULL_SUSPEND | PULL_SUBSCRIPTION,
            commit_offset=0,
            suspend_timeout_ms=int(self._settings.suspend_s * 1000),
            subscription=self._subscription.expression,
            subscription_version=0,
            expression_type=self._subscription.expression_type,
            broker_name=reading.queue.broker_name,
        )
        return request_of(RequestCode.PULL_MESSAGE, write_header(header))

    def _take(self, reading: _Reading) -> list[Delivery]:
        """Return what a finished pull brought, and move on; note why where it failed."""
        pull = reading.pull
        if pull is None or not pull.is_done:
            return []
        reading.pull = None
        reading.failure = None
        try:
            response = pull.result()
            if response.code in _READ:
                return self._advance(reading, pull, response)
            reading.failure = PullError(response.code, response.remark, pull.address)
        except ClosedError:
            raise
        except (ClientError, PeerError) as error:
            reading.failure = error
            reading.broker_id = MASTER_ID
            self._router.doubt(self._topic)
        is_flow_control = isinstance(reading.failure, PullError) and (
            reading.failure.code == ResponseCode.FLOW_CONTROL
        )
        reading.resume_s = monotonic() + (_FLOW_CONTROL_S if is_flow_control else _PAUSE_S)
        return []

    def _advance(self, reading: _Reading, pull: Exchange, response: Command) -> list[Delivery]:
        header = read_answer(PullResponseHeader, response, pull.address)
        deliveries = []
        if response.code == ResponseCode.SUCCESS:
            deliveries = [
                deliver(reading.queue, stored)
                for stored in decode_messages(response.body)
                if (reading.end is None or stored.queue_offset < reading.end)
                and (not self._subscription.tags or stored.properties.get(TAGS) in self._subscription.tags)
            ]
        elif response.code == ResponseCode.PULL_NOT_FOUND:
            reading.resume_s = pull.begun_s + _EMPTY_PULL_S
        reading.broker_id = header.suggested_broker_id
        reading.offset = header.next_offset if reading.end is None else min(header.next_offset, reading.end)
        return deliveries

    def _raise_failure(self, *, is_over: bool) -> None:
        """Raise a failure that will not pass, or when the time is over any."""
        for reading in self._readings.values():
            failure = reading.failure
            if failure is not None and (is_over or not may_pass(failure)):
                reading.failure = None
                raise failure


def _subscription(topic: str, settings: ConsumerSettings) -> SubscriptionData:
    version_ms = int(time() * 1000)
    if settings.expression_type == EXPRESSION_TAG:
        return SubscriptionData.from_tags(topic, settings.expression, version_ms)
    return SubscriptionData(
        topic, settings.expression, version=version_ms, expression_type=settings.expression_type
    )


def _consumer(subscription: SubscriptionData, settings: ConsumerSettings) -> ConsumerData | None:
    if settings.group is None:
        return None
    start = ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET
    if settings.from_beginning:
        start = ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET
    return ConsumerData(
        settings.group,
        consume_type=ConsumeType.CONSUME_ACTIVELY,
        consume_from_where=start,
        subscriptions=(subscription,),
    )
