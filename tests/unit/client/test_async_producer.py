import asyncio
import threading

import pytest

from shmq.client.async_producer import AsyncProducer
from shmq.client.errors import ClosedError, NoRouteError, SendError
from shmq.client.message import Message
from shmq.client.sending import ProducerSettings
from shmq.wire.codes import RequestCode, ResponseCode
from tests.support.fake_broker import DEADLINE_S


def _produce(broker, use, **settings):
    async def whole():
        async with AsyncProducer(broker.address, ProducerSettings(**settings)) as producer:
            return await use(producer)

    return asyncio.run(whole())


def test_many_sends_at_once_are_all_stored(broker):
    async def use(producer):
        return await asyncio.gather(*(producer.send(Message("T", b"%d" % at)) for at in range(100)))

    results = _produce(broker, use)
    assert len({(result.queue, result.queue_offset) for result in results}) == 100
    assert broker.end("T", 0) + broker.end("T", 1) == 100


def test_sends_at_once_announce_the_producer_once(broker):
    async def use(producer):
        await asyncio.gather(*(producer.send(Message("T", b"x")) for _ in range(20)))

    _produce(broker, use)
    assert len(broker.received(RequestCode.HEART_BEAT)) == 1


def test_sends_at_once_ask_for_a_route_once(broker):
    async def use(producer):
        await asyncio.gather(*(producer.send(Message("T", b"x")) for _ in range(20)))

    _produce(broker, use)
    assert len(broker.received(RequestCode.GET_ROUTEINFO_BY_TOPIC)) == 1


def test_who_waits_for_a_route_outlives_who_asked_for_it(broker):
    released = threading.Event()

    def held(request):
        released.wait(DEADLINE_S)
        broker.script.clear()
        return broker.answer(request)

    broker.script[RequestCode.GET_ROUTEINFO_BY_TOPIC] = held

    async def use(producer):
        asking = asyncio.create_task(producer.send(Message("T", b"doomed")))
        await asyncio.to_thread(broker.wait_received, RequestCode.GET_ROUTEINFO_BY_TOPIC)
        waiting = asyncio.create_task(producer.send(Message("T", b"kept")))
        await asyncio.sleep(0)  # lets it find that the route is being asked for
        asking.cancel()
        released.set()
        return await waiting

    assert _produce(broker, use).queue_offset == 0
    assert [bytes(request.body) for request in broker.received(RequestCode.SEND_MESSAGE_V2)] == [b"kept"]


def test_every_sender_is_told_that_there_is_no_route(broker):
    async def use(producer):
        return await asyncio.gather(
            *(producer.send(Message("Nowhere", b"x")) for _ in range(5)), return_exceptions=True
        )

    assert [type(told) for told in _produce(broker, use)] == [NoRouteError] * 5


def test_a_batch_a_oneway_message_and_a_queue_of_choice(broker):
    async def use(producer):
        queue = (await producer.queues("T"))[1]
        await producer.send_batch([Message("T", b"a"), Message("T", b"b")], queue)
        await producer.send_oneway(Message("T", b"c"), queue)
        return await producer.send(Message("T", b"d"), queue)

    result = _produce(broker, use)
    assert (result.queue.queue_id, result.queue_offset) == (1, 3)


def test_a_refusal_is_raised(broker):
    broker.script[RequestCode.SEND_MESSAGE_V2] = lambda request: request.reply(
        ResponseCode.MESSAGE_ILLEGAL, "no"
    )
    with pytest.raises(SendError, match="no"):
        _produce(broker, lambda producer: producer.send(Message("T", b"x")))


def test_closing_takes_leave(broker):
    _produce(broker, lambda producer: producer.send(Message("T", b"x")), group="PG")
    (farewell,) = broker.received(RequestCode.UNREGISTER_CLIENT)
    assert farewell.fields["producerGroup"] == "PG"


def test_a_closed_producer_sends_nothing(broker):
    async def use(producer):
        await producer.close()
        with pytest.raises(ClosedError):
            await producer.send(Message("T", b"x"))

    _produce(broker, use)
