"""Name servers and brokers of both kinds, crossed: a broker registers, a client finds it, and it is forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.drivers import Client
from tests.support.endpoints import JAVA, SHMQ, Endpoint, pairs_under_test, start_java, start_shmq
from tests.support.java import JavaNameServer
from tests.support.shmq_process import ShmqNameServer
from tests.support.verdict import assert_all_sent, assert_bounds, assert_received_once

pytestmark = pytest.mark.interop

COUNT = 10_000
DEADLINE_S = 90.0
GONE_DEADLINE_S = 60.0

PAIRS = pairs_under_test([(JAVA, JAVA), (SHMQ, JAVA), (JAVA, SHMQ), (SHMQ, SHMQ)])


@pytest.fixture(params=PAIRS, ids=["-names-".join(pair) for pair in PAIRS])
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The kinds of the name server and of the broker."""
    kinds: tuple[str, str] = request.param
    return kinds


@pytest.fixture
def namesrv_address(pair: tuple[str, str], tmp_path: Path) -> Iterator[str]:
    """A name server alone."""
    start = JavaNameServer if pair[0] == JAVA else ShmqNameServer
    name_server = start(tmp_path / "namesrv")
    try:
        yield name_server.address
        name_server.stop()
    finally:
        name_server.process.kill()


@pytest.mark.feature("Broker and name server of either kind")
@pytest.mark.client("Java broker 5.3.3")
@pytest.mark.client("Java name server 5.3.3")
def test_a_client_finds_the_broker_that_registered(
    pair: tuple[str, str], namesrv_address: str, java_version: str, tmp_path: Path
) -> None:
    start = start_java if pair[1] == JAVA else start_shmq
    broker = start(tmp_path / "broker", namesrv_address)
    client = Client(java_version, namesrv_address, tmp_path)
    try:
        sent = client.produce("crossed", run="r", count=COUNT, mode="async", threads=2, binary=True)
        assert_all_sent(sent, COUNT)
        consumer = client.consume("crossed", group="crossed-group", run="r", binary=True)
        with consumer.process:
            consumer.wait_seen(COUNT, DEADLINE_S)
            result = consumer.stop()
        assert_received_once(result, consumer.seen, range(COUNT))
        assert_bounds(client.queue_bounds("crossed", group="crossed-group"), COUNT, committed=True)
        broker.stop()
    finally:
        Endpoint(namesrv_address, broker).discard()
    refused = client.start("produce", topic="crossed", run="r", count=1, mode="sync", group="late")
    with refused:
        line = refused.wait_line(lambda text: '"result"' in text, GONE_DEADLINE_S)
        assert refused.wait_exit(GONE_DEADLINE_S) == 1
    assert "No route info of this topic" in line
