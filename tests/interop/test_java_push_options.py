"""What Java push consumers can be set to: batches, broadcasting, little in hand at a time, where to begin."""

import time
from collections.abc import Iterator

import pytest

from tests.support.drivers import Client
from tests.support.endpoints import UNDER_TEST, Endpoint, shared_endpoint
from tests.support.mishaps import kill_near
from tests.support.shmq_process import ShmqBroker
from tests.support.verdict import assert_all_sent, assert_none_missing, assert_received_intact

pytestmark = pytest.mark.interop

COUNT = 1000
QUEUES = 8
DEADLINE_S = 90.0


@pytest.fixture(scope="module", params=UNDER_TEST)
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A broker to which every message is an old one: a new group of a young topic else begins at its first message."""
    settings = {"accessMessageInMemoryMaxRatio": "0"}
    with shared_endpoint(request.param, tmp_path_factory.mktemp("options"), settings) as started:
        yield started


@pytest.mark.feature("Push consumer: batches (consumeMessageBatchMaxSize)")
@pytest.mark.feature("Push consumer: flow control by pullThresholdForQueue")
def test_a_slow_consumer_of_batches_holds_little_and_misses_nothing(
    java_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    sent = java_client.produce(warm_topic, run="r", count=COUNT, mode="batch", binary=True)
    assert_all_sent(sent, COUNT)
    options = {"batch": 16, "threshold": 16, "listener_ms": 50}
    consumer = java_client.consume(warm_topic, group=f"{warm_topic}-group", run="r", binary=True, **options)
    with consumer.process:
        consumer.wait_seen(COUNT // 4, DEADLINE_S)
        kill_near(java_client, endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_intact(result)
    assert_none_missing(consumer.seen, range(COUNT))
    assert 1 < result["largest_batch"] <= 16


@pytest.mark.feature("Broadcasting")
def test_each_instance_of_a_broadcasting_group_gets_everything(
    java_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    options = {"group": f"{warm_topic}-group", "run": "r", "binary": True, "broadcasting": True}
    one = java_client.consume(warm_topic, **options)
    other = java_client.consume(warm_topic, **options)
    with one.process, other.process:
        one.wait_assigned(QUEUES)
        other.wait_assigned(QUEUES)
        sent = java_client.produce(warm_topic, run="r", count=COUNT, mode="batch", binary=True)
        assert_all_sent(sent, COUNT)
        one.wait_seen(COUNT // 2, DEADLINE_S)
        one.process.kill()
        kill_near(java_client, endpoint)
        sent = java_client.produce(warm_topic, run="r", count=COUNT, first=COUNT, mode="batch", binary=True)
        assert_all_sent(sent, COUNT)
        other.wait_seen(2 * COUNT, DEADLINE_S)
        new = java_client.consume(warm_topic, **options)  # it has no offsets of its own yet
        with new.process:
            new.wait_seen(2 * COUNT, DEADLINE_S)
            assert_received_intact(new.stop())
        assert_received_intact(other.stop())
    assert_none_missing(other.seen, range(2 * COUNT))
    assert_none_missing(new.seen, range(2 * COUNT))


@pytest.mark.feature("Consume from first, last or a timestamp")
def test_a_new_group_begins_where_it_is_told(
    java_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    if not isinstance(endpoint.broker, ShmqBroker):
        pytest.skip("RocketMQ's 5.3.3 asks the system whether a message is in memory, and here they all are")
    java_client.produce(warm_topic, run="r", count=COUNT, mode="batch", binary=True)
    time.sleep(1.1)  # clients name a time in whole seconds
    between_ms = time.time_ns() // 1_000_000
    time.sleep(1.1)
    java_client.produce(warm_topic, run="r", count=COUNT, first=COUNT, mode="batch", binary=True)
    expected = {"FIRST_OFFSET": 0, "TIMESTAMP": COUNT, "LAST_OFFSET": 2 * COUNT}
    consumers = {
        where: java_client.consume(
            warm_topic,
            group=f"{warm_topic}-{where}",
            run="r",
            binary=True,
            **{"from": f"CONSUME_FROM_{where}", "from_ms": between_ms},
        )
        for where in expected
    }
    for consumer in consumers.values():
        consumer.wait_assigned(QUEUES)
    kill_near(java_client, endpoint)
    java_client.produce(warm_topic, run="r", count=COUNT, first=2 * COUNT, mode="batch", binary=True)
    for where, first in expected.items():
        consumer = consumers[where]
        with consumer.process:
            consumer.wait_seen(3 * COUNT - first, DEADLINE_S)
            assert_received_intact(consumer.stop())
        assert_none_missing(consumer.seen, range(first, 3 * COUNT))
