"""Java producers: every way of sending, with processes of the broker killed meanwhile; each message is read back once."""

import dataclasses
from functools import partial
from typing import Any

import pytest

from tests.support.drivers import Client
from tests.support.endpoints import Endpoint
from tests.support.mishaps import kill_conductor, kill_dispatcher
from tests.support.verdict import (
    assert_all_sent,
    assert_bounds,
    assert_offsets_without_gap,
    assert_received_once,
)

pytestmark = pytest.mark.interop

COUNT = 10_000
DEADLINE_S = 90.0


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("sync", marks=pytest.mark.feature("Send: sync")),
        pytest.param("async", marks=pytest.mark.feature("Send: async")),
        pytest.param("batch", marks=pytest.mark.feature("Send: batch")),
    ],
)
def test_what_is_acknowledged_is_read_back_once(
    java_client: Client, topic: str, endpoint: Endpoint, mode: str
) -> None:
    mishap = partial(kill_conductor, endpoint)
    sent = java_client.produce(topic, run="r", count=COUNT, mode=mode, threads=4, binary=True, amid=mishap)
    assert_all_sent(sent, COUNT)
    _read_back_once(java_client, topic, endpoint)


@pytest.mark.feature("Send: one-way")
def test_oneway_messages_all_arrive_on_a_healthy_connection(
    java_client: Client, topic: str, endpoint: Endpoint
) -> None:
    mishap = partial(kill_conductor, endpoint)
    sent = java_client.produce(
        topic, run="r", count=COUNT, mode="oneway", threads=4, binary=True, amid=mishap
    )
    assert sent["sent"] == COUNT
    _read_back_once(java_client, topic, endpoint)


@pytest.mark.feature("Send: ordered by a selector")
def test_sharded_sends_keep_their_order_in_each_queue(
    java_client: Client, topic: str, endpoint: Endpoint
) -> None:
    mishap = partial(kill_conductor, endpoint)
    sent = java_client.produce(
        topic, run="r", count=COUNT, mode="sync", threads=2, shards=8, binary=True, amid=mishap
    )
    assert_all_sent(sent, COUNT)
    assert len(sent["queues"]) == 8
    _read_back_once(java_client, topic, endpoint, way="consume-lite-pull", shards=8)


@pytest.mark.feature("Headers in the binary encoding")
def test_the_binary_header_carries_sends_and_pulls_as_json_does(
    java_client: Client, topic: str, endpoint: Endpoint
) -> None:
    client = dataclasses.replace(java_client, serialize_type="ROCKETMQ")
    mishap = partial(kill_conductor, endpoint)
    sent = client.produce(topic, run="r", count=COUNT, mode="async", threads=2, binary=True, amid=mishap)
    assert_all_sent(sent, COUNT)
    _read_back_once(client, topic, endpoint)


@pytest.mark.feature("VIP port")
def test_the_vip_port_takes_sends(java_client: Client, topic: str, endpoint: Endpoint) -> None:
    mishap = partial(kill_conductor, endpoint)
    sent = java_client.produce(
        topic, run="r", count=COUNT, mode="async", threads=2, vip=True, binary=True, amid=mishap
    )
    assert_all_sent(sent, COUNT)
    _read_back_once(java_client, topic, endpoint, vip=True)


@pytest.mark.feature("Topic made by its first message")
def test_a_topic_that_does_not_exist_is_created_by_its_first_message(
    java_client: Client, topic: str, endpoint: Endpoint
) -> None:
    kill_conductor(endpoint)  # who makes topics
    sent = java_client.produce(topic, run="r", count=16, mode="until-stored", binary=True)
    assert_all_sent(sent, 16)
    bounds = java_client.queue_bounds(topic, group=f"{topic}-group")
    assert len(bounds) == 8
    assert_bounds(bounds, 16, committed=False)


def _read_back_once(client: Client, topic: str, endpoint: Endpoint, **options: Any) -> None:
    group = f"{topic}-group"
    consumer = client.consume(topic, group=group, run="r", binary=True, **options)
    with consumer.process:
        consumer.wait_seen(1, DEADLINE_S)
        kill_dispatcher(endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))
    assert_offsets_without_gap(result)
    assert_bounds(client.queue_bounds(topic, group=group), COUNT, committed=True)
