"""The drivers judge brokers, so they are judged first: each kind of fault that they look for is found."""

import pytest

from tests.support.drivers import CPP, Client
from tests.support.endpoints import Endpoint
from tests.support.java import CLIENT_MODULES
from tests.support.processes import ProcessError

pytestmark = pytest.mark.interop

COUNT = 200
DEADLINE_S = 60.0


@pytest.fixture(params=[*CLIENT_MODULES, CPP])
def client(
    request: pytest.FixtureRequest, endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Client:
    """Every kind of client in turn."""
    return Client(request.param, endpoint.namesrv_address, tmp_path_factory.mktemp("driver"))


def test_a_doubled_message_is_counted(client: Client, topic: str) -> None:
    client.produce(topic, run="r", count=COUNT, mode="sync")
    client.produce(topic, run="r", first=17, count=1, mode="sync")
    consumer = client.consume(topic, group=f"{topic}-group", run="r")
    with consumer.process:
        while consumer.received < COUNT + 1:
            consumer.wait_more(DEADLINE_S)
        assert consumer.stop()["doubled"] == [17]


def test_a_missing_message_is_missed(client: Client, topic: str) -> None:
    client.produce(topic, run="r", count=17, mode="sync")
    client.produce(topic, run="r", first=18, count=COUNT, mode="sync")
    consumer = client.consume(topic, group=f"{topic}-group", run="r")
    with consumer.process:
        consumer.wait_seen(17 + COUNT, DEADLINE_S)
        consumer.stop()
    assert set(range(18 + COUNT)) - consumer.seen == {17}


def test_a_body_that_differs_is_a_fault(client: Client, newest_java: Client, topic: str) -> None:
    newest_java.produce(topic, run="r", count=COUNT, mode="sync", binary=True)
    consumer = client.consume(topic, group=f"{topic}-group", run="r", binary=False)
    with consumer.process:
        consumer.wait_seen(COUNT, DEADLINE_S)
        with pytest.raises(ProcessError, match="found a fault"):
            consumer.stop()


def test_an_order_that_differs_is_an_inversion(client: Client, topic: str) -> None:
    mode = "ordered" if client.kind == CPP else "sync"
    client.produce(topic, run="r", first=8, count=1, mode=mode, shards=1)
    client.produce(topic, run="r", first=0, count=8, mode=mode, shards=1)
    consumer = client.consume(topic, group=f"{topic}-group", run="r", orderly=True, shards=1)
    with consumer.process:
        consumer.wait_seen(9, DEADLINE_S)
        with pytest.raises(ProcessError, match=r'"inversions": ?1'):
            consumer.stop()
