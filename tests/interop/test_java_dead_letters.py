"""Java consumers that refuse a message for ever: it is tried as often as it may be, and ends among the dead letters."""

from pathlib import Path

import pytest

from shmq.wire.codes import ResponseCode
from tests.support.drivers import Client
from tests.support.endpoints import Endpoint
from tests.support.java import mqadmin
from tests.support.mishaps import kill_conductor, kill_near
from tests.support.remote import Remote
from tests.support.verdict import assert_all_sent, assert_none_missing, assert_received_intact

pytestmark = pytest.mark.interop

COUNT = 2000
EVERY = 100
TRIES = 2
QUEUES = 8
DEADLINE_S = 90.0


@pytest.mark.feature("Push consumer: reconsume times and dead letters (%DLQ%)")
@pytest.mark.feature("Dead letters read, and their topic's permission")
def test_what_is_refused_too_often_lies_among_the_dead_letters_and_can_be_read(
    java_client: Client, warm_topic: str, endpoint: Endpoint, tmp_path: Path
) -> None:
    group = f"{warm_topic}-group"
    dead_topic = f"%DLQ%{group}"
    refused = set(range(0, COUNT, EVERY))
    consumer = java_client.consume(
        warm_topic, group=group, run="r", refuse_every=EVERY, max_reconsume=TRIES, binary=True
    )
    with consumer.process:
        consumer.wait_assigned(QUEUES)
        sent = java_client.produce(warm_topic, run="r", count=COUNT, mode="batch", binary=True)
        assert_all_sent(sent, COUNT)
        consumer.wait_seen(COUNT // 2, DEADLINE_S)
        kill_near(java_client, endpoint)
        kill_conductor(endpoint)
        reader = java_client.consume(dead_topic, group=f"{warm_topic}-undertaker", run="r", binary=True)
        with reader.process:
            reader.wait_seen(len(refused), DEADLINE_S)
            consumer.wait_seen(COUNT - len(refused), DEADLINE_S)
            dead = reader.stop()
        result = consumer.stop()
    assert_received_intact(result)
    assert_none_missing(consumer.seen, set(range(COUNT)) - refused)
    assert_received_intact(dead)
    assert_none_missing(reader.seen, refused)
    assert result["refused"] >= len(refused) * (TRIES + 1)
    with Remote(endpoint.broker.address) as remote:
        assert remote.pull(dead_topic, 0, 0).code == ResponseCode.SUCCESS
        forbid = ("-b", endpoint.broker.address, "-t", dead_topic, "-p", "2")
        mqadmin(endpoint.namesrv_address, tmp_path / "mqadmin", "updateTopicPerm", *forbid)
        assert remote.pull(dead_topic, 0, 0).code == ResponseCode.NO_PERMISSION
