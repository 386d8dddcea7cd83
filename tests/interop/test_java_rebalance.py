"""Two Java consumers of a group share the queues; when one leaves, the other takes all of them at once.

Meanwhile the conductor is killed, which is who knows of them.
"""

from functools import partial
from typing import Any

import pytest

from tests.support.drivers import Client, Consumer, Mishap, event_of, wait_together
from tests.support.endpoints import Endpoint
from tests.support.mishaps import kill_conductor
from tests.support.verdict import (
    assert_all_sent,
    assert_bounds,
    assert_none_missing,
    assert_received_intact,
)

pytestmark = pytest.mark.interop

COUNT = 10_000
QUEUES = 8
DEADLINE_S = 90.0
# Clients rebalance by themselves as seldom as they do by default; sooner means that the broker told them.
REBALANCE_MS = 20_000
NOTIFIED_S = 15.0


@pytest.mark.feature("Rebalance: join and leave")
@pytest.mark.parametrize("orderly", [False, True], ids=["concurrent", "orderly"])
def test_a_consumer_takes_over_from_one_that_leaves(
    java_client: Client, warm_topic: str, endpoint: Endpoint, *, orderly: bool
) -> None:
    group = f"{warm_topic}-group"
    shards = QUEUES if orderly else 0
    first = _consumer(java_client, warm_topic, orderly=orderly, shards=shards)
    with first.process:
        first.wait_assigned(QUEUES)
        second = _consumer(java_client, warm_topic, orderly=orderly, shards=shards)
        with second.process:
            second.wait_assigned(QUEUES // 2)
            first.wait_assigned(QUEUES // 2, NOTIFIED_S)
            assert not set(first.assigned) & set(second.assigned)
            mishap = partial(kill_conductor, endpoint)
            _send(java_client, warm_topic, first=0, shards=shards, mishap=mishap)
            wait_together([first, second], set(), COUNT, DEADLINE_S)
            left = first.stop()
            second.wait_assigned(QUEUES, NOTIFIED_S)
            _send(java_client, warm_topic, first=COUNT, shards=shards)
            wait_together([second], first.seen, 2 * COUNT, DEADLINE_S)
            stayed = second.stop()
    assert_received_intact(left)
    assert_received_intact(stayed)
    assert_none_missing(first.seen | second.seen, range(2 * COUNT))
    assert left["doubled"] == []
    assert stayed["doubled"] == []
    assert not first.seen & second.seen, "the one that left had committed what it consumed"
    assert_bounds(java_client.queue_bounds(warm_topic, group=group), 2 * COUNT + 1, committed=True)


@pytest.mark.feature("Rebalance: leave amid the stream")
def test_nothing_is_missing_when_a_consumer_leaves_amid_the_stream(
    java_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    first = _consumer(java_client, warm_topic)
    with first.process:
        first.wait_assigned(QUEUES)
        second = _consumer(java_client, warm_topic)
        with second.process:
            second.wait_assigned(QUEUES // 2)
            first.wait_assigned(QUEUES // 2, NOTIFIED_S)
            arguments = {"mode": "sync", "threads": 2, "binary": True, "progress": True}
            arguments |= {"group": f"{warm_topic}-producers"}
            producer = java_client.start("produce", topic=warm_topic, run="r", count=2 * COUNT, **arguments)
            with producer:
                event_of(producer, "progress", DEADLINE_S)
                kill_conductor(endpoint)
                first.wait_seen(COUNT // 10, DEADLINE_S)
                left = first.stop()
                second.wait_assigned(QUEUES, NOTIFIED_S)
                assert producer.wait_exit(DEADLINE_S) == 0
            wait_together([second], first.seen, 2 * COUNT, DEADLINE_S)
            stayed = second.stop()
    assert_received_intact(left)
    assert_received_intact(stayed)
    assert_none_missing(first.seen | second.seen, range(2 * COUNT))
    assert 0 < len(first.seen) < 2 * COUNT


def _consumer(client: Client, topic: str, **options: Any) -> Consumer:
    given = {"rebalance_ms": REBALANCE_MS} | options
    return client.consume(topic, group=f"{topic}-group", run="r", binary=True, **given)


def _send(client: Client, topic: str, *, first: int, shards: int, mishap: Mishap | None = None) -> None:
    """Send in order: a client may reorder what it sends asynchronously."""
    sent = client.produce(
        topic,
        run="r",
        first=first,
        count=COUNT,
        mode="sync",
        threads=4,
        shards=shards,
        binary=True,
        amid=mishap,
    )
    assert_all_sent(sent, COUNT)
