"""Bit maps of SQL92 filters with RocketMQ's clients, and between our broker and RocketMQ's on one store."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shmq.broker.bloom import BloomFilter
from shmq.broker.sql.compiling import compile_sql
from shmq.store.extending import Expression
from shmq.store.extension_files import ExtensionFiles, read_unit
from shmq.store.queue_entry import EXTENSION_MAX, LAYOUT
from shmq.store.queue_extension import Unit
from tests.support.drivers import Client, Consumer
from tests.support.endpoints import (
    COMMIT_LOG_FILE_BYTES,
    CONSUME_QUEUE_FILE_BYTES,
    JAVA,
    SHMQ,
    UNDER_TEST,
    Endpoint,
    pairs_under_test,
    start_endpoint,
)
from tests.support.java import CLIENT_MODULES, mqadmin
from tests.support.shmq_process import ShmqBroker
from tests.support.small_store import SmallStore
from tests.support.verdict import assert_all_sent, assert_none_missing, assert_received_intact
from tests.support.waiting import eventually

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

COUNT = 4000
DEADLINE_S = 90.0
EXTENSION_BYTES = 1 << 16
SETTINGS = {
    "enablePropertyFilter": "true",
    "enableConsumeQueueExt": "true",
    "enableCalcFilterBitMap": "true",
    "mappedFileSizeConsumeQueueExt": str(EXTENSION_BYTES),
}
SQL = "seq >= 100 AND color = 'blue'"
WANTED = {number for number in range(COUNT) if number >= 100 and number % 3 == 1}
NEWEST = list(CLIENT_MODULES)[-1]
BLOOM = BloomFilter.of(20, 32)
FEATURE = "Filters: bit maps (ConsumeQueueExt)"


@pytest.fixture(scope="module", params=UNDER_TEST)
def mapping_endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    started = start_endpoint(request.param, tmp_path_factory.mktemp("ext"), overrides=SETTINGS)
    yield started
    started.discard()


@pytest.mark.feature(FEATURE)
@pytest.mark.client(f"Java {NEWEST}")
def test_a_consumer_gets_all_that_matches_while_the_dispatcher_is_killed(
    mapping_endpoint: Endpoint, tmp_path: Path, topic: str
) -> None:
    client = Client(NEWEST, mapping_endpoint.namesrv_address, tmp_path)
    make_topic(client, topic)
    consumer = client.consume(topic, group=f"{topic}-g", run="r", binary=True, sql=SQL)
    with consumer.process:
        for quarter in range(4):
            produce(client, topic, quarter * COUNT // 4, COUNT // 4)
            if isinstance(mapping_endpoint.broker, ShmqBroker):
                mapping_endpoint.broker.worker("conductor" if quarter == 1 else "dispatcher").kill()
        assert_selected(consumer)
    mapped = [unit for unit in units(mapping_endpoint.broker.store_root, topic) if unit.bit_map]
    assert len(mapped) > COUNT // 2


PAIRS = pairs_under_test([(JAVA, JAVA), (SHMQ, JAVA), (JAVA, SHMQ)])


@pytest.mark.feature(FEATURE)
@pytest.mark.client("Java broker 5.3.3")
@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize(("writer", "reader"), PAIRS, ids=["-then-".join(pair) for pair in PAIRS])
def test_either_broker_goes_on_with_what_the_other_has_mapped(
    tmp_path: Path, writer: str, reader: str, is_killed: bool
) -> None:
    """The group was there before the messages, and comes for them when the other broker has the store."""
    store, topic, group = tmp_path / "store", "taken-over", "taken-over-g"
    first = start_endpoint(writer, tmp_path / "1", store_root=store, broker_name="ext", overrides=SETTINGS)
    try:
        client = Client(NEWEST, first.namesrv_address, tmp_path / "clients-1")
        make_topic(client, topic)
        register(client, topic, group)
        produce(client, topic, 0, COUNT // 2)
        wait_mapped(store, topic, COUNT // 2)
        first.kill() if is_killed else first.stop()
    finally:
        first.discard()
    second = start_endpoint(reader, tmp_path / "2", store_root=store, broker_name="ext", overrides=SETTINGS)
    try:
        client = Client(NEWEST, second.namesrv_address, tmp_path / "clients-2")
        consumer = client.consume(topic, group=group, run="r", binary=True, sql=SQL)
        with consumer.process:
            produce(client, topic, COUNT // 2, COUNT // 2)
            assert_selected(consumer)
        second.stop()
    finally:
        second.discard()
    assert len(units(store, topic)) == COUNT


@pytest.mark.feature(FEATURE)
@pytest.mark.client("Java broker 5.3.3")
def test_both_brokers_make_the_same_files_of_the_same_log(tmp_path: Path) -> None:
    """RocketMQ's broker writes a store; our dispatcher makes the extension of its log once more."""
    file_bytes = 4096
    store, topic, groups = tmp_path / "store", "same", {"same-g": SQL, "same-h": "color IS NULL"}
    overrides = SETTINGS | {"mappedFileSizeConsumeQueueExt": str(file_bytes)}
    broker = start_endpoint(JAVA, tmp_path / "1", store_root=store, overrides=overrides)
    try:
        client = Client(NEWEST, broker.namesrv_address, tmp_path / "clients")
        make_topic(client, topic)
        for group, sql in groups.items():
            register(client, topic, group, sql)
        produce(client, topic, 0, COUNT)
        wait_mapped(store, topic, COUNT, file_bytes)
        broker.stop()
    finally:
        broker.discard()
    made = tmp_path / "made"
    shutil.copytree(store / "commitlog", made / "commitlog")
    expressions = [
        Expression(compile_sql(sql), BLOOM.bits_of(group, topic).positions) for group, sql in groups.items()
    ]
    end = max(int((each["position"] + each["record_size"]).max()) for each in entries(store, topic).values())
    dispatch_again(made, end, _Known(topic, expressions), file_bytes)
    theirs, ours = files_of(store, topic), files_of(made, topic)
    assert theirs.keys() == ours.keys()
    assert len(theirs) > 10
    for name, content in theirs.items():
        assert ours[name] == content, name


def make_topic(client: Client, topic: str) -> None:
    home = client.directory / "admin"
    mqadmin(client.namesrv, home, "updateTopic", "-c", "DefaultCluster", "-t", topic, "-r", "4", "-w", "4")


def register(client: Client, topic: str, group: str, sql: str = SQL) -> None:
    """Have a group known, with its expression; then it goes."""
    consumer = client.consume(topic, group=group, run="r", binary=True, sql=sql)
    with consumer.process:
        consumer.wait_assigned(4)
        consumer.stop()


def produce(client: Client, topic: str, first: int, count: int) -> None:
    sent = client.produce(
        topic, run="r", count=count, first=first, mode="sync", threads=2, binary=True, numbered=True
    )
    assert_all_sent(sent, count)


def assert_selected(consumer: Consumer) -> None:
    """It gets the whole selection and nothing else; after a failure some of it twice."""
    consumer.wait_seen(len(WANTED), DEADLINE_S)
    assert_received_intact(consumer.stop())
    assert_none_missing(consumer.seen, WANTED)


def entries(store: Path, topic: str) -> dict[int, NDArray[np.void]]:
    """The entries of each queue of a topic, by queue id."""
    found: dict[int, NDArray[np.void]] = {}
    for folder in (store / "consumequeue" / topic).iterdir():
        content = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
        every = np.frombuffer(content, dtype=LAYOUT)
        found[int(folder.name)] = every[every["record_size"] > 0]
    return found


def units(store: Path, topic: str, file_bytes: int = EXTENSION_BYTES) -> list[Unit]:
    """The unit of each entry of a topic."""
    found: list[Unit] = []
    for queue_id, of_queue in entries(store, topic).items():
        folder = store / "consumequeue_ext" / topic / str(queue_id)
        for address in of_queue["tag_hash"].tolist():
            assert address <= EXTENSION_MAX, "an entry leads to no unit"
            unit = read_unit(folder, file_bytes, address)
            assert unit is not None, "an entry leads to a unit that is not there"
            found.append(unit)
    return found


def wait_mapped(store: Path, topic: str, count: int, file_bytes: int = EXTENSION_BYTES) -> None:
    """Wait until so many messages have their entries; nearly all have a bit map."""
    eventually(lambda: sum(map(len, entries(store, topic).values())) == count, DEADLINE_S)
    assert sum(bool(unit.bit_map) for unit in units(store, topic, file_bytes)) > count * 0.9


class _Known:
    """The expressions of one topic, for a dispatcher of ours."""

    def __init__(self, topic: str, expressions: list[Expression]) -> None:
        self.bit_map_bytes = BLOOM.bit_count // 8
        self._topic = topic.encode()
        self._expressions = expressions

    def expressions(self, topic: bytes) -> list[Expression]:
        return self._expressions if topic == self._topic else []


def dispatch_again(root: Path, end: int, known: _Known, file_bytes: int) -> None:
    """Make the queues of a log, and their extensions."""
    made = SmallStore(root, COMMIT_LOG_FILE_BYTES, CONSUME_QUEUE_FILE_BYTES)
    made.end = end
    files = ExtensionFiles(root / "consumequeue_ext", file_bytes, made.consumequeue)
    made.dispatch.keep_extensions(files).source = known
    result = made.run()
    assert (result.problem, result.reached) == ("", end)
    files.close()
    made.files.close()


def files_of(root: Path, topic: str) -> dict[str, bytes]:
    """The extension files of a topic, by queue and name."""
    folder = root / "consumequeue_ext" / topic
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("0" * 9 + "*"))}
