"""RocketMQ's administration tool has old files deleted; its clients go on, and so does its broker on what is left."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from shmq.store.queue_entry import LAYOUT as QUEUE_ENTRY
from shmq.store.segment import list_starts
from tests.support.drivers import Client
from tests.support.endpoints import JAVA, SHMQ, UNDER_TEST, Endpoint, pairs_under_test, start_endpoint
from tests.support.java import CLIENT_MODULES, mqadmin
from tests.support.verdict import assert_all_sent, assert_received_intact
from tests.support.waiting import eventually

# Java's broker looks for old files not before a minute has passed.
pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

COUNT: Final = 10_000
LOG_FILE_BYTES: Final = 512 << 10
CLEAN_DEADLINE_S: Final = 120.0
DEADLINE_S: Final = 90.0
OLD_S: Final = 5 * 86_400
TOPIC: Final = "aged"
BROKER_NAME: Final = f"aged-{os.getpid()}"
NEWEST: Final = list(CLIENT_MODULES)[-1]
PAIRS: Final = pairs_under_test([(JAVA, JAVA), (SHMQ, JAVA), (JAVA, SHMQ)])


@contextmanager
def _serving(kind: str, directory: Path, store: Path) -> Iterator[tuple[Endpoint, Client]]:
    """A broker of one kind on the store, with small files, which deletes by itself at another time of the day only."""
    overrides = {
        "mappedFileSizeCommitLog": str(LOG_FILE_BYTES),
        "cleanResourceInterval": "500",
        "deleteWhen": f"{(time.localtime().tm_hour + 12) % 24:02d}",
        "diskMaxUsedSpaceRatio": "95",
        "cleanFileForciblyEnable": "false",
    }
    endpoint = start_endpoint(kind, directory, store_root=store, broker_name=BROKER_NAME, overrides=overrides)
    try:
        yield endpoint, Client(NEWEST, endpoint.namesrv_address, directory / "clients")
        endpoint.stop()
    finally:
        endpoint.discard()


def _send(client: Client, run: str) -> None:
    sent = client.produce(TOPIC, run=run, count=COUNT, mode="async", threads=2, binary=True, shared_key=run)
    assert_all_sent(sent, COUNT)


def _trim(
    endpoint: Endpoint, client: Client, store: Path, home: Path, files: int
) -> dict[str, dict[str, int]]:
    """Have the oldest files deleted by the administration tool; return the bounds of queues then.

    Files go one by one, and queues may be corrected after each: the bounds are waited for.
    """
    commit_log = store / "commitlog"
    starts = list_starts(commit_log, LOG_FILE_BYTES)
    assert len(starts) > files + 1
    for start in starts[:files]:
        path = commit_log / f"{start:020d}"
        seconds = path.stat().st_mtime - OLD_S
        os.utime(path, (seconds, seconds))
    printed = mqadmin(endpoint.namesrv_address, home, "deleteExpiredCommitLog", "-b", endpoint.broker.address)
    assert "success" in printed
    before = client.queue_bounds(TOPIC, group="any")
    eventually(lambda: list_starts(commit_log, LOG_FILE_BYTES)[0] == starts[files], CLEAN_DEADLINE_S)
    trimmed = {name: _first_kept(store, name, starts[files]) for name in before}
    bounds: dict[str, dict[str, int]] = {}

    def is_corrected() -> bool:
        bounds.update(client.queue_bounds(TOPIC, group="any"))
        return {name: queue["min"] for name, queue in bounds.items()} == trimmed

    eventually(is_corrected, CLEAN_DEADLINE_S)
    for name, queue in bounds.items():
        assert queue["max"] == before[name]["max"]
        assert queue["found_at_0"] == queue["min"]
    return bounds


def _first_kept(store: Path, queue: str, log_start: int) -> int:
    """Return the first offset of a queue whose record is at the log's start or after it.

    Files are looked at from the newest on: older ones are being deleted.
    """
    queue_id = queue.rpartition(":")[2]
    first = 0
    for path in sorted((store / "consumequeue" / TOPIC / queue_id).iterdir(), reverse=True):
        entries = np.fromfile(path, QUEUE_ENTRY)
        positions = entries["position"][entries["record_size"] > 0]
        before = int(np.searchsorted(positions, log_start))
        if len(positions):
            first = int(path.name) // QUEUE_ENTRY.itemsize + before
        if before:
            break
    return first


def _read_all(client: Client, group: str, run: str, bounds: dict[str, dict[str, int]]) -> dict[str, Any]:
    """Consume all that the queues show."""
    count = sum(queue["max"] - queue["min"] for queue in bounds.values())
    consumer = client.consume(TOPIC, group=group, run=run, binary=True, shared_key=run)
    with consumer.process:
        consumer.wait_seen(count, DEADLINE_S)
        result = consumer.stop()
    assert_received_intact(result)
    assert len(consumer.seen) == count
    for name, queue in bounds.items():
        if queue["max"] > queue["min"]:
            read = result["queues"][name]
            assert (read["first"], read["last"]) == (queue["min"], queue["max"] - 1), (name, queue, read)
    return dict(result)


@pytest.mark.feature("Retention by the administration tool")
@pytest.mark.client("mqadmin 5.3.3")
@pytest.mark.parametrize("kind", UNDER_TEST)
def test_the_administration_tool_deletes_what_is_old(tmp_path: Path, kind: str) -> None:
    store = tmp_path / "store"
    with _serving(kind, tmp_path, store) as (endpoint, client):
        _send(client, "first")
        eventually(lambda: client.query(TOPIC, key=f"k{COUNT - 1}", binary=True))
        (oldest,) = client.query(TOPIC, key="k0", binary=True)
        bounds = _trim(endpoint, client, store, tmp_path / "delete", files=3)
        assert sum(queue["max"] - queue["min"] for queue in bounds.values()) < COUNT
        _read_all(client, "after", "first", bounds)
        assert client.query(TOPIC, key="k0", binary=True) == []
        assert client.query(TOPIC, key=f"k{COUNT - 1}", binary=True)
        assert oldest["number"] == 0

        def printed(command: str, *arguments: str) -> str:
            return mqadmin(endpoint.namesrv_address, tmp_path / command, command, *arguments)

        broker = ("-b", endpoint.broker.address)
        assert "success" in printed("cleanExpiredCQ", *broker)
        assert client.queue_bounds(TOPIC, group="any") == bounds
        status = printed("brokerStatus", *broker)
        first = list_starts(store / "commitlog", LOG_FILE_BYTES)[0]
        assert [line.split()[-1] for line in status.splitlines() if "commitLogMinOffset" in line] == [
            str(first)
        ]
        assert "commitLogDiskRatio" in status
        assert "consumeQueueDiskRatio" in status
        printed("deleteTopic", "-c", "DefaultCluster", "-t", TOPIC)
        assert "success" in printed("cleanUnusedTopic", *broker)
        eventually(lambda: not (store / "consumequeue" / TOPIC).exists())


@pytest.mark.feature("Store exchange: trimmed")
@pytest.mark.client("Java broker 5.3.3")
@pytest.mark.parametrize(("writer", "reader"), PAIRS, ids=["-then-".join(pair) for pair in PAIRS])
def test_what_one_broker_has_trimmed_the_other_serves_and_continues(
    tmp_path: Path, writer: str, reader: str
) -> None:
    store = tmp_path / "store"
    with _serving(writer, tmp_path / "1", store) as (endpoint, client):
        _send(client, "first")
        bounds = _trim(endpoint, client, store, tmp_path / "delete", files=3)
    with _serving(reader, tmp_path / "2", store) as (_, client):
        found = client.queue_bounds(TOPIC, group="any")
        assert {name: (each["min"], each["max"]) for name, each in found.items()} == {
            name: (each["min"], each["max"]) for name, each in bounds.items()
        }
        _read_all(client, "second-broker", "first", bounds)
        _send(client, "second")
        eventually(lambda: client.query(TOPIC, key=f"k{COUNT - 1}", binary=True))
    with _serving(writer, tmp_path / "3", store) as (_, client):
        found = client.queue_bounds(TOPIC, group="any")
        for name, queue in found.items():
            assert queue["min"] == bounds[name]["min"]
        assert sum(queue["max"] for queue in found.values()) == 2 * COUNT
