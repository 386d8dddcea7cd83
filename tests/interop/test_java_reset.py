"""Offsets that are reset by the administration tool while Java consumers run, in both of RocketMQ's ways."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.drivers import Client, Consumer
from tests.support.endpoints import UNDER_TEST, Endpoint, start_endpoint
from tests.support.java import CLIENT_MODULES, mqadmin
from tests.support.mishaps import kill_conductor, kill_worker
from tests.support.verdict import assert_all_sent, assert_none_missing, assert_received_intact

pytestmark = pytest.mark.interop

HALF = 1000
QUEUES = 8
DEADLINE_S = 90.0
TOPIC = "reset"
# Clients take ten seconds over a reset; sooner than at 20 s they share the queues anew only if they are told to.
REBALANCE_MS = 1000


@pytest.fixture(params=[True, False], ids=["by-the-broker", "by-the-clients"])
def is_by_broker(request: pytest.FixtureRequest) -> bool:
    """Which way is set."""
    chosen: bool = request.param
    return chosen


@pytest.fixture(params=UNDER_TEST)
def endpoint(request: pytest.FixtureRequest, tmp_path: Path, *, is_by_broker: bool) -> Iterator[Endpoint]:
    """A broker that is set so."""
    settings = {"useServerSideResetOffset": str(is_by_broker).lower()}
    started = start_endpoint(request.param, tmp_path / "endpoint", overrides=settings)
    try:
        yield started
    finally:
        started.discard()


@pytest.mark.feature("Offsets reset while running (resetOffsetByTime)")
@pytest.mark.feature("Backlog skipped while running (skipAccumulatedMessage)")
@pytest.mark.client("Java 4.9.8")
@pytest.mark.client("Java 5.5.0")
@pytest.mark.client("mqadmin 5.3.3")
def test_consumers_that_run_begin_anew_where_the_tool_says(
    newest_java: Client, endpoint: Endpoint, tmp_path: Path, *, is_by_broker: bool
) -> None:
    newest_java.produce(TOPIC, run="warm", count=1, mode="sync")
    first_half = newest_java.produce(TOPIC, run="r", count=HALF, mode="batch", binary=True)
    assert_all_sent(first_half, HALF)
    time.sleep(0.01)  # a time of its own lies between the halves
    between_ms = time.time_ns() // 1_000_000
    _send(newest_java, first=HALF)
    clients = [replace(newest_java, kind=kind) for kind in CLIENT_MODULES]
    readers = [_start(client, _group("reader", client)) for client in clients]
    slow = [_start(client, _group("slow", client), listener_ms=400) for client in clients]
    for reader in readers:
        reader.wait_seen(2 * HALF, DEADLINE_S)
    for each in slow:
        each.wait_seen(1, DEADLINE_S)
    time.sleep(5.0 if not is_by_broker else 0.0)  # until offsets are committed, which that way needs
    for client in clients:
        again = ("-g", _group("reader", client), "-t", TOPIC, "-s", str(between_ms))
        _run(endpoint, tmp_path, "resetOffsetByTime", *again)
        _run(endpoint, tmp_path, "skipAccumulatedMessage", "-g", _group("slow", client), "-t", TOPIC)
    kill_conductor(endpoint)
    kill_worker(endpoint)
    _send(newest_java, first=2 * HALF)
    new = set(range(2 * HALF, 3 * HALF))
    for reader in readers:
        reader.wait_received(4 * HALF, DEADLINE_S)
        result = reader.stop()
        reader.process.kill()
        assert_received_intact(result)
        assert_none_missing(reader.seen, range(3 * HALF))
        again_seen = set(result["doubled"])
        assert set(range(HALF, 2 * HALF)) <= again_seen, "the second half, anew"
        assert not again_seen & set(range(HALF)), "and nothing before it"
    for each in slow:
        each.wait_until(lambda each=each: len(each.seen & new) >= 50, DEADLINE_S)
        each.process.kill()
        assert len(each.seen - new) < HALF, "what had piled up was skipped"


def _group(what: str, client: Client) -> str:
    """A group of one client's, in characters that groups may have."""
    return f"{what}-{client.kind.replace('.', '-')}"


def _start(client: Client, group: str, **options: object) -> Consumer:
    consumer = client.consume(TOPIC, group=group, run="r", binary=True, rebalance_ms=REBALANCE_MS, **options)
    consumer.wait_assigned(QUEUES)
    return consumer


def _send(client: Client, *, first: int) -> None:
    sent = client.produce(TOPIC, run="r", count=HALF, first=first, mode="batch", binary=True)
    assert_all_sent(sent, HALF)


def _run(endpoint: Endpoint, home: Path, command: str, *arguments: str) -> None:
    said = mqadmin(endpoint.namesrv_address, home / "mqadmin", command, *arguments)
    assert "#offset" in said, said
