import asyncio

import pytest

from shmq.client.async_consumer import AsyncPullConsumer
from shmq.client.errors import ClosedError
from shmq.client.pulling import ConsumerSettings
from shmq.wire.codes import RequestCode
from tests.support.fake_broker import DEADLINE_S


def _consume(broker, use, **settings):
    async def whole():
        async with AsyncPullConsumer(
            "T", broker.address, ConsumerSettings(**{"from_beginning": True, **settings})
        ) as consumer:
            return await use(consumer)

    return asyncio.run(whole())


def test_a_topic_is_read_to_its_end_and_committed(broker):
    for at in range(10):
        broker.store("T", at % 2, b"%d" % at)

    async def use(consumer):
        consumer.stop_at(await consumer.ends())
        bodies = []
        while not consumer.is_at_end:
            bodies += [delivery.body for delivery in await consumer.poll(DEADLINE_S)]
        await consumer.commit()
        return bodies

    assert sorted(_consume(broker, use, group="G")) == [b"%d" % at for at in range(10)]
    assert broker.committed == {("G", "T", 0): 5, ("G", "T", 1): 5}


def test_a_message_that_comes_later_ends_the_wait(broker):
    async def use(consumer):
        polling = asyncio.create_task(consumer.poll(DEADLINE_S))
        await asyncio.to_thread(broker.wait_received, RequestCode.PULL_MESSAGE, 2)
        broker.store("T", 0, b"late")
        return [delivery.body for delivery in await polling]

    assert _consume(broker, use) == [b"late"]


def test_a_cancelled_poll_loses_no_message(broker):
    async def use(consumer):
        doomed = asyncio.create_task(consumer.poll(DEADLINE_S))
        await asyncio.to_thread(broker.wait_received, RequestCode.PULL_MESSAGE, 2)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        broker.store("T", 0, b"kept")
        return [delivery.body for delivery in await consumer.poll(DEADLINE_S)]

    assert _consume(broker, use) == [b"kept"]
    assert len(broker.received(RequestCode.PULL_MESSAGE)) == 2


def test_a_poll_cancelled_at_any_step_can_be_repeated(broker):
    broker.store("T", 0, b"kept")

    async def use(consumer):
        for steps in range(12):
            doomed = asyncio.create_task(consumer.poll(0.0))
            for _ in range(steps):
                await asyncio.sleep(0)  # lets it take one step
            doomed.cancel()
            found = await asyncio.gather(doomed, return_exceptions=True)
            if isinstance(found[0], list) and found[0]:
                return [delivery.body for delivery in found[0]]
        return [delivery.body for delivery in await consumer.poll(DEADLINE_S)]

    assert _consume(broker, use) == [b"kept"]


def test_a_seek_reads_again(broker):
    broker.store("T", 0, b"again")

    async def use(consumer):
        (first,) = await consumer.poll(DEADLINE_S)
        consumer.seek(first.queue, first.queue_offset)
        (second,) = await consumer.poll(DEADLINE_S)
        assert consumer.positions[second.queue] == 1
        return first.message_id == second.message_id

    assert _consume(broker, use)


def test_a_closed_consumer_reads_nothing(broker):
    async def use(consumer):
        await consumer.close()
        with pytest.raises(ClosedError):
            await consumer.poll(0.0)

    _consume(broker, use)
