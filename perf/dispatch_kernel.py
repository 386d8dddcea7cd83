"""How many records a second does dispatch give their queue entries?

Workload: one million records of 314 bytes (128 of body; UNIQ_KEY, WAIT, CLUSTER and TAGS as properties) in one
mapped log file, dispatched by one call; first over the 4 queues of one topic, then round robin over 8 topics of 4
queues, so that every record changes the topic. Queue files exist in neither: making them is part of it. The same
records once more, all of them known, is what a restart pays. Unit: seconds for the million.

    pytest perf/dispatch_kernel.py

Two vCPUs of a shared Zen 4 host, other work beside it, median of 5: 12 M records/s for one topic, 8 M/s for eight,
20 to 28 M/s where all are known.
"""

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from shmq.store.segment import file_name
from tests.support.small_store import SmallStore

RECORDS = 1_000_000
UNIQUE = 0x7F0000010001AABBCCDD000000000001
PROPERTIES = b"UNIQ_KEY\x017F0000010001AABBCCDD000000000001\x02WAIT\x01true\x02CLUSTER\x01DefaultCluster\x02TAGS\x01TagA\x02"
QUEUES = 4


@pytest.fixture(params=[1, 8], ids=lambda count: f"{count}-topics")
def store(request: pytest.FixtureRequest) -> Iterator[SmallStore]:
    with tempfile.TemporaryDirectory() as folder:
        made = SmallStore(Path(folder), log_file_bytes=1 << 29, queue_file_bytes=6_000_000, windows_max=64)
        write_records(made, [b"TopicTest%d" % number for number in range(request.param)])
        made.run(0, 1)  # compiles
        yield made
        made.files.close()


def write_records(store: SmallStore, topics: list[bytes]) -> None:
    """A million copies of one record, patched for their queues and with ids of their own."""
    store.append(topics[0], 0, body=b"b" * 128, properties=PROPERTIES)
    model = store.records[0][-1]
    copies = [bytearray(model.replace(topics[0], topic)) for topic in topics]
    log = bytearray()
    id_at = -len(PROPERTIES) + PROPERTIES.index(b"\x01") + 1
    for number in range(RECORDS):
        turn = number // len(topics)
        record = copies[number % len(topics)]
        record[id_at : id_at + 32] = b"%032X" % (UNIQUE + number)
        struct.pack_into(">i", record, 12, turn % QUEUES)
        struct.pack_into(">qq", record, 20, turn // QUEUES, len(log))
        log += record
    with (store.root / "commitlog" / file_name(0)).open("r+b") as file:
        file.write(log)
    store.end = len(log)
    for topic in topics:
        for queue_id in range(QUEUES):
            store.add_queue(topic, queue_id)


def test_new_records(benchmark: BenchmarkFixture, store: SmallStore) -> None:
    def begin_anew() -> None:
        store.queues.max[:] = 0
        store.queues.end_position[:] = 0

    benchmark.pedantic(store.run, setup=begin_anew, rounds=5, iterations=1)
    assert store.queues.max.sum() == RECORDS


def test_records_that_are_known(benchmark: BenchmarkFixture, store: SmallStore) -> None:
    store.run()
    benchmark.pedantic(store.run, rounds=5, iterations=1)
    assert store.queues.max.sum() == RECORDS
