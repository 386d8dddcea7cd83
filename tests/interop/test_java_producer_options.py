"""What Java producers can be set to: compression, namespaces, message traces; and ids of their own."""

from functools import partial
from pathlib import Path

import pytest

from shmq.wire.flags import MESSAGE_COMPRESSED
from tests.support.drivers import Client
from tests.support.endpoints import Endpoint
from tests.support.java import mqadmin
from tests.support.mishaps import kill_worker
from tests.support.remote import Remote
from tests.support.verdict import assert_none_missing, assert_received_intact
from tests.support.waiting import eventually

pytestmark = pytest.mark.interop

COUNT = 1000
QUEUES = 8
DEADLINE_S = 90.0


def _send_with_a_failure(client: Client, topic: str, endpoint: Endpoint, **options: object) -> None:
    """Send in two halves, with a network worker killed between them: no trace is under way then, to be lost."""
    for first in (0, COUNT // 2):
        sent = client.produce(
            topic,
            run="r",
            count=COUNT // 2,
            first=first,
            mode="until-stored",
            threads=2,
            binary=True,
            **options,
        )
        assert sent["failure_count"] == 0, sent["failures"]
        assert sent["sent"] == COUNT // 2
        assert sent["unique_ids"] == COUNT // 2
        kill_worker(endpoint)


def _read(client: Client, topic: str, **options: object) -> None:
    consumer = client.consume(topic, group=f"{topic}-group", run="r", binary=True, **options)
    with consumer.process:
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_intact(result)
    assert_none_missing(consumer.seen, range(COUNT))


@pytest.mark.parametrize(
    ("kind", "type_bits"),
    [
        pytest.param("LZ4", 1, marks=pytest.mark.feature("Compression: lz4")),
        pytest.param("ZSTD", 2, marks=pytest.mark.feature("Compression: zstd")),
        pytest.param("ZLIB", 3, marks=pytest.mark.feature("Compression: zlib")),
    ],
)
def test_what_a_producer_compresses_is_stored_so_and_read_whole(
    newest_java: Client, topic: str, endpoint: Endpoint, kind: str, type_bits: int
) -> None:
    sent = newest_java.produce(
        topic,
        run="r",
        count=COUNT,
        mode="until-stored",
        threads=2,
        binary=True,
        compress_type=kind,
        compress_over=64,
        amid=partial(kill_worker, endpoint),
    )
    assert (sent["sent"], sent["unique_ids"], sent["failure_count"]) == (COUNT, COUNT, 0)
    with Remote(endpoint.broker.address) as remote:
        messages = [each for queue in range(QUEUES) for each in remote.read_queue(topic, queue)]
    compressed = [each for each in messages if each.sys_flag & MESSAGE_COMPRESSED]
    assert len(compressed) > COUNT // 2
    assert {each.sys_flag >> 8 & 7 for each in compressed} == {type_bits}
    _read(newest_java, topic)


@pytest.mark.feature("Compression: zlib")
@pytest.mark.feature("Namespace prefixes")
@pytest.mark.feature("Unique keys")
@pytest.mark.feature("Message trace (queryMsgTraceById)")
def test_a_namespace_a_trace_and_ids_go_with_the_messages(
    java_client: Client, topic: str, endpoint: Endpoint, tmp_path: Path
) -> None:
    options = {"namespace": "stage", "trace": True, "compress_over": 64}
    _send_with_a_failure(java_client, topic, endpoint, **options)
    _read(java_client, topic, namespace="stage", trace=True)
    whole_name = f"stage%{topic}"
    (found,) = java_client.query(whole_name, key="k42", binary=True)
    assert java_client.query(whole_name, id=found["unique_id"], binary=True) == [found]

    def traced() -> str:
        arguments = ("-i", found["unique_id"])
        return mqadmin(endpoint.namesrv_address, tmp_path / "mqadmin", "queryMsgTraceById", *arguments)

    eventually(lambda: {"Pub", "SubAfter"} <= set(traced().split()) or "success" in traced())
    assert "success" in traced()
