"""Programs of the host beside Java clients at one broker: what one side sends the other reads, and offsets are shared."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shmq.local.consumer import LocalConsumer
from shmq.local.producer import LocalProducer
from tests.support import body
from tests.support.drivers import Client
from tests.support.endpoints import SHMQ, Endpoint, shared_endpoint
from tests.support.shmq_process import ShmqBroker
from tests.support.verdict import assert_bounds, assert_offsets_without_gap, assert_received_once

pytestmark = pytest.mark.interop

COUNT = 10_000
DEADLINE_S = 90.0
COMMITTED_IN_QUEUE = 100


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """One of ours, whatever else is under test: RocketMQ's has no such thing."""
    with shared_endpoint(SHMQ, tmp_path_factory.mktemp("local")) as started:
        yield started


@pytest.fixture
def broker_name(endpoint: Endpoint) -> str:
    """By which local programs attach."""
    assert isinstance(endpoint.broker, ShmqBroker)
    return endpoint.broker.broker_name


@pytest.fixture
def java_client(java_version: str, endpoint: Endpoint, tmp_path: Path) -> Client:
    """A Java client of the version, pointed at the broker."""
    return Client(java_version, endpoint.namesrv_address, tmp_path)


def send_locally(broker_name: str, topic: str) -> None:
    with LocalProducer(broker_name, topic) as producer:
        for number in range(COUNT):
            producer.send(
                body.body_of("r", number, binary=True),
                tags=body.tag_of(number),
                keys=body.keys_of(number),
                properties={body.PROPERTY: body.property_of(number)},
            )
        producer.flush("dispatched", DEADLINE_S)


@pytest.mark.feature("Shared memory on one side, TCP on the other")
def test_what_a_local_producer_sends_java_reads_once(
    java_client: Client, broker_name: str, topic: str
) -> None:
    send_locally(broker_name, topic)
    consumer = java_client.consume(topic, group=f"{topic}-group", run="r", binary=True)
    with consumer.process:
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))
    assert_offsets_without_gap(result)


@pytest.mark.feature("Shared memory on one side, TCP on the other")
@pytest.mark.parametrize("mode", ["sync", "batch"])
def test_what_java_sends_a_local_consumer_reads_once(
    java_client: Client, broker_name: str, topic: str, mode: str
) -> None:
    java_client.produce(topic, run="r", count=COUNT, mode=mode, binary=True)
    group = f"{topic}-group"
    seen = []
    with LocalConsumer(broker_name, group, topic) as consumer:
        while len(seen) < COUNT:
            found = consumer.poll(1000, DEADLINE_S)
            assert len(found), f"{len(seen)} of {COUNT}"
            for message in found:
                _, number = body.head_of(message.body)
                assert message.body == body.body_of("r", number, binary=True)
                assert message.tags == body.tag_of(number)
                assert message.keys == body.keys_of(number)
                assert message.properties[body.PROPERTY] == body.property_of(number)
                seen.append(number)
        consumer.commit()
    assert sorted(seen) == list(range(COUNT))
    assert_bounds(java_client.queue_bounds(topic, group=group), COUNT, committed=True)


@pytest.mark.feature("Shared memory on one side, TCP on the other")
def test_java_goes_on_where_a_local_consumer_has_committed(
    java_client: Client, broker_name: str, topic: str
) -> None:
    send_locally(broker_name, topic)
    group = f"{topic}-group"
    ours = set()
    with LocalConsumer(broker_name, group, topic) as consumer:
        for queue_id in consumer.queues:
            with LocalConsumer(broker_name, group, topic, queues=[queue_id]) as of_one:
                taken = 0
                while taken < COMMITTED_IN_QUEUE:
                    found = of_one.poll(COMMITTED_IN_QUEUE - taken, DEADLINE_S)
                    ours |= {body.head_of(message.body)[1] for message in found}
                    taken += len(found)
                of_one.commit()
    rest = set(range(COUNT)) - ours
    java = java_client.consume(topic, group=group, run="r", binary=True)
    with java.process:
        java.wait_seen(len(rest), DEADLINE_S)
        result = java.stop()
    assert_received_once(result, java.seen, rest)
