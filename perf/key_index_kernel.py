"""How many records a second are put into the key index, and how long does it take to find one?

Workload: one million records of 314 bytes, each with a unique id of its own, in one mapped log file, indexed by one call
into a new file of the default size; the file is made by it. Then one key is looked for among them, through the reader
that answers QUERY_MESSAGE. Units: seconds for the million; seconds for a query.

    pytest perf/key_index_kernel.py

Two vCPUs of a shared host, other work beside it, median of 5: 8 M records/s, of which reading the log anew is half (the
broker's indexer finds it mapped by the dispatcher, and often still in a cache); a query takes 60 µs.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from perf.dispatch_kernel import RECORDS, UNIQUE, write_records
from shmq.store.key_build import KeyBuild
from shmq.store.key_files import KeyFiles
from shmq.store.key_query import KeyIndexReader, KeyQuery
from shmq.store.key_shape import KeyIndexShape
from tests.support.small_store import SmallStore

NOW_MS = 1_700_000_000_000
TOPIC = "TopicTest0"


@pytest.fixture
def store() -> Iterator[SmallStore]:
    with tempfile.TemporaryDirectory() as folder:
        made = SmallStore(Path(folder), log_file_bytes=1 << 29, queue_file_bytes=6_000_000, windows_max=64)
        write_records(made, [TOPIC.encode()])
        yield made
        made.files.close()


def index(store: SmallStore, end: int) -> None:
    """Index the log from its beginning, into new files."""
    shutil.rmtree(store.root / "index", ignore_errors=True)
    build = KeyBuild(store.log, KeyFiles(store.root / "index", KeyIndexShape()))
    assert build.step(0, end, end, NOW_MS).reached == end


def test_new_keys(benchmark: BenchmarkFixture, store: SmallStore) -> None:
    index(store, store.end)  # compiles, and maps the log
    benchmark.pedantic(index, args=(store, store.end), rounds=5, iterations=1)


def test_a_query(benchmark: BenchmarkFixture, store: SmallStore) -> None:
    index(store, store.end)
    reader = KeyIndexReader(store.root / "index", KeyIndexShape(), store.log)
    key = f"{UNIQUE + RECORDS // 2:032X}"
    wanted = KeyQuery(TOPIC, key, count_max=32, bytes_max=1 << 20, begin_ms=0, end_ms=1 << 62)
    answer = benchmark.pedantic(reader.find, args=(wanted, 0, store.end), rounds=5, iterations=100)
    assert len(answer.messages) == 1
