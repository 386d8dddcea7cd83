"""C++ producers whose broker loses a process in the middle: what they compress, send later, and to be read by tags."""

from collections.abc import Iterator
from functools import partial

import pytest

from shmq.wire.flags import MESSAGE_COMPRESSED
from tests.support.drivers import Client
from tests.support.endpoints import JAVA, SHMQ, UNDER_TEST, Endpoint, shared_endpoint
from tests.support.mishaps import kill_conductor, kill_worker
from tests.support.remote import Remote
from tests.support.verdict import assert_none_missing, assert_received_intact, assert_received_once

pytestmark = pytest.mark.interop

COUNT = 2000
TIMED = 600
QUEUES = 8
DEADLINE_S = 60.0
TIMEOUT_MS = 2000
OVERRIDES = {JAVA: {"timerWheelEnable": "true"}, SHMQ: {}}


@pytest.fixture(scope="module", params=UNDER_TEST)
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A broker that delivers at any moment."""
    directory = tmp_path_factory.mktemp("cpp-producers")
    with shared_endpoint(request.param, directory, OVERRIDES[request.param]) as started:
        yield started


@pytest.mark.feature("Compression: zlib")
@pytest.mark.feature("Unique keys")
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("sync", marks=pytest.mark.feature("Send: sync")),
        pytest.param("async", marks=pytest.mark.feature("Send: async")),
        pytest.param("ordered", marks=pytest.mark.feature("Send: ordered by a selector")),
    ],
)
def test_what_is_sent_compressed_while_a_worker_dies_is_all_read(
    cpp_client: Client, warm_topic: str, endpoint: Endpoint, mode: str
) -> None:
    sent = cpp_client.produce(
        warm_topic,
        run="r",
        count=COUNT,
        mode=mode,
        shards=QUEUES,
        until_stored=True,
        timeout_ms=TIMEOUT_MS,
        compress_over=64,
        amid=partial(kill_worker, endpoint),
    )
    assert (sent["sent"], sent["unique_ids"], sent["failure_count"]) == (COUNT, COUNT, 0)
    with Remote(endpoint.broker.address) as remote:
        messages = [each for queue in range(QUEUES) for each in remote.read_queue(warm_topic, queue)]
    assert sum(bool(each.sys_flag & MESSAGE_COMPRESSED) for each in messages) > COUNT // 2
    consumer = cpp_client.consume(warm_topic, group=f"{warm_topic}-group", run="r")
    with consumer.process:
        consumer.wait_seen(1, DEADLINE_S)
        kill_conductor(endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        result = consumer.stop()
    assert_received_intact(result)
    assert_none_missing(consumer.seen, range(COUNT))


@pytest.mark.feature("Delay levels")
def test_delay_levels_while_the_conductor_dies(
    cpp_client: Client, warm_topic: str, endpoint: Endpoint
) -> None:
    consumer = cpp_client.consume(warm_topic, group=f"{warm_topic}-group", run="r")
    with consumer.process:
        sent = cpp_client.produce_timed(warm_topic, run="r", count=TIMED, form="level")
        assert sent["sent"] == TIMED
        consumer.wait_seen(1, DEADLINE_S)
        kill_conductor(endpoint)
        consumer.wait_seen(TIMED, DEADLINE_S)
        result = consumer.stop()
    # Offsets of levels are saved now and then, as RocketMQ does: a kill may deliver some of a level again.
    assert_received_intact(result)
    assert_none_missing(consumer.seen, range(TIMED))


@pytest.mark.feature("Messages at any moment: delays in ms and s, and times, none too early")
def test_moments_while_the_conductor_dies(cpp_client: Client, warm_topic: str, endpoint: Endpoint) -> None:
    """The client knows nothing of them: it hands on the properties that say when."""
    consumer = cpp_client.consume(warm_topic, group=f"{warm_topic}-group", run="r")
    with consumer.process:
        sent = cpp_client.produce_timed(warm_topic, run="r", count=TIMED, least_ms=2000, spread_ms=3000)
        assert sent["sent"] == TIMED
        for part in (8, 4, 2):
            consumer.wait_seen(TIMED // part, DEADLINE_S)
            kill_conductor(endpoint)
        consumer.wait_seen(TIMED, DEADLINE_S)
        result = consumer.stop()
    assert_received_once(result, consumer.seen, range(TIMED))
