"""How fast is the log read as data, beside reading its bytes and nothing else, and beside plain Python?

Workload: one million records of 315 bytes (128 of body; UNIQ_KEY, WAIT, CLUSTER and TAGS as properties) round robin
over 8 topics of 4 queues, in one mapped log file that is in memory. `rows` are all of them as batches; `positions` the
same without the hash of the tags; `one topic` and `one queue` an eighth and a 32nd of them, the queue by its entries
and by the log; `arrow` are batches with all columns. `sum` adds up the words of the same mapped bytes: no reader that
looks at all of them is faster. `python` decodes a part of them with `record.decode`, as a loop over messages would.
Unit: nanoseconds a record of the log.

    pytest perf/store_scan.py

Compare within a run: `extra_info` of the JSON holds each as a multiple of `sum`.

Two vCPUs of a shared host, much other work beside it: rows take 140 to 180 ns a record, 2.5 to 4 times `sum`, half of
which is the hash of the tags (properties are read for it, and for tags and keys that are asked for); `positions` 60 to
130. A batch's rows are 7 MB of new pages where the last one is kept: batches of 4096 go a quarter faster. One queue of 32
takes 11 to 40 ns by its entries and 37 to 90 by the log, so entries are worth their way, though each record is a line
that no other one is near. `arrow` takes 400 to 900 ns, properties the half of it; `python` 17,000, 300 times `sum`.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from perf.dispatch_kernel import RECORDS, write_records
from shmq.store import record
from shmq.store.scanning import scan
from tests.support.small_store import SmallStore

TOPICS = 8
QUEUES = 4
DECODED = 20_000


@pytest.fixture(scope="module")
def store() -> Iterator[SmallStore]:
    with tempfile.TemporaryDirectory() as folder:
        made = SmallStore(Path(folder), log_file_bytes=1 << 29, queue_file_bytes=6_000_000, windows_max=64)
        write_records(made, [b"TopicTest%d" % number for number in range(TOPICS)])
        made.run()
        made.files.close()
        yield made


def measured(benchmark: BenchmarkFixture, store: SmallStore, call: Callable[[], int], expected: int) -> None:
    """Note what a record of the log takes, and how much of that it takes to read its bytes."""

    def run() -> None:
        assert call() == expected

    benchmark.pedantic(run, rounds=9, warmup_rounds=1)
    assert benchmark.stats is not None, "it has run"
    nanoseconds = float(benchmark.stats.stats.median) * 1e9 / RECORDS
    benchmark.extra_info["ns"] = round(nanoseconds, 1)
    benchmark.extra_info["times_sum"] = round(nanoseconds / sum_ns(store), 2)


def sum_ns(store: SmallStore) -> float:
    """What it takes to read the bytes of a record, and to add them up."""
    mapped = store.log.slice(0, store.end // 8 * 8)
    assert mapped is not None
    words = np.frombuffer(mapped, dtype=np.int64)
    turns = []
    for _ in range(9):
        begin = time.perf_counter_ns()
        words.sum()
        turns.append((time.perf_counter_ns() - begin) / RECORDS)
    return float(np.median(turns))


def count(store: SmallStore, **asked: Any) -> int:
    return sum(len(batch) for batch in scan(store.root, **asked))


def test_rows(benchmark: BenchmarkFixture, store: SmallStore) -> None:
    measured(benchmark, store, lambda: count(store), RECORDS)


def test_positions(benchmark: BenchmarkFixture, store: SmallStore) -> None:
    columns = ["position", "body_at", "body_bytes"]
    measured(benchmark, store, lambda: count(store, columns=columns), RECORDS)


def test_rows_in_small_batches(benchmark: BenchmarkFixture, store: SmallStore) -> None:
    measured(benchmark, store, lambda: count(store, batch_messages=4096), RECORDS)


def test_one_topic(benchmark: BenchmarkFixture, store: SmallStore) -> None:
    measured(benchmark, store, lambda: count(store, topic="TopicTest3"), RECORDS // TOPICS)


@pytest.mark.parametrize("by_queue", [True, False], ids=["by-its-entries", "by-the-log"])
def test_one_queue(benchmark: BenchmarkFixture, store: SmallStore, by_queue: bool) -> None:
    asked: dict[str, Any] = {"topic": "TopicTest3", "queue_id": 1, "by_queue": by_queue}
    measured(benchmark, store, lambda: count(store, **asked), RECORDS // TOPICS // QUEUES)


def test_arrow(benchmark: BenchmarkFixture, store: SmallStore) -> None:
    def run() -> int:
        return sum(int(batch.to_arrow().num_rows) for batch in scan(store.root))

    measured(benchmark, store, run, RECORDS)


def test_plain_python(benchmark: BenchmarkFixture, store: SmallStore) -> None:
    mapped = store.log.slice(0, store.end)
    assert mapped is not None

    def run(mapped: memoryview = mapped) -> None:
        at = 0
        for _ in range(DECODED):
            at += record.decode(mapped, at).total_size

    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    assert benchmark.stats is not None, "it has run"
    nanoseconds = float(benchmark.stats.stats.median) * 1e9 / DECODED
    benchmark.extra_info["ns"] = round(nanoseconds, 1)
    benchmark.extra_info["times_sum"] = round(nanoseconds / sum_ns(store), 2)
