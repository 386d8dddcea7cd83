"""Java push consumers that the broker has pop: killed, refusing, and on a broker that loses processes or starts anew."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shmq.store import properties as property_text
from shmq.wire import fastjson
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.topic_bodies import SubscriptionGroupConfig
from tests.support.body import PROPERTY, body_of, keys_of, property_of, tag_of
from tests.support.drivers import Client, Consumer
from tests.support.endpoints import JAVA, SHMQ, UNDER_TEST, Endpoint, shared_endpoint
from tests.support.java import CLIENT_MODULES, mqadmin
from tests.support.mishaps import kill_conductor, kill_worker
from tests.support.remote import Remote
from tests.support.revivable import Revivable
from tests.support.shmq_process import ShmqBroker
from tests.support.verdict import assert_none_missing, assert_received_intact
from tests.support.waiting import eventually

pytestmark = [pytest.mark.interop, pytest.mark.client("Java 5.5.0"), pytest.mark.client("mqadmin 5.3.3")]

COUNT = 2000
QUEUES = 8
ANY_QUEUE = 1  # what a consumer holds that pops whichever queue
HIDDEN_MS = 5000  # the client's least
DEADLINE_S = 90.0
REFUSED_EVERY = 200
NEWEST = list(CLIENT_MODULES)[-1]  # 4.x does not pop
OVERRIDES = {JAVA: {"timerWheelEnable": "true"}, SHMQ: {}}


@pytest.fixture(scope="module", params=UNDER_TEST)
def pop_endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """A broker that pops, shared by the tests of this file."""
    directory = tmp_path_factory.mktemp(f"pop-{request.param}")
    with shared_endpoint(request.param, directory, OVERRIDES[request.param]) as started:
        yield started


def pop_by(broker_address: str, namesrv_address: str, directory: Path, topic: str) -> None:
    """Make a topic, and have a group pop it, as an administrator does."""
    fields = {
        "topic": topic,
        "defaultTopic": "TBW102",
        "readQueueNums": str(QUEUES),
        "writeQueueNums": str(QUEUES),
        "perm": "6",
        "topicFilterType": "SINGLE_TAG",
        "topicSysFlag": "0",
        "order": "false",
    }
    with Remote(broker_address) as remote:
        made = remote.call(Command(RequestCode.UPDATE_AND_CREATE_TOPIC, fields=fields))
        assert made.code == ResponseCode.SUCCESS, made.remark
    words = ("-b", broker_address, "-t", topic, "-g", f"{topic}-group", "-m", "POP", "-q", "0")
    told = mqadmin(namesrv_address, directory / "admin", "setConsumeMode", *words)
    assert "success" in told, told


def send(broker_address: str, topic: str) -> None:
    """Send what the drivers know to compare; who is tested here consumes."""
    with Remote(broker_address) as remote:
        for number in range(COUNT):
            pairs = {"KEYS": keys_of(number), "TAGS": tag_of(number), PROPERTY: property_of(number)}
            text = property_text.join(pairs).decode()
            answer = remote.send(topic, body_of("r", number, binary=False), number % QUEUES, text)
            assert answer.code == ResponseCode.SUCCESS, answer.remark


def consumer_of(client: Client, topic: str, **options: object) -> Consumer:
    given = {"group": f"{topic}-group", "run": "r", "pop": True, "invisible_ms": HIDDEN_MS}
    return client.consume(topic, **(given | options))


@pytest.mark.feature("Pop: push consumer in pop mode, killed with the conductor and a network worker")
def test_nothing_is_missing_when_a_consumer_and_the_broker_s_processes_are_killed(
    pop_endpoint: Endpoint, topic: str, tmp_path: Path
) -> None:
    """The first has taken messages and is done with none of them: all of those come to the second."""
    client = Client(NEWEST, pop_endpoint.namesrv_address, tmp_path)
    pop_by(pop_endpoint.broker.address, pop_endpoint.namesrv_address, tmp_path, topic)
    first = consumer_of(client, topic, refuse_every=1)
    second = consumer_of(client, topic)
    with first.process, second.process:
        first.wait_assigned(ANY_QUEUE)
        second.wait_assigned(ANY_QUEUE)
        send(pop_endpoint.broker.address, topic)
        second.wait_seen(COUNT // 4, DEADLINE_S)
        first.process.kill()
        kill_conductor(pop_endpoint)
        second.wait_seen(COUNT // 3, DEADLINE_S)
        kill_worker(pop_endpoint)
        second.wait_seen(COUNT, DEADLINE_S)
        result = second.stop()
    assert_received_intact(result)
    assert_none_missing(second.seen, range(COUNT))
    with Remote(pop_endpoint.broker.address) as remote:
        assert remote.max_offset(f"%RETRY%{topic}-group_{topic}", 0) > 0, "the first had taken nothing"


@pytest.mark.feature("Pop: refused messages are tried again, and dead letters at last")
def test_what_is_refused_for_ever_is_a_dead_letter(
    pop_endpoint: Endpoint, topic: str, tmp_path: Path
) -> None:
    """Only here: a Java broker leaves it to its clients to give up, and they drop the message."""
    if not isinstance(pop_endpoint.broker, ShmqBroker):
        pytest.skip("a Java broker has no dead letters of pops")
    client = Client(NEWEST, pop_endpoint.namesrv_address, tmp_path)
    group = f"{topic}-group"
    with Remote(pop_endpoint.broker.address) as remote:
        body = fastjson.dumps(SubscriptionGroupConfig(group, retry_times_max=0).to_json())
        put = Command(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, body=body)
        assert remote.call(put).code == ResponseCode.SUCCESS
        pop_by(pop_endpoint.broker.address, pop_endpoint.namesrv_address, tmp_path, topic)
        consumer = consumer_of(client, topic, refuse_every=REFUSED_EVERY)
        with consumer.process:
            consumer.wait_assigned(ANY_QUEUE)
            send(pop_endpoint.broker.address, topic)
            consumer.wait_seen(COUNT - COUNT // REFUSED_EVERY, DEADLINE_S)
            kill_conductor(pop_endpoint)
            dead_letters = f"%DLQ%{group}"
            eventually(lambda: remote.max_offset(dead_letters, 0) >= COUNT // REFUSED_EVERY, DEADLINE_S)
            dead = remote.read_queue(dead_letters, 0)
            result = consumer.stop()
    assert_received_intact(result)
    assert len(dead) == COUNT // REFUSED_EVERY
    assert {message.properties["DLQ_ORIGIN_TOPIC"] for message in dead} == {topic}


@pytest.mark.feature("Pop: what was popped survives a broker of which every process is killed")
@pytest.mark.skipif(SHMQ not in UNDER_TEST, reason="of our broker")
def test_a_broker_that_is_killed_whole_gives_what_was_not_acknowledged(topic: str, tmp_path: Path) -> None:
    with Revivable(tmp_path, "popped") as revivable:
        client = Client(NEWEST, revivable.namesrv_address, tmp_path)
        pop_by(revivable.broker.address, revivable.namesrv_address, tmp_path, topic)
        consumer = consumer_of(client, topic)
        with consumer.process:
            consumer.wait_assigned(ANY_QUEUE)
            send(revivable.broker.address, topic)
            consumer.wait_seen(COUNT // 4, DEADLINE_S)
            revivable.revive()
            consumer.wait_seen(COUNT, DEADLINE_S)
            result = consumer.stop()
    assert_received_intact(result)
    assert_none_missing(consumer.seen, range(COUNT))
