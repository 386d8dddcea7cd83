"""Java push consumers, of a broker that loses processes: live, ordered, filtered, failing."""

from functools import partial

import pytest

from tests.support.drivers import Client
from tests.support.endpoints import Endpoint
from tests.support.mishaps import kill_conductor, kill_dispatcher, kill_worker
from tests.support.verdict import (
    assert_all_sent,
    assert_bounds,
    assert_none_missing,
    assert_received_intact,
    assert_received_once,
)

pytestmark = pytest.mark.interop

COUNT = 10_000
QUEUES = 8
DEADLINE_S = 90.0


@pytest.mark.feature("Push consumer: concurrent")
@pytest.mark.feature("Push consumer: long polling")
def test_a_waiting_consumer_gets_each_message_once(
    java_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    group = f"{warm_topic}-group"
    consumer = java_client.consume(warm_topic, group=group, run="r", binary=True)
    with consumer.process:
        consumer.wait_assigned(QUEUES)
        mishap = partial(kill_dispatcher, endpoint)
        sent = java_client.produce(
            warm_topic, run="r", count=COUNT, mode="async", threads=2, binary=True, amid=mishap
        )
        assert_all_sent(sent, COUNT)
        consumer.wait_seen(COUNT // 2, DEADLINE_S)
        kill_conductor(endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))
    assert result["foreign"] == 1
    assert_bounds(java_client.queue_bounds(warm_topic, group=group), COUNT + 1, committed=True)


@pytest.mark.feature("Push consumer: orderly")
def test_an_orderly_consumer_sees_each_queue_in_order(
    java_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    group = f"{warm_topic}-group"
    consumer = java_client.consume(warm_topic, group=group, run="r", orderly=True, shards=QUEUES, binary=True)
    with consumer.process:
        consumer.wait_assigned(QUEUES)
        mishap = partial(kill_dispatcher, endpoint)
        sent = java_client.produce(
            warm_topic, run="r", count=COUNT, mode="sync", threads=4, shards=QUEUES, binary=True, amid=mishap
        )
        assert_all_sent(sent, COUNT)
        consumer.wait_seen(COUNT // 2, DEADLINE_S)
        kill_conductor(endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))
    assert_bounds(java_client.queue_bounds(warm_topic, group=group), COUNT + 1, committed=True)


@pytest.mark.feature("Filter by tags")
def test_a_tag_expression_lets_only_its_tags_through(
    java_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    group = f"{warm_topic}-group"
    wanted = [number for number in range(COUNT) if number % 5 in {1, 3}]
    consumer = java_client.consume(warm_topic, group=group, run="r", expression="t1 || t3", binary=True)
    with consumer.process:
        consumer.wait_assigned(QUEUES)
        mishap = partial(kill_dispatcher, endpoint)
        sent = java_client.produce(
            warm_topic, run="r", count=COUNT, mode="batch", threads=2, binary=True, amid=mishap
        )
        assert_all_sent(sent, COUNT)
        kill_conductor(endpoint)
        consumer.wait_seen(len(wanted), DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, wanted)
    assert result["foreign"] == 0


@pytest.mark.feature("Push consumer: retry through %RETRY%")
def test_a_refused_message_comes_again_through_the_retry_topic(
    java_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    group = f"{warm_topic}-group"
    consumer = java_client.consume(warm_topic, group=group, run="r", fail_every=100, binary=True)
    with consumer.process:
        consumer.wait_assigned(QUEUES)
        mishap = partial(kill_dispatcher, endpoint)
        sent = java_client.produce(
            warm_topic, run="r", count=COUNT, mode="batch", threads=2, binary=True, amid=mishap
        )
        assert_all_sent(sent, COUNT)
        consumer.wait_seen(COUNT // 2, DEADLINE_S)
        kill_conductor(endpoint)
        kill_worker(endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_intact(result)
    assert_none_missing(consumer.seen, range(COUNT))
    assert result["refused"] >= COUNT // 100
    assert result["retried"] >= COUNT // 100


@pytest.mark.feature("Committed offsets")
def test_the_second_consumer_of_a_group_starts_where_the_first_has_committed(
    java_client: Client, topic: str, endpoint: Endpoint
) -> None:
    group = f"{topic}-group"
    java_client.produce(topic, run="first", count=COUNT, mode="batch", binary=True)
    first = java_client.consume(topic, group=group, run="first", binary=True)
    with first.process:
        first.wait_seen(COUNT, DEADLINE_S)
        assert_received_once(first.stop(), first.seen, range(COUNT))
    mishap = partial(kill_conductor, endpoint)
    java_client.produce(topic, run="second", count=COUNT, mode="batch", binary=True, amid=mishap)
    second = java_client.consume(topic, group=group, run="second", binary=True)
    with second.process:
        second.wait_seen(COUNT, DEADLINE_S)
        result = second.stop()
    assert_received_once(result, second.seen, range(COUNT))
    assert result["foreign"] == 0, "what the first had committed came again"
