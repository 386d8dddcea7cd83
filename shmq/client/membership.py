"""Membership: brokers know a client's groups by its heartbeats, one connection at a time.

A heartbeat follows the first request on each new connection to a broker, and again every HEARTBEAT_S; it rides
behind a request that is sent anyway, and its answer is waited for by nobody. A broker forgets a connection without
heartbeats, and closes one without any traffic, after 120 s.
"""

from time import monotonic
from typing import Final

from shmq.client.protocol import Begin, Exchange, Flow, finish, request_of
from shmq.wire.codes import RequestCode
from shmq.wire.consume_headers import UnregisterClientHeader
from shmq.wire.fields import write_header
from shmq.wire.heartbeat_bodies import ConsumerData, HeartbeatData

HEARTBEAT_S: Final = 30.0

_ANSWER_S: Final = 3.0
_FAREWELL_S: Final = 1.0


class Membership:
    """What one client says of itself to brokers: that it produces in one group, or consumes in one.

    Args:
        client_id: the client.
        producer_group: the group it produces in.
        consumer: the group it consumes in, with its subscription.
        heartbeat_s: how often a broker is told.
    """

    def __init__(
        self,
        client_id: str,
        producer_group: str | None = None,
        consumer: ConsumerData | None = None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._client_id = client_id
        self._producer_group = producer_group
        self._consumer = consumer
        self._heartbeat_s = heartbeat_s
        self._beats: dict[str, Exchange] = {}  # the newest heartbeat to each broker

    def follow(self, exchange: Exchange) -> Flow[None]:
        """Send a heartbeat behind this request if its connection is due for one."""
        newest = self._beats.get(exchange.address)
        if not exchange.connection or (self._producer_group is None and self._consumer is None):
            return
        if newest is not None and not self._is_due(newest):
            on_its_way = not newest.is_done
            if on_its_way or newest.connection == exchange.connection:
                return
        yield from self._beat(exchange.address)

    def announce(self, address: str) -> Flow[None]:
        """See to it that a broker knows the groups by now: it makes a new one when it hears of it."""
        if address not in self._beats:
            yield from self._beat(address)
        yield from finish(self._beats[address])

    def keep(self) -> Flow[None]:
        """Send a heartbeat to every broker that is due for one."""
        for address, newest in list(self._beats.items()):
            if self._is_due(newest):
                yield from self._beat(address)

    def leave(self) -> Flow[None]:
        """Tell every broker that had a heartbeat that this client is going; who does not answer, does not."""
        header = UnregisterClientHeader(
            client_id=self._client_id,
            producer_group=self._producer_group,
            consumer_group=self._consumer.group_name if self._consumer else None,
        )
        deadline_s = monotonic() + _FAREWELL_S
        farewells = [
            Exchange(address, request_of(RequestCode.UNREGISTER_CLIENT, write_header(header)), deadline_s)
            for address, newest in self._beats.items()
            if newest.connection
        ]
        self._beats.clear()
        for farewell in farewells:
            yield Begin(farewell)
        for farewell in farewells:
            yield from finish(farewell)

    def _beat(self, address: str) -> Flow[None]:
        previous = self._beats.get(address)
        if previous is not None:
            yield from finish(previous)  # its time has long been over: an answer that never came is dropped
        heartbeat = HeartbeatData(
            client_id=self._client_id,
            producer_groups=(self._producer_group,) if self._producer_group is not None else (),
            consumers=(self._consumer,) if self._consumer is not None else (),
        )
        request = request_of(RequestCode.HEART_BEAT, body=heartbeat.to_bytes())
        beat = self._beats[address] = Exchange(address, request, monotonic() + _ANSWER_S)
        yield Begin(beat)

    def _is_due(self, newest: Exchange) -> bool:
        return monotonic() >= newest.deadline_s - _ANSWER_S + self._heartbeat_s
