"""Our own clients beside Java's: what one side sends the other reads, at RocketMQ's broker and at ours."""

import asyncio

import pytest

from shmq.client.async_consumer import AsyncPullConsumer
from shmq.client.async_producer import AsyncProducer
from shmq.client.consumer import PullConsumer
from shmq.client.message import Message, SendStatus
from shmq.client.producer import Producer
from shmq.client.pulling import ConsumerSettings
from shmq.client.sending import ProducerSettings
from tests.support import body
from tests.support.drivers import Client
from tests.support.endpoints import Endpoint
from tests.support.verdict import assert_bounds, assert_offsets_without_gap, assert_received_once

pytestmark = [pytest.mark.interop, pytest.mark.client("Java 5.5.0")]

COUNT = 10_000
DEADLINE_S = 90.0
AT_ONCE = 64


@pytest.fixture
def java_version() -> str:
    """One Java client is enough: that both speak alike is shown elsewhere."""
    return "5.5.0"


def _message(topic: str, number: int) -> Message:
    return Message(
        topic,
        body.body_of("r", number, binary=True),
        tag=body.tag_of(number),
        keys=(body.keys_of(number),),
        properties={body.PROPERTY: body.property_of(number)},
    )


async def _send_all(namesrv: str, topic: str) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async with AsyncProducer(namesrv, ProducerSettings(timeout_s=20.0)) as producer:

        async def send(number: int) -> None:
            async with limit:
                result = await producer.send(_message(topic, number))
                assert result.status is SendStatus.SEND_OK

        await send(0)  # makes the topic
        await asyncio.gather(*(send(number) for number in range(1, COUNT)))


@pytest.mark.feature("Client of shmq on one side, Java on the other")
def test_what_we_send_java_reads_once(java_client: Client, endpoint: Endpoint, topic: str) -> None:
    asyncio.run(_send_all(endpoint.namesrv_address, topic))
    consumer = java_client.consume(topic, group=f"{topic}-group", run="r", binary=True)
    with consumer.process:
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))
    assert_offsets_without_gap(result)


@pytest.mark.feature("Client of shmq on one side, Java on the other")
def test_what_java_sends_we_read_once(java_client: Client, endpoint: Endpoint, topic: str) -> None:
    java_client.produce(topic, run="r", count=COUNT, mode="sync", threads=4, binary=True)
    group = f"{topic}-group"
    settings = ConsumerSettings(group=group, from_beginning=True)
    seen = []
    with PullConsumer(topic, endpoint.namesrv_address, settings) as consumer:
        while len(seen) < COUNT:
            found = consumer.poll(DEADLINE_S)
            assert found, f"{len(seen)} of {COUNT}"
            for delivery in found:
                _, number = body.head_of(delivery.body)
                assert delivery.body == body.body_of("r", number, binary=True)
                assert delivery.tag == body.tag_of(number)
                assert delivery.keys == (body.keys_of(number),)
                assert delivery.properties[body.PROPERTY] == body.property_of(number)
                seen.append(number)
        consumer.commit()
    assert sorted(seen) == list(range(COUNT))
    assert_bounds(java_client.queue_bounds(topic, group=group), COUNT, committed=True)


@pytest.mark.feature("Client of shmq on one side, Java on the other")
def test_a_batch_of_java_is_read_and_ours_by_java(
    java_client: Client, endpoint: Endpoint, topic: str
) -> None:
    java_client.produce(topic, run="r", count=COUNT // 10, mode="batch", binary=True)
    settings = ConsumerSettings(from_beginning=True)

    async def read() -> list[bytes]:
        async with AsyncPullConsumer(topic, endpoint.namesrv_address, settings) as consumer:
            consumer.stop_at(await consumer.ends())
            bodies: list[bytes] = []
            while not consumer.is_at_end:
                bodies += [delivery.body for delivery in await consumer.poll(DEADLINE_S)]
            return bodies

    bodies = asyncio.run(read())
    assert sorted(bodies) == sorted(body.body_of("r", number, binary=True) for number in range(COUNT // 10))

    ours = f"{topic}-ours"
    with Producer(endpoint.namesrv_address) as producer:
        for first in range(0, 1000, 37):
            producer.send_batch([_message(ours, number) for number in range(first, min(first + 37, 1000))])
    consumer = java_client.consume(ours, group=f"{ours}-group", run="r", binary=True)
    with consumer.process:
        consumer.wait_seen(1000, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(1000))
