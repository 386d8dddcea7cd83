"""One store, two brokers by turns: what either has written, the other serves and continues."""

import os
from pathlib import Path

import pytest

from tests.support.drivers import Client
from tests.support.endpoints import JAVA, SHMQ, Endpoint, pairs_under_test, start_endpoint
from tests.support.java import CLIENT_MODULES
from tests.support.verdict import (
    assert_all_sent,
    assert_bounds,
    assert_offsets_without_gap,
    assert_received_once,
)
from tests.support.waiting import eventually

# Three brokers of the slower kind start and stop here, and four times ten thousand messages go through them.
pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

COUNT = 10_000
DEADLINE_S = 90.0
ANSWERED_MAX = 64
BROKER_NAME = f"exchange-{os.getpid()}"
TOPIC = "exchanged"
NEWEST = list(CLIENT_MODULES)[-1]

PAIRS = pairs_under_test([(JAVA, JAVA), (SHMQ, JAVA), (JAVA, SHMQ)])


@pytest.mark.feature("Store exchange: clean stop")
@pytest.mark.client("Java broker 5.3.3")
@pytest.mark.parametrize(("writer", "reader"), PAIRS, ids=["-then-".join(pair) for pair in PAIRS])
def test_a_store_left_in_order_is_served_and_continued(tmp_path: Path, writer: str, reader: str) -> None:
    store = tmp_path / "store"
    group = "kept-group"
    with _Serving(writer, tmp_path / "1", store) as endpoint:
        client = Client(NEWEST, endpoint.namesrv_address, tmp_path / "clients-1")
        _send(client, "first")
        _read_all(client, group, "first")
        _find_all(client, "first")
    with _Serving(reader, tmp_path / "2", store) as endpoint:
        client = Client(NEWEST, endpoint.namesrv_address, tmp_path / "clients-2")
        assert_bounds(client.queue_bounds(TOPIC, group=group), COUNT, committed=True)
        _read_all(client, "new-group", "first")
        _find_all(client, "first")
        _send(client, "second")
        _find_all(client, "second")
        result = _read_all(client, group, "second")
        assert result["foreign"] == 0, "the committed offsets were not taken over"
    with _Serving(writer, tmp_path / "3", store) as endpoint:
        client = Client(NEWEST, endpoint.namesrv_address, tmp_path / "clients-3")
        assert_bounds(client.queue_bounds(TOPIC, group=group), 2 * COUNT, committed=True)
        _read_all(client, "last-group-1", "first")
        result = _read_all(client, "last-group-2", "second")
        assert result["foreign"] == COUNT
        assert_offsets_without_gap(result)
        _find_all(client, "first", "second")


@pytest.mark.feature("Store exchange: killed broker")
@pytest.mark.client("Java broker 5.3.3")
@pytest.mark.parametrize(("writer", "reader"), PAIRS, ids=["-then-".join(pair) for pair in PAIRS])
def test_a_store_left_by_a_killed_broker_is_recovered(tmp_path: Path, writer: str, reader: str) -> None:
    store = tmp_path / "store"
    with _Serving(writer, tmp_path / "1", store) as endpoint:
        client = Client(NEWEST, endpoint.namesrv_address, tmp_path / "clients-1")
        _send(client, "first")
        endpoint.kill()
    assert (store / "abort").exists()
    with _Serving(reader, tmp_path / "2", store) as endpoint:
        client = Client(NEWEST, endpoint.namesrv_address, tmp_path / "clients-2")
        _read_all(client, "group-1", "first")
        _send(client, "second")
        result = _read_all(client, "group-2", "second")
        assert result["foreign"] == COUNT
        assert_offsets_without_gap(result)
        _find_all(client, "first", "second")


class _Serving:
    """A broker of one kind on the store, stopped in good order unless it was killed."""

    def __init__(self, kind: str, directory: Path, store: Path) -> None:
        self._endpoint = start_endpoint(kind, directory, store_root=store, broker_name=BROKER_NAME)

    def __enter__(self) -> Endpoint:
        return self._endpoint

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._endpoint.broker.process.is_running:
                self._endpoint.stop()
        finally:
            self._endpoint.discard()


def _send(client: Client, run: str) -> None:
    sent = client.produce(TOPIC, run=run, count=COUNT, mode="async", threads=2, binary=True, shared_key=run)
    assert_all_sent(sent, COUNT)


def _read_all(client: Client, group: str, run: str) -> dict[str, object]:
    consumer = client.consume(TOPIC, group=group, run=run, binary=True, shared_key=run)
    with consumer.process:
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(COUNT))
    return result


def _find_all(client: Client, *runs: str) -> None:
    """Find messages of these runs by a key that many have, and by one that each run has once."""
    for run in runs:
        wanted = set(range(3, COUNT, 10))

        def is_found(run: str = run, wanted: set[int] = wanted) -> bool:
            found = [each["number"] for each in client.query(TOPIC, key=f"{run}-3", binary=True)]
            assert set(found) <= wanted
            return len(set(found)) == len(found) == ANSWERED_MAX

        eventually(is_found)  # the index follows the log
    last = f"k{COUNT - 1}"
    eventually(lambda: len(client.query(TOPIC, key=last, binary=True)) >= len(runs))
    assert {each["number"] for each in client.query(TOPIC, key=last, binary=True)} == {COUNT - 1}
