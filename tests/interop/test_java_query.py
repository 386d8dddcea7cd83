"""Java clients find messages by their keys and ids, and so does RocketMQ's own administration tool."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.drivers import Client
from tests.support.endpoints import Endpoint
from tests.support.java import mqadmin
from tests.support.mishaps import kill_dispatcher
from tests.support.verdict import assert_all_sent
from tests.support.waiting import eventually

pytestmark = pytest.mark.interop

COUNT = 10_000
ANSWERED_MAX = 64
SHARED = "订单"
LAST = f"k{COUNT - 1}"
SECOND_MS = 1000


def _send(client: Client, topic: str, endpoint: Endpoint) -> None:
    """Send messages that have two keys each, and wait until the last one can be found.

    Who finds them for queues and by keys is killed meanwhile.
    """
    mishap = partial(kill_dispatcher, endpoint)
    sent = client.produce(
        topic, run="r", count=COUNT, mode="sync", binary=True, shared_key=SHARED, amid=mishap
    )
    assert_all_sent(sent, COUNT)
    eventually(lambda: client.query(topic, key=LAST, binary=True))


def _numbers(found: list[dict[str, Any]], topic: str) -> list[int]:
    """The numbers of messages that are what was sent."""
    for each in found:
        number = each["number"]
        assert each["is_whole"]
        assert (each["topic"], each["keys"]) == (topic, f"k{number} {SHARED}-{number % 10}")
    return [each["number"] for each in found]


@pytest.mark.feature("Query by key")
def test_each_key_finds_its_messages(java_client: Client, topic: str, endpoint: Endpoint) -> None:
    _send(java_client, topic, endpoint)

    def numbers(key: str, **options: object) -> list[int]:
        return _numbers(java_client.query(topic, key=key, binary=True, **options), topic)

    assert numbers("k17") == [17]
    sharing = list(range(3, COUNT, 10))
    assert numbers(f"{SHARED}-3") == sharing[-ANSWERED_MAX:]
    assert numbers(f"{SHARED}-3", max=1000) == sharing[-ANSWERED_MAX:]
    assert numbers(f"{SHARED}-3", max=4) == sharing[-4:]
    assert numbers(f"k17 {SHARED}-7") == []
    assert numbers(SHARED) == []


@pytest.mark.feature("Query by key, within a time")
def test_a_key_finds_messages_of_a_time(java_client: Client, topic: str, endpoint: Endpoint) -> None:
    _send(java_client, topic, endpoint)
    key = f"{SHARED}-0"
    (first,) = java_client.query(topic, key="k0", binary=True)
    newest = java_client.query(topic, key=key, binary=True)
    since_ms, last_ms = newest[0]["stored_ms"], newest[-1]["stored_ms"]
    # Java's own broker knows whole seconds only, and is not asked for less.
    around = {"begin_ms": since_ms - SECOND_MS, "end_ms": last_ms + SECOND_MS}
    assert java_client.query(topic, key=key, binary=True, **around) == newest
    assert java_client.query(topic, key=key, binary=True, begin_ms=last_ms + 1) == []
    assert java_client.query(topic, key=key, binary=True, end_ms=first["stored_ms"] - SECOND_MS) == []


@pytest.mark.feature("Query by unique id and by offset id")
def test_a_message_is_viewed_by_either_of_its_ids(
    java_client: Client, topic: str, endpoint: Endpoint
) -> None:
    _send(java_client, topic, endpoint)
    (found,) = java_client.query(topic, key="k42", binary=True)
    assert java_client.query(topic, id=found["unique_id"], binary=True) == [found]
    assert java_client.query(topic, id=found["offset_id"], binary=True) == [found]
    unknown = found["unique_id"][:-4] + "FFFF"
    assert java_client.query(topic, id=unknown, binary=True) == []


@pytest.mark.feature("Query by key")
@pytest.mark.feature("Query by unique id and by offset id")
@pytest.mark.client("mqadmin 5.3.3")
def test_the_administration_tool_finds_messages(
    newest_java: Client, endpoint: Endpoint, topic: str, tmp_path: Path
) -> None:
    _send(newest_java, topic, endpoint)

    def printed(command: str, *arguments: str) -> str:
        return mqadmin(endpoint.namesrv_address, tmp_path / command, command, "-t", topic, *arguments)

    key = f"{SHARED}-5"
    found = newest_java.query(topic, key=key, binary=True)
    rows = [line.split() for line in printed("queryMsgByKey", "-k", key).splitlines()]
    expected = [[each["unique_id"], str(each["queue_id"]), str(each["queue_offset"])] for each in found]
    assert [row for row in rows if row in expected] == expected
    for command, name in (("queryMsgByUniqueKey", "unique_id"), ("queryMsgById", "offset_id")):
        lines = [line.split() for line in printed(command, "-i", found[0][name]).splitlines()]
        assert ["Queue", "ID:", str(found[0]["queue_id"])] in lines
        assert ["Queue", "Offset:", str(found[0]["queue_offset"])] in lines
        assert ["Topic:", topic] in lines


@pytest.mark.feature("Dump of a queue (queryCq)")
@pytest.mark.client("mqadmin 5.3.3")
def test_the_administration_tool_dumps_a_queue(
    newest_java: Client, endpoint: Endpoint, topic: str, tmp_path: Path
) -> None:
    _send(newest_java, topic, endpoint)

    def dumped(*arguments: str) -> list[str]:
        queue = ("-t", topic, "-q", "0", *arguments)
        return mqadmin(endpoint.namesrv_address, tmp_path / "queryCq", "queryCq", *queue).splitlines()

    lines = dumped("-i", "5", "-c", "3")
    bounds = next(line for line in lines if line.startswith("max: "))
    count = int(bounds.removeprefix("max: ").split(",")[0])
    assert bounds == f"max: {count}, min: 0"
    assert [line for line in lines if line.startswith("idx: ")] == ["idx: 5", "idx: 6", "idx: 7"]
    rows = [line for line in lines if line.startswith("ConsumeQueueData{")]
    assert len(rows) == 3
    assert all("eval=false, msg='null'}" in row for row in rows)
    last = dumped("-i", str(count - 1))
    assert [line for line in last if line.startswith("idx: ")] == [f"idx: {count - 1}"]
    group = dumped("-i", "0", "-c", "1", "-g", "nobody")
    assert f"nobody@{topic} is not online!" in group
