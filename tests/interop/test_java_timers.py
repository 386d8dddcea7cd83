"""Messages that Java clients want later: each comes once, not too early, and not at all where it was taken back."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.drivers import Client
from tests.support.endpoints import JAVA, SHMQ, UNDER_TEST, Endpoint, start_endpoint
from tests.support.java import CLIENT_MODULES
from tests.support.mishaps import kill_conductor
from tests.support.verdict import assert_none_missing, assert_received_once

pytestmark = pytest.mark.interop

COUNT = 900
LEAST_MS, SPREAD_MS = 3000, 6000
DEADLINE_S = 60.0
RECALL_EVERY = 9
NEWEST = list(CLIENT_MODULES)[-1]
OVERRIDES = {"recallMessageEnable": "true", "timerWheelEnable": "true"}
OURS = {"recall_message_enable": "true"}


def start(kind: str, directory: Path, **places: Path | str) -> Endpoint:
    overrides = OURS if kind == SHMQ else OVERRIDES
    return start_endpoint(kind, directory, overrides=overrides, **places)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=UNDER_TEST)
def timed_endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    """A broker that allows recalls, shared by the tests of this file."""
    started = start(request.param, tmp_path_factory.mktemp(f"timers-{request.param}"))
    try:
        yield started
    finally:
        started.discard()


@pytest.mark.feature("Messages at any moment: delays in ms and s, times, recalls")
def test_moments_and_recalls_while_the_conductor_dies(
    java_version: str, timed_endpoint: Endpoint, tmp_path: Path, topic: str
) -> None:
    client = Client(java_version, timed_endpoint.namesrv_address, tmp_path)
    recall_every = RECALL_EVERY if java_version == NEWEST else 0
    client.produce(topic, run="warm", count=1, mode="sync")
    consumer = client.consume(topic, group=f"{topic}-group", run="r", binary=True)
    with consumer.process:
        sent = client.produce_timed(
            topic,
            run="r",
            count=COUNT,
            binary=True,
            least_ms=LEAST_MS,
            spread_ms=SPREAD_MS,
            recall_every=recall_every,
        )
        assert sent["sent"] == COUNT
        wanted = set(range(COUNT))
        if recall_every:
            assert sent["recalled"] == COUNT // recall_every
            wanted -= set(range(0, COUNT, recall_every))
        for part in (8, 4, 2):
            consumer.wait_seen(len(wanted) // part, DEADLINE_S)
            kill_conductor(timed_endpoint)
        consumer.wait_seen(len(wanted), DEADLINE_S)
        time.sleep(2.0)  # what must not come has no moment to wait for: its last one has passed by then
        result = consumer.stop()
    assert_received_once(result, consumer.seen, wanted)


@pytest.mark.feature("Delay levels")
def test_delay_levels_while_the_conductor_dies(
    java_version: str, timed_endpoint: Endpoint, tmp_path: Path, topic: str
) -> None:
    client = Client(java_version, timed_endpoint.namesrv_address, tmp_path)
    client.produce(topic, run="warm", count=1, mode="sync")
    consumer = client.consume(topic, group=f"{topic}-group", run="r", binary=True)
    with consumer.process:
        sent = client.produce_timed(topic, run="r", count=COUNT, binary=True, form="level")
        assert sent["sent"] == COUNT
        kill_conductor(timed_endpoint)
        consumer.wait_seen(COUNT, DEADLINE_S)
        consumer.stop()
    # Offsets of levels are saved now and then, as RocketMQ does: a kill may deliver some of a level again.
    assert_none_missing(consumer.seen, range(COUNT))


@pytest.mark.client("Java broker 5.3.3")
@pytest.mark.feature("Messages at any moment: the other broker goes on with the store")
@pytest.mark.parametrize("pair", [(SHMQ, JAVA), (JAVA, SHMQ)], ids="-".join)
def test_the_other_broker_delivers_what_waits_in_a_store(
    tmp_path: Path, topic: str, pair: tuple[str, str]
) -> None:
    if SHMQ not in UNDER_TEST:
        pytest.skip("this judges shmq")
    store, name = tmp_path / "store", f"timers-{os.getpid()}"
    count = 300
    first = start(pair[0], tmp_path / "first", store_root=store, broker_name=name)
    try:
        client = Client(NEWEST, first.namesrv_address, tmp_path)
        client.produce_timed(
            topic,
            run="r",
            count=count,
            binary=True,
            least_ms=15_000,
            spread_ms=5000,
            recall_every=RECALL_EVERY,
        )
        first.stop()
    finally:
        first.discard()
    second = start(pair[1], tmp_path / "second", store_root=store, broker_name=name)
    try:
        client = Client(NEWEST, second.namesrv_address, tmp_path)
        consumer = client.consume(topic, group=f"{topic}-group", run="r", binary=True)
        wanted = set(range(count)) - set(range(0, count, RECALL_EVERY))
        with consumer.process:
            consumer.wait_seen(len(wanted), DEADLINE_S)
            result = consumer.stop()
        assert_received_once(result, consumer.seen, wanted)
    finally:
        second.discard()
