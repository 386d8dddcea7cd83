"""C++ consumers: by tags, in broadcasts, refusing, sharing with one that is killed, over a broker that starts anew."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from shmq.wire import fastjson
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.topic_bodies import SubscriptionGroupConfig
from tests.support.drivers import CPP, Client, wait_together
from tests.support.endpoints import SHMQ, UNDER_TEST, Endpoint, shared_endpoint
from tests.support.java import mqadmin
from tests.support.member import Member
from tests.support.mishaps import kill_conductor, kill_dispatcher, kill_worker
from tests.support.remote import Remote
from tests.support.revivable import Revivable
from tests.support.shmq_process import ShmqBroker
from tests.support.verdict import assert_none_missing, assert_received_intact, assert_received_once
from tests.support.waiting import eventually

pytestmark = pytest.mark.interop

COUNT = 2000
REFUSED = 200
TRIES = 2
DEADLINE_S = 90.0
NOTIFIED_S = 8.0
"""Less than the ten seconds after which the client looks by itself who shares the queues."""

# Clients leave it to the broker when a message is to be tried again: its first level for that is the third.
QUICK = {"messageDelayLevel": "1s 5s 1s 1s 1s 1s"}


@pytest.fixture(scope="module", params=UNDER_TEST)
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A broker that soon has messages tried again."""
    with shared_endpoint(request.param, tmp_path_factory.mktemp("cpp-consumers"), QUICK) as started:
        yield started


@pytest.mark.feature("Filter by tags")
@pytest.mark.feature("Pull consumer")
def test_tags_let_through_what_they_name_to_those_who_wait_and_those_who_pull(
    cpp_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    wanted = [number for number in range(COUNT) if number % 5 in {1, 3}]
    options = {"run": "r", "expression": "t1 || t3"}
    waiting = cpp_client.consume(warm_topic, group=f"{warm_topic}-waiting", **options)
    pulling = cpp_client.consume(warm_topic, group=f"{warm_topic}-pulling", way="consume-pull", **options)
    with waiting.process, pulling.process:
        mishap = partial(kill_dispatcher, endpoint)
        sent = cpp_client.produce(warm_topic, run="r", count=COUNT, mode="sync", amid=mishap)
        assert sent["sent"] == COUNT
        kill_conductor(endpoint)
        for consumer in (waiting, pulling):
            consumer.wait_seen(len(wanted), DEADLINE_S)
            assert_received_once(consumer.stop(), consumer.seen, wanted)


@pytest.mark.feature("Broadcasting")
def test_each_instance_of_a_broadcasting_group_gets_everything(
    cpp_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    options = {"group": f"{warm_topic}-group", "run": "r", "broadcasting": True}
    one = cpp_client.consume(warm_topic, **options)
    other = cpp_client.consume(warm_topic, **options)
    with one.process, other.process:
        sent = cpp_client.produce(warm_topic, run="r", count=COUNT // 2, mode="sync")
        assert sent["sent"] == COUNT // 2
        one.wait_seen(COUNT // 4, DEADLINE_S)
        one.process.kill()
        kill_conductor(endpoint)
        sent = cpp_client.produce(
            warm_topic,
            run="r",
            count=COUNT // 2,
            first=COUNT // 2,
            mode="sync",
            until_stored=True,
            amid=partial(kill_dispatcher, endpoint),
        )
        assert sent["sent"] == COUNT // 2
        other.wait_seen(COUNT, DEADLINE_S)
        result = other.stop()
    assert_received_once(result, other.seen, range(COUNT))


@pytest.mark.feature("Push consumer: retry through %RETRY%")
def test_a_refused_message_comes_again_through_the_retry_topic(
    cpp_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    """Who refuses one message refuses all that the client has handed on with it."""
    consumer = cpp_client.consume(warm_topic, group=f"{warm_topic}-group", run="r", fail_every=100)
    with consumer.process:
        sent = cpp_client.produce(warm_topic, run="r", count=COUNT, mode="sync")
        assert sent["sent"] == COUNT
        consumer.wait_seen(COUNT // 2, DEADLINE_S)
        kill_conductor(endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_intact(result)
    assert_none_missing(consumer.seen, range(COUNT))
    assert result["retried"] >= COUNT // 100


@pytest.mark.feature("Push consumer: reconsume times and dead letters (%DLQ%)")
@pytest.mark.feature("Dead letters read, and their topic's permission")
def test_what_is_refused_too_often_lies_among_the_dead_letters_and_can_be_read(
    cpp_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    if not isinstance(endpoint.broker, ShmqBroker):
        pytest.skip(
            "RocketMQ's broker 5.3.3 fails on what is sent back without its first topic, as this client does"
        )
    group = f"{warm_topic}-group"
    dead_topic = f"%DLQ%{group}"
    with Remote(endpoint.broker.address) as remote:
        body = fastjson.dumps(SubscriptionGroupConfig(group, retry_times_max=TRIES).to_json())
        put = Command(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, body=body)
        assert remote.call(put).code == ResponseCode.SUCCESS
        consumer = cpp_client.consume(warm_topic, group=group, run="r", refuse_every=1)
        with consumer.process:
            sent = cpp_client.produce(warm_topic, run="r", count=REFUSED, mode="sync")
            assert sent["sent"] == REFUSED
            kill_conductor(endpoint)
            eventually(lambda: remote.max_offset(dead_topic, 0) >= REFUSED, DEADLINE_S)
            reader = cpp_client.consume(dead_topic, group=f"{warm_topic}-undertaker", run="r")
            with reader.process:
                reader.wait_seen(REFUSED, DEADLINE_S)
                dead = reader.stop()
            result = consumer.stop()
    assert_received_intact(dead)
    assert_none_missing(reader.seen, range(REFUSED))
    assert result["received"] == 0
    assert result["refused"] > 0


@pytest.mark.feature("Rebalance: consumer killed -9")
@pytest.mark.feature("Consumer and producer connections")
def test_the_queues_of_one_who_was_killed_go_to_the_other(
    cpp_client: Client, warm_topic: str, endpoint: Endpoint, tmp_path: Path
) -> None:
    group = f"{warm_topic}-group"
    first = cpp_client.consume(warm_topic, group=group, run="r")
    second = cpp_client.consume(warm_topic, group=group, run="r")
    with first.process, second.process:
        sent = cpp_client.produce(warm_topic, run="r", count=COUNT, mode="sync")
        assert sent["sent"] == COUNT
        wait_together([first, second], set(), COUNT, DEADLINE_S)
        assert first.seen, "both have a share"
        assert second.seen, "both have a share"
        kill_conductor(endpoint)
        first.process.kill()
        killed = time.monotonic()
        sent = cpp_client.produce(
            warm_topic, run="r", count=COUNT, first=COUNT, mode="sync", until_stored=True
        )
        assert sent["sent"] == COUNT
        wait_together([second], first.seen, 2 * COUNT, DEADLINE_S)
        waited_s = time.monotonic() - killed
        with Member(endpoint.broker.address) as member:
            (client_id,) = member.members(group)
        said = mqadmin(endpoint.namesrv_address, tmp_path / "mqadmin", "consumerConnection", "-g", group)
        result = second.stop()
    assert_received_intact(result)
    assert_none_missing(first.seen | second.seen, range(2 * COUNT))
    assert waited_s < NOTIFIED_S, "the broker did not tell it"
    assert client_id in said
    assert "CPP" in said


@pytest.mark.feature("Committed offsets")
def test_the_second_consumer_of_a_group_starts_where_the_first_has_committed(
    cpp_client: Client, topic: str, endpoint: Endpoint
) -> None:
    group = f"{topic}-group"
    runs = ("first", "second")
    for run in runs:
        sent = cpp_client.produce(topic, run=run, count=COUNT, mode="sync", until_stored=True)
        assert sent["sent"] == COUNT
        consumer = cpp_client.consume(topic, group=group, run=run)
        with consumer.process:
            consumer.wait_seen(COUNT, DEADLINE_S)
            result = consumer.stop()
        assert_received_once(result, consumer.seen, range(COUNT))
        assert result["foreign"] == 0, "what the first had committed came again"
        kill_conductor(endpoint)
        kill_worker(endpoint)


@pytest.mark.feature("Broker killed whole and started anew, amid sends and pulls")
@pytest.mark.client("C++ 2.x")
@pytest.mark.skipif(SHMQ not in UNDER_TEST, reason="of our broker")
def test_clients_come_back_to_a_broker_that_was_killed_and_starts_anew(topic: str, tmp_path: Path) -> None:
    """This client waits for an answer to what it had asked, though the connection is gone: half a minute."""
    with Revivable(tmp_path, "revived") as revivable:
        client = Client(CPP, revivable.namesrv_address, tmp_path)
        client.produce(topic, run="warm", count=1, mode="sync")
        consumer = client.consume(topic, group=f"{topic}-group", run="r")
        with consumer.process:
            mishap = revivable.revive
            sent = client.produce(
                topic, run="r", count=COUNT, mode="sync", until_stored=True, timeout_ms=2000, amid=mishap
            )
            assert sent["sent"] == COUNT
            consumer.wait_seen(COUNT, DEADLINE_S)
            result = consumer.stop()
    assert_received_intact(result)
    assert_none_missing(consumer.seen, range(COUNT))
