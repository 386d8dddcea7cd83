"""Transactions of Java producers: even numbers are committed, odd ones rolled back, every other pair after a check."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.drivers import Client
from tests.support.endpoints import (
    JAVA,
    SHMQ,
    UNDER_TEST,
    Endpoint,
    pairs_under_test,
    shared_endpoint,
    start_endpoint,
)
from tests.support.java import CLIENT_MODULES
from tests.support.mishaps import kill_conductor
from tests.support.processes import Process
from tests.support.verdict import assert_none_missing, assert_received_intact, assert_received_once

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

COUNT: Final = 2000
ORPHANS: Final = 200
DEADLINE_S: Final = 120.0
QUICK: Final = {
    "transactionTimeOut": "1000",
    "transactionCheckInterval": "1000",
    "transactionCheckMax": "1000",  # a loaded machine takes its time until a producer is there
}
PATIENT: Final = {"transactionTimeOut": "60000", "transactionCheckInterval": "60000"}
OLDEST, NEWEST = list(CLIENT_MODULES)
PAIRS = pairs_under_test([(JAVA, SHMQ), (SHMQ, JAVA)])


@pytest.fixture(scope="module", params=UNDER_TEST)
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A broker that asks soon, of these tests alone: they kill its processes."""
    with shared_endpoint(request.param, tmp_path_factory.mktemp(request.param), QUICK) as started:
        yield started


@pytest.mark.feature("Transactions: commit, rollback, unknown and checks, the conductor killed meanwhile")
def test_what_is_committed_comes_once_and_nothing_else(
    endpoint: Endpoint, java_client: Client, topic: str
) -> None:
    java_client.produce(topic, run="warm", count=1, mode="sync")
    consumer = java_client.consume(topic, group=f"{topic}-group", run="r", binary=True)
    producer = transact(java_client, topic, count=COUNT, threads=8)
    with consumer.process, producer:
        wait_for(producer, lambda got: got["sent"] >= COUNT // 3)
        kill_conductor(endpoint)
        wait_for(producer, lambda got: got["sent"] == COUNT and got["checked"] >= COUNT // 2)
        consumer.wait_seen(COUNT // 2, DEADLINE_S)
        finish(producer)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(0, COUNT, 2))
    assert result["foreign"] <= 1  # the warming message


@pytest.mark.client("Java 4.9.8")
@pytest.mark.client("Java 5.5.0")
@pytest.mark.feature(
    "Transactions: a producer dies, the broker is killed, another producer of the group is asked"
)
@pytest.mark.parametrize("kind", UNDER_TEST)
def test_another_producer_answers_for_one_that_died(tmp_path: Path, kind: str) -> None:
    topic, store = "orphans", tmp_path / "store"
    name = f"orphans-{os.getpid()}"
    with _Serving(kind, tmp_path / "1", store, name, QUICK) as first:
        die_in_the_middle(Client(OLDEST, first.namesrv_address, tmp_path / "1"), topic)
        first.kill()
    with _Serving(kind, tmp_path / "2", store, name, QUICK) as second:
        client = Client(NEWEST, second.namesrv_address, tmp_path / "2")
        result, seen = answer_and_read(client, topic)
    judge(kind, result, seen)


@pytest.mark.client("Java broker 5.3.3")
@pytest.mark.feature("Transactions: one broker's open half messages, checked and committed by the other")
@pytest.mark.parametrize(("writer", "reader"), PAIRS, ids=["-then-".join(pair) for pair in PAIRS])
def test_open_transactions_are_decided_at_the_other_broker(tmp_path: Path, writer: str, reader: str) -> None:
    topic, store = "exchanged", tmp_path / "store"
    name = f"transactions-{os.getpid()}"
    with _Serving(writer, tmp_path / "1", store, name, PATIENT) as first:
        die_in_the_middle(Client(NEWEST, first.namesrv_address, tmp_path / "1"), topic, undecided=True)
        first.stop()
    with _Serving(reader, tmp_path / "2", store, name, QUICK) as second:
        client = Client(NEWEST, second.namesrv_address, tmp_path / "2")
        result, seen = answer_and_read(client, topic)
    judge(reader, result, seen)


class _Serving:
    """A broker of one kind on the store."""

    def __init__(self, kind: str, directory: Path, store: Path, name: str, settings: dict[str, str]) -> None:
        self._endpoint = start_endpoint(
            kind, directory, store_root=store, broker_name=name, overrides=settings
        )

    def __enter__(self) -> Endpoint:
        return self._endpoint

    def __exit__(self, *_: object) -> None:
        self._endpoint.discard()


def transact(client: Client, topic: str, **options: object) -> Process:
    """Start a producer of transactions."""
    given = {"topic": topic, "run": "r", "group": f"{topic}-producers", "binary": True} | options
    return client.start("transact", **given)


def die_in_the_middle(client: Client, topic: str, *, undecided: bool = False) -> None:
    """Have a producer end between a half message and its decision, with nothing said."""
    with transact(client, topic, count=ORPHANS + 1, halt_at=ORPHANS, undecided=undecided) as producer:
        assert producer.wait_exit(DEADLINE_S) == 9


def answer_and_read(client: Client, topic: str) -> tuple[dict[str, Any], set[int]]:
    """Have another producer answer every check; return what a consumer counted, and saw."""
    consumer = client.consume(topic, group=f"{topic}-group", run="r", binary=True)
    producer = transact(client, topic, count=0)
    with consumer.process, producer:
        producer.wait_line(lambda line: line.startswith('{"event":"ready"'), DEADLINE_S)
        consumer.wait_seen(ORPHANS // 2 + 1, DEADLINE_S)
        assert finish(producer)["checked"] > 0
        result = consumer.stop()
    return result, consumer.seen


def judge(kind: str, result: dict[str, Any], seen: set[int]) -> None:
    """What was committed came, and from shmq once; RocketMQ's broker asks again before it notes what it was told."""
    expected = range(0, ORPHANS + 1, 2)
    if kind == SHMQ:
        assert_received_once(result, seen, expected)
    else:
        assert_received_intact(result)
        assert_none_missing(seen, expected)


def wait_for(producer: Process, is_wanted: Any) -> None:
    """Wait until a producer tells what is wanted."""

    def tells(line: str) -> bool:
        got = json.loads(line) if line.startswith("{") else {}
        assert not got.get("failures"), got
        return "sent" in got and bool(is_wanted(got))

    producer.wait_line(tells, DEADLINE_S)


def finish(producer: Process) -> dict[str, Any]:
    """Stop a producer in good order; return what it counted."""
    producer.say("stop")
    line = producer.wait_line(lambda line: line.startswith('{"event":"result"'), DEADLINE_S)
    assert producer.wait_exit(DEADLINE_S) == 0, line
    counted: dict[str, Any] = json.loads(line)
    return counted
