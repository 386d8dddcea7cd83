import asyncio

import pytest

from shmq.client.async_producer import AsyncProducer
from shmq.client.errors import ClosedError, SendError
from shmq.client.message import Message
from shmq.client.sending import ProducerSettings
from shmq.wire.codes import RequestCode, ResponseCode


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
