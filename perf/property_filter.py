"""What does it cost to filter a message by its properties, beside filtering it by its tag?

Workload: 200,000 records of 350 bytes in one queue of one mapped log file, each with five properties; of a hundred one
matches. A turn reads the queue from end to end as a network worker's Python path does for pulls of 32, `QueueReader.read`
again and again: by a `tag`, which is in the queue's entries, or by an SQL92 expression: `one` property compared with a
text, `number` compared as one, `three` properties joined by AND and OR. Unit: nanoseconds a message that is looked at.

    pytest perf/property_filter.py

Compare within a run: `extra_info` of the JSON holds each as a multiple of `tag`.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from perf.pull_kernel import measured
from shmq.broker.filters import MessageFilter, parse_tags
from shmq.broker.sql.compiling import compile_sql
from tests.support.fast_consumers import FastBroker

RECORDS: Final = 200_000
PATTERN: Final = 100
SQL: Final = {
    "one": "color = 'blue'",
    "number": "seq BETWEEN 0 AND 0",
    "three": "(seq > 98 OR color = 'blue') AND region IS NOT NULL AND TAGS IN ('TagB', 'TagC')",
}


@pytest.fixture(scope="module")
def broker() -> Iterator[FastBroker]:
    with tempfile.TemporaryDirectory() as folder:
        made = FastBroker(Path(folder), log_file_bytes=1 << 27, queue_file_bytes=6_000_000)
        made.add_topic("T", 1)
        fill(made)
        yield made
        made.close()


def fill(broker: FastBroker) -> None:
    """Copies of a hundred records, patched for their places."""
    store = broker.store
    for number in range(PATTERN):
        rare = number == PATTERN // 2
        text = (
            f"UNIQ_KEY\x017F0000010001AABBCCDD0000000{number:05d}\x02CLUSTER\x01DefaultCluster\x02region\x01north\x02"
            f"seq\x01{0 if rare else number + 100:03d}\x02color\x01{'blue' if rare else 'red_'}\x02"
            f"TAGS\x01Tag{'B' if rare else 'A'}\x02"
        )
        store.append(b"T", 0, body=b"b" * 128, properties=text.encode())
    size_bytes = store.end // PATTERN
    assert all(len(each[-1]) == size_bytes for each in store.records)
    pattern = np.frombuffer(b"".join(each[-1] for each in store.records), dtype=np.uint8)
    records = np.tile(pattern.reshape(PATTERN, -1), (RECORDS // PATTERN, 1))
    numbers = np.arange(RECORDS, dtype=">i8")
    records[:, 20:28] = numbers.view(np.uint8).reshape(-1, 8)
    records[:, 28:36] = (numbers * size_bytes).astype(">i8").view(np.uint8).reshape(-1, 8)
    store.write(0, records.tobytes())
    store.end = size_bytes * RECORDS
    broker.dispatch()
    assert broker.store.queues.max[0] == RECORDS


def read_all(broker: FastBroker, wanted: MessageFilter) -> int:
    """Read the queue from end to end; return how many messages matched."""
    reader, offset, found = broker.replica.reader, 0, 0
    while offset < RECORDS:
        result = reader.read(0, (b"T", 0), offset, 32, broker.store.end, wanted)
        offset = result.next_offset
        found += result.count
    return found


@pytest.mark.parametrize("kind", ["tag", *SQL])
def test_a_filter(benchmark: BenchmarkFixture, broker: FastBroker, kind: str) -> None:
    by_tag = parse_tags("TagB")
    wanted = by_tag if kind == "tag" else compile_sql(SQL[kind])
    assert read_all(broker, wanted) == RECORDS // PATTERN

    nanoseconds = measured(benchmark, lambda: read_all(broker, wanted), RECORDS)
    benchmark.extra_info["ns_a_message"] = round(nanoseconds, 1)
