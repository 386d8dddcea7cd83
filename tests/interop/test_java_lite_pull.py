"""Java lite-pull consumers: by subscription and by assignment, over a backlog and live, with processes of the broker killed."""

from functools import partial

import pytest

from tests.support.drivers import Client
from tests.support.endpoints import Endpoint
from tests.support.mishaps import kill_conductor, kill_dispatcher, kill_worker
from tests.support.verdict import (
    assert_all_sent,
    assert_bounds,
    assert_offsets_without_gap,
    assert_received_once,
)

pytestmark = pytest.mark.interop

WAY = "consume-lite-pull"
COUNT = 10_000
QUEUES = 8
DEADLINE_S = 90.0


@pytest.mark.feature("Lite-pull consumer: subscribed")
def test_a_subscribed_consumer_polls_each_message_once(
    java_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    group = f"{warm_topic}-group"
    consumer = java_client.consume(warm_topic, way=WAY, group=group, run="r", shards=QUEUES, binary=True)
    with consumer.process:
        consumer.wait_assigned(QUEUES)
        sent = java_client.produce(
            warm_topic,
            run="r",
            count=COUNT,
            mode="sync",
            threads=2,
            shards=QUEUES,
            binary=True,
            amid=partial(kill_dispatcher, endpoint),
        )
        assert_all_sent(sent, COUNT)
        kill_conductor(endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))
    assert_offsets_without_gap(result)
    assert_bounds(java_client.queue_bounds(warm_topic, group=group), COUNT + 1, committed=True)


@pytest.mark.feature("Lite-pull consumer: assigned")
def test_an_assigned_consumer_reads_a_backlog_from_its_beginning(
    java_client: Client, topic: str, endpoint: Endpoint
) -> None:
    sent = java_client.produce(topic, run="r", count=COUNT, mode="batch", threads=2, binary=True)
    assert_all_sent(sent, COUNT)
    consumer = java_client.consume(topic, way=WAY, group=f"{topic}-group", run="r", assign=True, binary=True)
    with consumer.process:
        consumer.wait_seen(1, DEADLINE_S)
        kill_worker(endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))
    assert_offsets_without_gap(result)
