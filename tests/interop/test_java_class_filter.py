"""A Java consumer that uploads a filter and pulls through our filter server.

RocketMQ's brokers have no filter server since 4.3. Its client 4.9.8 still uploads to one; 5.5.0 has the call to subscribe
so, but does not upload any more.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shmq.sandbox.seccomp import is_supported
from tests.support.drivers import Client
from tests.support.endpoints import SHMQ, UNDER_TEST
from tests.support.shmq_process import ShmqBroker, ShmqFilterServer
from tests.support.verdict import assert_all_sent, assert_none_missing, assert_received_intact

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        SHMQ not in UNDER_TEST, reason="RocketMQ's own broker knows no filter server any more"
    ),
    pytest.mark.skipif(not is_supported(), reason="no sandbox is known for this machine"),
]

UPLOADING = "4.9.8"
COUNT = 2000
DEADLINE_S = 90.0
PYTHON = "def matches(message):\n    return int(message.properties['seq']) % 7 == 0 or message.properties.get('color') == 'blue'\n"
WANTED = {number for number in range(COUNT) if number % 7 == 0 or number % 3 == 1}


@pytest.fixture(scope="module")
def filtering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShmqBroker]:
    """A broker that takes a filter server."""
    started = ShmqBroker(tmp_path_factory.mktemp("class-filter"), settings={"filter_servers_max": 1})
    yield started
    started.stop()
    started.discard()


@pytest.mark.feature("Class filters in Python: filter server and its filter killed")
@pytest.mark.client("Java 4.9.8")
def test_a_consumer_gets_what_its_uploaded_filter_selects(
    filtering: ShmqBroker, tmp_path: Path, topic: str
) -> None:
    client = Client(UPLOADING, filtering.namesrv_address, tmp_path)
    filters = ShmqFilterServer(tmp_path / "first", filtering.address)
    try:
        produce(client, topic, 0)
        consumer = client.consume(topic, group=f"{topic}-g", run="r", binary=True, class_filter=PYTHON)
        with consumer.process:
            consumer.wait_seen(len(WANTED) // 3, DEADLINE_S)
            for inmate in filters.process.descendants():
                inmate.kill()
            filters.process.kill()
            filters = ShmqFilterServer(tmp_path / "second", filtering.address)
            produce(client, topic, COUNT // 2)
            consumer.wait_seen(len(WANTED), DEADLINE_S)
            result = consumer.stop()
        assert_received_intact(result)
        assert_none_missing(consumer.seen, WANTED)
    finally:
        filters.process.kill()


def produce(client: Client, topic: str, first: int) -> None:
    sent = client.produce(
        topic, run="r", count=COUNT // 2, first=first, mode="sync", threads=2, binary=True, numbered=True
    )
    assert_all_sent(sent, COUNT // 2)
