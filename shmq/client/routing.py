"""Where topics are: routes asked of the name servers, and the queues that they mean.

A route is kept and asked for anew after REFRESH_S; as long as no name server answers, the old one stays. The name
server that answered last is asked first. A producer may use a topic that does not exist yet: its route is then that
of the topic TBW102, which brokers list themselves under if they make topics by themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from time import monotonic
from typing import Final

from shmq.client.errors import ClientError, NoAnswerError, NoRouteError, RefusedError
from shmq.client.protocol import Await, Exchange, Flow, ask, request_of
from shmq.config.addresses import is_address
from shmq.errors import ConfigError, PeerError, RequestError
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.fields import write_header
from shmq.wire.flags import PERM_READ, PERM_WRITE
from shmq.wire.naming_headers import GetRouteHeader
from shmq.wire.route_bodies import QueueData, TopicRouteData

TEMPLATE_TOPIC: Final = "TBW102"
TEMPLATE_QUEUE_COUNT: Final = 4  # of a topic that a broker makes for this client
MASTER_ID: Final = 0
REFRESH_S: Final = 30.0
NAME_SERVER_TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Route:
    """Where a topic is.

    Attributes:
        topic: the topic.
        writable: the queues that a producer may send to: only masters store messages.
        readable: the queues that a consumer may read.
        addresses: the topic's brokers by name, each with its members' addresses by id.
    """

    topic: str
    writable: tuple[MessageQueue, ...]
    readable: tuple[MessageQueue, ...]
    addresses: Mapping[str, Mapping[int, str]]

    def address(self, broker_name: str, broker_id: int = MASTER_ID) -> str | None:
        """Return the address of a broker's member, of another if it has no such member; None if it has none."""
        members = self.addresses.get(broker_name, {})
        return members.get(broker_id) or members.get(MASTER_ID) or next(iter(members.values()), None)


class Router:
    """The routes that one client knows."""

    def __init__(self, namesrv: str) -> None:
        self.name_servers = split_list(namesrv)
        self._first = 0
        self._routes: dict[str, Route] = {}
        self._due_s: dict[str, float] = {}
        self._asking: dict[str, Exchange] = {}  # done when the answer that some flow waits for is there
        self._absences: dict[str, str] = {}  # why the topics that were asked for last have no route

    def find(self, topic: str, deadline_s: float, *, may_be_made: bool = False) -> Flow[Route]:
        """Return the route of a topic.

        Args:
            topic: the topic.
            deadline_s: when to give up.
            may_be_made: whether the brokers that make topics by themselves will do for a topic that is none yet.

        Raises:
            NoRouteError: the name servers know none.
            ClientError: no name server answers, and none answered before.
        """
        while True:
            known = self._routes.get(topic)
            asking = self._asking.get(topic)
            if known is not None and (asking is not None or monotonic() < self._due_s[topic]):
                return known
            if asking is None:
                return (yield from self._refresh(topic, deadline_s, may_be_made=may_be_made))
            yield Await((asking,), deadline_s)
            if monotonic() >= deadline_s:
                raise NoAnswerError(f"the route of the topic {topic} did not come in time")

    def doubt(self, topic: str) -> None:
        """Ask for a topic's route again before it is used next: what it said did not hold."""
        self._due_s[topic] = 0.0

    def _refresh(self, topic: str, deadline_s: float, *, may_be_made: bool) -> Flow[Route]:
        """Ask for a route, while all others who want it wait."""
        asking = self._asking[topic] = Exchange("", request_of(RequestCode.GET_ROUTEINFO_BY_TOPIC), inf)
        known = self._routes.get(topic)
        try:
            data = yield from self._ask(topic, deadline_s)
            if data is None and may_be_made:
                data = yield from self._ask_template(deadline_s)
        except (ClientError, PeerError):
            if known is None:
                raise
            self._due_s[topic] = monotonic() + REFRESH_S
            return known
        finally:
            del self._asking[topic]
            asking.complete(asking.request.reply())
        if data is None:
            self._routes.pop(topic, None)
            raise NoRouteError(f"the topic {topic} has no route: {self._absences[topic]}")
        route = self._routes[topic] = _route_of(topic, data)
        self._due_s[topic] = monotonic() + REFRESH_S
        return route

    def _ask(self, topic: str, deadline_s: float) -> Flow[TopicRouteData | None]:
        """Return a topic's route; None where there is none. Each name server is given its part of the time."""
        request = GetRouteHeader(topic=topic, standard_json_only=True)
        failure: ClientError | PeerError = NoAnswerError("there was no time left to ask a name server")
        for tried in range(len(self.name_servers)):
            at = (self._first + tried) % len(self.name_servers)
            address = self.name_servers[at]
            now_s = monotonic()
            share_s = (deadline_s - now_s) / (len(self.name_servers) - tried)
            limit_s = now_s + min(share_s, NAME_SERVER_TIMEOUT_S)
            try:
                response = yield from ask(
                    address,
                    request_of(RequestCode.GET_ROUTEINFO_BY_TOPIC, write_header(request)),
                    limit_s,
                )
                if response.code == ResponseCode.SUCCESS:
                    self._first = at
                    return _read(response.body, address)
                if response.code == ResponseCode.TOPIC_NOT_EXIST:
                    self._first = at
                    self._absences[topic] = _first_line(response.remark) or "the name server does not know it"
                    return None
                failure = RefusedError(response.code, response.remark, address)
            except (ClientError, PeerError) as error:
                failure = error
        raise failure

    def _ask_template(self, deadline_s: float) -> Flow[TopicRouteData | None]:
        """Return the route that a topic will have once it is made; None where no broker makes any."""
        template = yield from self._ask(TEMPLATE_TOPIC, deadline_s)
        return template and replace(template, queues=tuple(_as_made(queue) for queue in template.queues))


def split_list(namesrv: str) -> tuple[str, ...]:
    """Return the addresses of name servers, `host:port` joined by semicolons or commas.

    Raises:
        ConfigError: one is none, or there is none.
    """
    addresses = tuple(part.strip() for part in namesrv.replace(",", ";").split(";") if part.strip())
    wrong = next((address for address in addresses if not is_address(address)), None)
    if wrong is not None or not addresses:
        raise ConfigError(f"name servers {namesrv!r}: must be HOST:PORT, several joined by semicolons")
    return addresses


def _read(body: bytes | memoryview, address: str) -> TopicRouteData:
    try:
        return TopicRouteData.from_bytes(body)
    except RequestError as error:
        raise PeerError(f"{address} answered an unreadable route: {error.remark}") from error


def _route_of(topic: str, data: TopicRouteData) -> Route:
    addresses = {broker.broker_name: broker.addresses for broker in data.brokers}
    return Route(
        topic=topic,
        writable=tuple(
            MessageQueue(topic, queue.broker_name, queue_id)
            for queue in data.queues
            if queue.permission & PERM_WRITE and MASTER_ID in addresses.get(queue.broker_name, {})
            for queue_id in range(queue.write_queue_count)
        ),
        readable=tuple(
            MessageQueue(topic, queue.broker_name, queue_id)
            for queue in data.queues
            if queue.permission & PERM_READ and addresses.get(queue.broker_name)
            for queue_id in range(queue.read_queue_count)
        ),
        addresses=addresses,
    )


def _first_line(remark: str | None) -> str:
    """Return what a remark says, without the link to a manual that RocketMQ adds to it."""
    return (remark or "").strip().partition("\n")[0]


def _as_made(queue: QueueData) -> QueueData:
    """Return the queues that a broker makes for a topic after the template's."""
    count = min(TEMPLATE_QUEUE_COUNT, queue.read_queue_count)
    return replace(queue, read_queue_count=count, write_queue_count=count)
