"""Offsets that are reset by the administration tool while Java and C++ consumers run, in both of RocketMQ's ways."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from shmq.wire.codes import RequestCode
from shmq.wire.command import Command
from shmq.wire.members import read_object
from tests.support.drivers import CPP, Client, Consumer
from tests.support.endpoints import UNDER_TEST, Endpoint, start_endpoint
from tests.support.java import CLIENT_MODULES, mqadmin
from tests.support.mishaps import kill_conductor, kill_worker
from tests.support.remote import Remote
from tests.support.verdict import assert_none_missing, assert_received_intact
from tests.support.waiting import eventually

pytestmark = pytest.mark.interop

HALF = 1000
QUEUES = 8
# Eight threads of a consumer take minutes over what has piled up, however long the tool needs.
LISTENER_MS = 2000
SLOWLY_SEEN = 16
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


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """What is entered here ends with the test."""
    with ExitStack() as entered:
        yield entered


@pytest.mark.feature("Offsets reset while running (resetOffsetByTime)")
@pytest.mark.feature("Backlog skipped while running (skipAccumulatedMessage)")
@pytest.mark.client("Java 4.9.8")
@pytest.mark.client("Java 5.5.0")
@pytest.mark.client("mqadmin 5.3.3")
def test_consumers_that_run_begin_anew_where_the_tool_says(
    newest_java: Client, endpoint: Endpoint, running: ExitStack, tmp_path: Path, *, is_by_broker: bool
) -> None:
    """The conductor dies when it has answered the tool, a network worker when all have begun anew.

    Not sooner: a client may take ten seconds to begin anew, and says then where it does once and one way: a word that a
    dying worker takes along is not said again, to whatever broker.
    """
    newest_java.produce(TOPIC, run="warm", count=1, mode="sync")
    _send(newest_java, first=0)
    between_ms = _next_ms()
    _send(newest_java, first=HALF)
    patient = [replace(newest_java, kind=kind) for kind in CLIENT_MODULES]
    clients = [*patient, replace(newest_java, kind=CPP)]
    readers = [_start(running, client, _group("reader", client)) for client in clients]
    # Not of C++: it goes on with all that it has, whatever it is told of what lies before it.
    slow = [_start(running, client, _group("slow", client), listener_ms=LISTENER_MS) for client in patient]
    for reader in readers:
        reader.wait_seen(2 * HALF, DEADLINE_S)
    for each in slow:
        each.wait_seen(1, DEADLINE_S)
    if not is_by_broker:  # clients are told of the queues in which their group has committed
        for group in (
            *(_group("reader", each) for each in clients),
            *(_group("slow", each) for each in patient),
        ):
            eventually(partial(_has_committed, endpoint, group), DEADLINE_S)
    for client in clients:
        again = ("-g", _group("reader", client), "-t", TOPIC, "-s", str(between_ms))
        _run(endpoint, tmp_path, "resetOffsetByTime", *again)
    for client in patient:
        _run(endpoint, tmp_path, "skipAccumulatedMessage", "-g", _group("slow", client), "-t", TOPIC)
    kill_conductor(endpoint)
    _send(newest_java, first=2 * HALF)
    for reader in readers:
        reader.wait_received(4 * HALF, DEADLINE_S)
    new = set(range(2 * HALF, 3 * HALF))
    for each in slow:
        each.wait_until(lambda each=each: bool(each.seen & new), DEADLINE_S)
    _judge(readers.pop(), 3 * HALF)  # without its worker it would wait for half a minute
    kill_worker(endpoint)
    _send(newest_java, first=3 * HALF)
    for reader in readers:
        reader.wait_seen(4 * HALF, DEADLINE_S)
        _judge(reader, 4 * HALF)
    new |= set(range(3 * HALF, 4 * HALF))
    for each in slow:
        each.wait_until(lambda each=each: len(each.seen & new) >= SLOWLY_SEEN, DEADLINE_S)
        assert len(each.seen - new) < HALF, "what had piled up was skipped"


def _judge(reader: Consumer, count: int) -> None:
    """It has all that was sent, the second half twice, and nothing before that twice."""
    result = reader.stop()
    assert_received_intact(result)
    assert_none_missing(reader.seen, range(count))
    again = set(result["doubled"])
    assert set(range(HALF, 2 * HALF)) <= again, "the second half, anew"
    assert not again & set(range(HALF)), "and nothing before it"


def _next_ms() -> int:
    """A time of its own: no message is of it, since none is sent before it is over."""
    before_ms = time.time_ns() // 1_000_000
    while (now_ms := time.time_ns() // 1_000_000) < before_ms + 2:
        pass
    return now_ms - 1


def _has_committed(endpoint: Endpoint, group: str) -> bool:
    """Whether a group has committed an offset in each queue."""
    with Remote(endpoint.broker.address) as remote:
        table = read_object(remote.call(Command(RequestCode.GET_ALL_CONSUMER_OFFSET)).body)["offsetTable"]
    return len(table.get(f"{TOPIC}@{group}", ())) == QUEUES


def _group(what: str, client: Client) -> str:
    """A group of one client's, in characters that groups may have."""
    return f"{what}-{client.kind.replace('.', '-').replace('+', 'p')}"


def _start(running: ExitStack, client: Client, group: str, **options: object) -> Consumer:
    consumer = client.consume(TOPIC, group=group, run="r", rebalance_ms=REBALANCE_MS, **options)
    running.enter_context(consumer.process)
    if client.kind != CPP:  # which does not tell
        consumer.wait_assigned(QUEUES)
    return consumer


def _send(client: Client, *, first: int) -> None:
    """Send until all is stored: a process of the broker may just be gone."""
    sent = client.produce(TOPIC, run="r", count=HALF, first=first, mode="until-stored", threads=4)
    assert sent["sent"] == HALF


def _run(endpoint: Endpoint, home: Path, command: str, *arguments: str) -> None:
    said = mqadmin(endpoint.namesrv_address, home / "mqadmin", command, *arguments)
    assert "#offset" in said, said
