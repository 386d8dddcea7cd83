"""Offsets: where a queue begins and ends, and how far a group has come."""

from collections.abc import Iterable, Mapping
from typing import Final

from shmq.client.errors import NoRouteError
from shmq.client.protocol import Begin, Exchange, Flow, demand, finish, read_answer, request_of
from shmq.client.routing import Route
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.consume_headers import (
    MaxOffsetHeader,
    MinOffsetHeader,
    OffsetResponseHeader,
    QueryOffsetHeader,
    UpdateOffsetHeader,
)
from shmq.wire.fields import write_header

OFFSET_TIMEOUT_S: Final = 5.0


def first_offsets(
    route: Route, queues: Iterable[MessageQueue], deadline_s: float
) -> Flow[dict[MessageQueue, int]]:
    """Return each queue's first message that is still there."""
    return (
        yield from _read_all(
            route,
            {queue: _min_request(queue) for queue in queues},
            deadline_s,
        )
    )


def end_offsets(
    route: Route, queues: Iterable[MessageQueue], deadline_s: float
) -> Flow[dict[MessageQueue, int]]:
    """Return for each queue the offset that its next message will have."""
    return (
        yield from _read_all(
            route,
            {queue: _max_request(queue) for queue in queues},
            deadline_s,
        )
    )


def committed_offsets(
    group: str, route: Route, queues: Iterable[MessageQueue], deadline_s: float
) -> Flow[dict[MessageQueue, int]]:
    """Return how far a group has come in each queue; queues that it has not consumed are left out."""
    exchanges = {queue: _exchange(route, queue, _query_request(group, queue), deadline_s) for queue in queues}
    yield from _finish_all(exchanges.values())
    return {
        queue: _offset_of(exchange)
        for queue, exchange in exchanges.items()
        if exchange.result().code != ResponseCode.QUERY_NOT_FOUND
    }


def commit_offsets(
    group: str, route: Route, offsets: Mapping[MessageQueue, int], deadline_s: float
) -> Flow[None]:
    """Have the brokers remember how far a group has come."""
    exchanges = [
        _exchange(route, queue, _update_request(group, queue, offset), deadline_s)
        for queue, offset in offsets.items()
    ]
    yield from _finish_all(exchanges)
    for exchange in exchanges:
        demand(exchange)


def _read_all(
    route: Route, requests: Mapping[MessageQueue, Command], deadline_s: float
) -> Flow[dict[MessageQueue, int]]:
    exchanges = {queue: _exchange(route, queue, request, deadline_s) for queue, request in requests.items()}
    yield from _finish_all(exchanges.values())
    return {queue: _offset_of(exchange) for queue, exchange in exchanges.items()}


def _finish_all(exchanges: Iterable[Exchange]) -> Flow[None]:
    begun = list(exchanges)
    for exchange in begun:
        yield Begin(exchange)
    for exchange in begun:
        yield from finish(exchange)


def _exchange(route: Route, queue: MessageQueue, request: Command, deadline_s: float) -> Exchange:
    address = route.address(queue.broker_name)
    if address is None:
        raise NoRouteError(f"the topic {queue.topic} has no broker {queue.broker_name}")
    return Exchange(address, request, deadline_s)


def _offset_of(exchange: Exchange) -> int:
    return read_answer(OffsetResponseHeader, demand(exchange), exchange.address).offset


def _min_request(queue: MessageQueue) -> Command:
    header = MinOffsetHeader(topic=queue.topic, queue_id=queue.queue_id, broker_name=queue.broker_name)
    return request_of(RequestCode.GET_MIN_OFFSET, write_header(header))


def _max_request(queue: MessageQueue) -> Command:
    header = MaxOffsetHeader(topic=queue.topic, queue_id=queue.queue_id, broker_name=queue.broker_name)
    return request_of(RequestCode.GET_MAX_OFFSET, write_header(header))


def _query_request(group: str, queue: MessageQueue) -> Command:
    header = QueryOffsetHeader(
        consumer_group=group,
        topic=queue.topic,
        queue_id=queue.queue_id,
        zero_if_not_found=False,
        broker_name=queue.broker_name,
    )
    return request_of(RequestCode.QUERY_CONSUMER_OFFSET, write_header(header))


def _update_request(group: str, queue: MessageQueue, offset: int) -> Command:
    header = UpdateOffsetHeader(
        consumer_group=group,
        topic=queue.topic,
        queue_id=queue.queue_id,
        commit_offset=offset,
        broker_name=queue.broker_name,
    )
    return request_of(RequestCode.UPDATE_CONSUMER_OFFSET, write_header(header))
