"""Java consumers that select messages by SQL92 expressions; a broker with enablePropertyFilter, ours or RocketMQ's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.drivers import Client, Consumer
from tests.support.endpoints import JAVA, UNDER_TEST, Endpoint, start_endpoint
from tests.support.mishaps import kill_conductor, kill_near
from tests.support.shmq_process import ShmqBroker, ShmqNameServer
from tests.support.verdict import assert_all_sent, assert_none_missing, assert_received_intact

pytestmark = pytest.mark.interop

COUNT = 3000
DEADLINE_S = 90.0
ENABLED = {"enablePropertyFilter": "true"}
EXPRESSIONS = {
    "seq BETWEEN 100 AND 1999 AND color = 'blue'": lambda n: 100 <= n < 2000 and n % 3 == 1,
    "color IS NULL AND (TAGS IN ('t1', 't2') OR NOT (seq < 2900))": lambda n: (
        n % 3 == 0 and (n % 5 in {1, 2} or n >= 2900)
    ),
    "KEYS ENDSWITH '7' AND color <> 'red' OR number NOT CONTAINS '-'": lambda n: n % 10 == 7 and n % 3 == 1,
}


@pytest.fixture(scope="module", params=UNDER_TEST)
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    started = start_endpoint(request.param, tmp_path_factory.mktemp("sql"), overrides=ENABLED)
    yield started
    started.discard()


@pytest.mark.feature("SQL92 filters: several expressions, processes killed meanwhile")
@pytest.mark.parametrize("way", ["consume-push", "consume-lite-pull"])
def test_each_group_gets_what_its_expression_selects(
    java_client: Client, endpoint: Endpoint, topic: str, way: str
) -> None:
    client = java_client
    produce(client, topic, 0)
    expressions = dict(list(EXPRESSIONS.items())[:2]) if way == "consume-lite-pull" else EXPRESSIONS
    groups = {
        sql: client.consume(topic, group=f"{topic}-{number}", run="r", way=way, binary=True, sql=sql)
        for number, sql in enumerate(expressions)
    }
    try:
        kill_near(client, endpoint)
        kill_conductor(endpoint)
        produce(client, topic, COUNT // 2)
        for sql, consumer in groups.items():
            assert_selected(consumer, sql)
    finally:
        for consumer in groups.values():
            consumer.process.kill()


@pytest.mark.feature("SQL92 filters: broker restarted in the middle")
def test_expressions_outlive_the_broker(newest_java: Client, tmp_path: Path, topic: str) -> None:
    """It begins anew with the same store, address and name; its clients come back by themselves."""
    if UNDER_TEST == (JAVA,):
        pytest.skip("the harness gives RocketMQ's broker another port when it starts it anew")
    name_server = ShmqNameServer(tmp_path)
    settings = {"namesrv_addresses": name_server.address, "settings": ENABLED}
    broker = ShmqBroker(tmp_path, **settings)
    client = Client(newest_java.kind, name_server.address, tmp_path)
    sql = next(iter(EXPRESSIONS))
    try:
        produce(client, topic, 0)
        consumer = client.consume(topic, group=f"{topic}-g", run="r", binary=True, sql=sql)
        with consumer.process:
            consumer.wait_seen(100, DEADLINE_S)
            broker.stop()
            broker = ShmqBroker(tmp_path, broker_name=broker.broker_name, port=broker.port, **settings)
            produce(client, topic, COUNT // 2)
            assert_selected(consumer, sql)
    finally:
        broker.discard()
        name_server.stop()


@pytest.mark.feature("SQL92 filters: errors as RocketMQ reports them")
@pytest.mark.parametrize("sql", ["a >", "a BETWEEN 5 AND 1"])
def test_an_expression_that_makes_no_sense_stops_the_client(
    java_client: Client, topic: str, sql: str
) -> None:
    java_client.produce(topic, run="r", count=1, mode="sync")
    process = java_client.start("consume-push", topic=topic, group=f"{topic}-g", run="r", sql=sql)
    with process:
        line = process.wait_line(lambda each: '"error"' in each, DEADLINE_S)
    assert "CODE: 23" in line


def produce(client: Client, topic: str, first: int) -> None:
    sent = client.produce(
        topic, run="r", count=COUNT // 2, first=first, mode="sync", threads=2, binary=True, numbered=True
    )
    assert_all_sent(sent, COUNT // 2)


def assert_selected(consumer: Consumer, sql: str) -> None:
    """It gets the whole selection and nothing else; after a failure some of it twice."""
    wanted = [number for number in range(COUNT) if EXPRESSIONS[sql](number)]
    consumer.wait_seen(len(wanted), DEADLINE_S)
    result = consumer.stop()
    assert_received_intact(result)
    assert_none_missing(consumer.seen, wanted)
    assert consumer.seen == set(wanted)
