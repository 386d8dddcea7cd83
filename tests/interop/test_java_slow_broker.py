"""Two brokers under one name server, and one of them stands still: Java producers turn to the other for a while."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.drivers import Client, event_of
from tests.support.endpoints import JAVA, UNDER_TEST, start_java, start_shmq
from tests.support.java import JavaBroker, JavaNameServer, mqadmin
from tests.support.shmq_process import ShmqBroker, ShmqNameServer
from tests.support.verdict import assert_none_missing, assert_received_intact

pytestmark = pytest.mark.interop

COUNT = 4000
THREADS = 4
# A failed send keeps its broker out for ten seconds at least: each thread fails once or twice, not for each message.
REPEATED_MAX = 3 * THREADS
DEADLINE_S = 90.0
TOPIC = "two-brokers"

Brokers = tuple[JavaBroker, JavaBroker] | tuple[ShmqBroker, ShmqBroker]


@pytest.fixture(params=UNDER_TEST)
def kind(request: pytest.FixtureRequest) -> str:
    """Whose name server and brokers."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def namesrv_address(kind: str, tmp_path: Path) -> Iterator[str]:
    """A name server alone."""
    server = (JavaNameServer if kind == JAVA else ShmqNameServer)(tmp_path / "namesrv")
    try:
        yield server.address
    finally:
        server.process.kill()


@pytest.fixture
def brokers(kind: str, namesrv_address: str, tmp_path: Path) -> Iterator[Brokers]:
    """Two brokers."""
    start = start_java if kind == JAVA else start_shmq
    made = []
    try:
        made = [
            start(tmp_path / name, namesrv_address, broker_name=f"{name}-{kind}") for name in ("one", "two")
        ]
        yield made[0], made[1]
    finally:
        for broker in made:
            (broker.discard if isinstance(broker, ShmqBroker) else broker.kill)()


@pytest.mark.feature("Latency fault tolerance: a broker that stands still")
def test_producers_leave_a_broker_that_stands_still_and_nothing_is_missing(
    brokers: Brokers, namesrv_address: str, java_version: str, tmp_path: Path
) -> None:
    topic = ("-c", "DefaultCluster", "-t", TOPIC)
    mqadmin(
        namesrv_address, tmp_path / "mqadmin", "updateTopic", *topic
    )  # the first message makes it on one broker
    client = Client(java_version, namesrv_address, tmp_path / "clients")
    producer = client.start(
        "produce",
        topic=TOPIC,
        group="producers",
        run="r",
        count=COUNT,
        mode="until-stored",
        threads=THREADS,
        latency_fault=True,
        timeout_ms=1000,
        progress=True,
        binary=True,
    )
    with producer:
        reached = set()
        while len(reached) < 2:
            reached.add(event_of(producer, "progress", DEADLINE_S)["broker"])
        _signal(brokers[0], signal.SIGSTOP)
        result = event_of(producer, "result", DEADLINE_S)
        _signal(brokers[0], signal.SIGCONT)
        assert producer.wait_exit(DEADLINE_S) == 0
    assert result["sent"] == COUNT
    assert 0 < result["repeated"] <= REPEATED_MAX
    consumer = client.consume(TOPIC, group="consumers", run="r", binary=True)
    with consumer.process:
        consumer.wait_seen(COUNT, DEADLINE_S)
        received = consumer.stop()
    assert_received_intact(received)
    assert_none_missing(consumer.seen, range(COUNT))


def _signal(broker: JavaBroker | ShmqBroker, number: int) -> None:
    """Have a broker stand still, or go on: of shmq the worker to which clients speak."""
    if isinstance(broker, ShmqBroker):
        broker.worker("net-0").send_signal(number)
    else:
        broker.process.signal(number)
