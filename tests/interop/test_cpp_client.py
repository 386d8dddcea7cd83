"""The C++ client (PyPI `rocketmq` 0.4.4): its producers, its push consumer, and messages to and from Java."""

from functools import partial

import pytest

from tests.support.drivers import Client
from tests.support.endpoints import Endpoint
from tests.support.mishaps import kill_conductor, kill_dispatcher
from tests.support.verdict import (
    assert_all_sent,
    assert_none_missing,
    assert_offsets_without_gap,
    assert_received_intact,
    assert_received_once,
)

pytestmark = pytest.mark.interop

COUNT = 10_000
SHARDS = 8
DEADLINE_S = 120.0


@pytest.mark.feature("Push consumer: concurrent")
@pytest.mark.feature("Topic made by its first message")
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("sync", marks=pytest.mark.feature("Send: sync")),
        pytest.param("oneway", marks=pytest.mark.feature("Send: one-way")),
    ],
)
def test_cpp_reads_back_once_what_cpp_sends(
    cpp_client: Client, topic: str, endpoint: Endpoint, mode: str
) -> None:
    sent = cpp_client.produce(topic, run="r", count=COUNT, mode=mode, amid=partial(kill_conductor, endpoint))
    assert sent["sent"] == COUNT
    consumer = cpp_client.consume(topic, group=f"{topic}-group", run="r")
    with consumer.process:
        consumer.wait_seen(1, DEADLINE_S)
        kill_dispatcher(endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))
    assert_offsets_without_gap(result)


@pytest.mark.feature("Send: ordered by a selector")
@pytest.mark.feature("Push consumer: orderly")
def test_an_orderly_cpp_consumer_sees_each_shard_in_the_order_sent(
    cpp_client: Client, topic: str, endpoint: Endpoint
) -> None:
    mishap = partial(kill_dispatcher, endpoint)
    sent = cpp_client.produce(topic, run="r", count=COUNT, mode="ordered", shards=SHARDS, amid=mishap)
    assert sent["sent"] == COUNT
    consumer = cpp_client.consume(topic, group=f"{topic}-group", run="r", orderly=True, shards=SHARDS)
    with consumer.process:
        consumer.wait_seen(1, DEADLINE_S)
        kill_conductor(endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))


@pytest.mark.feature("Push consumer: long polling")
def test_a_waiting_cpp_consumer_is_woken_by_what_arrives(
    cpp_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    consumer = cpp_client.consume(warm_topic, group=f"{warm_topic}-group", run="r")
    with consumer.process:
        mishap = partial(kill_dispatcher, endpoint)
        sent = cpp_client.produce(warm_topic, run="r", count=COUNT, mode="sync", amid=mishap)
        assert sent["sent"] == COUNT
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))


@pytest.mark.feature("Bodies, keys, tags and properties between Java and C++")
def test_java_compares_what_cpp_sends(
    cpp_client: Client, java_client: Client, topic: str, endpoint: Endpoint
) -> None:
    cpp_client.produce(topic, run="r", count=COUNT, mode="oneway", amid=partial(kill_dispatcher, endpoint))
    consumer = java_client.consume(topic, group=f"{topic}-group", run="r")
    with consumer.process:
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))


@pytest.mark.feature("Bodies, keys, tags and properties between Java and C++")
def test_cpp_compares_what_java_sends(
    cpp_client: Client, java_client: Client, topic: str, endpoint: Endpoint
) -> None:
    mishap = partial(kill_dispatcher, endpoint)
    sent = java_client.produce(topic, run="r", count=COUNT, mode="async", threads=2, amid=mishap)
    assert_all_sent(sent, COUNT)
    consumer = cpp_client.consume(topic, group=f"{topic}-group", run="r")
    with consumer.process:
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_intact(result)
    assert_none_missing(consumer.seen, range(COUNT))
    assert result["doubled"] == []
