"""One Java consumer of a group vanishes without a word, and the other takes its queues: at once, or when time is up."""

import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.drivers import Client, Consumer, wait_together
from tests.support.endpoints import SHMQ, UNDER_TEST, Endpoint, shared_endpoint
from tests.support.verdict import assert_all_sent, assert_none_missing, assert_received_intact

pytestmark = pytest.mark.interop

COUNT = 1000
QUEUES = 8
DEADLINE_S = 90.0
EXPIRY_MS = 10_000
LOCK_LIFE_MS = 4000
NOTIFIED_S = 10.0


@pytest.fixture(scope="module", params=UNDER_TEST)
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A broker that forgets silent clients in seconds, not minutes."""
    settings = {"channelExpiredTimeout": str(EXPIRY_MS)}
    if request.param == SHMQ:  # RocketMQ reads the other from a system property
        settings["queue_lock_life_ms"] = str(LOCK_LIFE_MS)
    with shared_endpoint(request.param, tmp_path_factory.mktemp("takeover"), settings) as started:
        yield started


@pytest.mark.feature("Rebalance: consumer killed -9")
@pytest.mark.feature("Queue locks: expiry and takeover, orderly")
def test_the_queues_of_one_who_was_killed_go_on_in_order_once_its_locks_are_over(
    java_client: Client, warm_topic: str
) -> None:
    first, second = _pair(java_client, warm_topic, orderly=True, shards=QUEUES, lock_ms=1000)
    with first.process, second.process:
        _send(java_client, warm_topic, first=0)
        wait_together([first, second], set(), COUNT, DEADLINE_S)
        first.process.kill()
        killed = time.monotonic()
        second.wait_assigned(QUEUES, NOTIFIED_S)
        _send(java_client, warm_topic, first=COUNT)
        wait_together([second], first.seen, 2 * COUNT, DEADLINE_S)
        waited_ms = (time.monotonic() - killed) * 1000
        result = second.stop()
    assert_received_intact(result)
    assert_none_missing(first.seen | second.seen, range(2 * COUNT))
    assert waited_ms > LOCK_LIFE_MS - 1500, "it was let in while the locks of the other still held"


@pytest.mark.feature("Rebalance: silent client expires")
def test_the_queues_of_one_who_says_nothing_go_to_the_other(java_client: Client, warm_topic: str) -> None:
    first, second = _pair(java_client, warm_topic)
    with first.process, second.process:
        _send(java_client, warm_topic, first=0)
        wait_together([first, second], set(), COUNT, DEADLINE_S)
        first.process.signal(signal.SIGSTOP)
        _send(java_client, warm_topic, first=COUNT)
        second.wait_assigned(QUEUES, DEADLINE_S)
        wait_together([second], first.seen, 2 * COUNT, DEADLINE_S)
        result = second.stop()
    assert_received_intact(result)
    assert_none_missing(first.seen | second.seen, range(2 * COUNT))


def _pair(client: Client, topic: str, **options: object) -> tuple[Consumer, Consumer]:
    """Two members of a group that share its queues."""
    made = [
        client.consume(
            topic,
            group=f"{topic}-group",
            run="r",
            binary=True,
            heartbeat_ms=1000,
            rebalance_ms=1000,
            **options,
        )
        for _ in range(2)
    ]
    for consumer in made:
        consumer.wait_assigned(QUEUES // 2)
    return made[0], made[1]


def _send(client: Client, topic: str, *, first: int) -> None:
    sent = client.produce(
        topic, run="r", count=COUNT, first=first, mode="sync", threads=2, shards=QUEUES, binary=True
    )
    assert_all_sent(sent, COUNT)
