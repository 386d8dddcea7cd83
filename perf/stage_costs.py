"""What does each stage cost a message, apart from the others?

Workload: the kernels of the writer and of the dispatcher on records of 128 B to 16 KiB, and what the machine gives
them: memcpy and a disk. The writer is fed by a thread on another core, since a record that comes out of its own core's
cache costs a fraction of one that does not. Units: nanoseconds a record; bytes a second.
Machine: see the sheet's first lines; how near the two cores are stands beside each round, and decides much.

No peers: `perf/scaling_model.py` takes these to say where the single writer saturates.
"""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from perf import limits
from perf.dispatch_kernel import RECORDS, write_records
from perf.harness import OURS, Contest, Figures
from perf.ring_commit import Ground, fill, read_answers
from perf.scaling_model import BODY_BYTES, DISK, DISPATCHER, FLUSH, MEMORY, WORKLOAD, writer_measure
from shmq.jit import compile_kernels
from shmq.shared import commit
from tests.support.small_store import SmallStore

MESSAGES_MAX: Final = 300_000
LOG_BYTES: Final = 200 << 20
LARGE_BYTES: Final = 1 << 20
STREAM_GROUPS: Final = 8


@pytest.fixture(scope="module")
def compiled() -> None:
    for _ in compile_kernels():
        pass


@pytest.fixture
def grounds(tmp_path: Path, compiled: None) -> Iterator[dict[int, Ground]]:  # noqa: ARG001 - before anything runs
    made = {}
    for body_bytes in BODY_BYTES:
        root = tmp_path / str(body_bytes)
        root.mkdir()
        made[body_bytes] = Ground(root, body_bytes)
    yield made
    for ground in made.values():
        ground.close()
        ground.segment.path.unlink()


@pytest.fixture
def dispatched(compiled: None) -> Iterator[SmallStore]:  # noqa: ARG001 - before anything runs
    with tempfile.TemporaryDirectory() as folder:
        store = SmallStore(Path(folder), log_file_bytes=1 << 29, queue_file_bytes=6_000_000, windows_max=64)
        write_records(store, [b"TopicTest"])
        store.run(0, 1)
        yield store
        store.files.close()


def test_stages(contest: Contest, grounds: dict[int, Ground], dispatched: SmallStore, tmp_path: Path) -> None:
    def measure() -> Figures:
        figures = {writer_measure(size): writer_ns(contest, ground) for size, ground in grounds.items()}
        figures[DISPATCHER] = dispatcher_ns(dispatched)
        figures[MEMORY] = limits.copy_bytes_per_s(LARGE_BYTES)
        figures[FLUSH] = limits.flush(tmp_path, 50).percentile(50)
        groups_per_s = limits.group_commits_per_s(tmp_path, STREAM_GROUPS, LARGE_BYTES)
        return figures | {DISK: groups_per_s * LARGE_BYTES}

    contest.run(WORKLOAD, {OURS: measure}, durability="page cache")


def writer_ns(contest: Contest, ground: Ground) -> float:
    """Nanoseconds a record of a writer whose ring was filled on another core.

    In turn, not at once: where the producer is the slower of the two, the time of both says nothing of the writer.
    """
    messages = contest.options.messages(min(MESSAGES_MAX, LOG_BYTES // len(ground.record)))
    ground.begin_anew()
    submitted = answered = busy_ns = 0
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    try:
        while answered < messages:
            submitted += filled_on(cores[-1], ground, submitted, messages)
            begin_ns = time.perf_counter_ns()
            while ground.commit() == commit.COMMITTED:
                pass
            busy_ns += time.perf_counter_ns() - begin_ns
            read = read_answers(ground.completions)
            assert read > 0
            answered += read
    finally:
        os.sched_setaffinity(0, cores)
    return busy_ns / messages


def filled_on(core: int, ground: Ground, begin: int, end: int) -> int:
    """Submit on another core until the ring is full or all is submitted; return how many were."""
    found: list[int] = []

    def submit() -> None:
        os.sched_setaffinity(0, {core})
        found.append(fill(ground.ring, ground.payload, begin, end))

    other = threading.Thread(target=submit)
    other.start()
    other.join()
    return found[0]


def dispatcher_ns(store: SmallStore) -> float:
    """Nanoseconds a record of a dispatcher that gives each its entry."""
    store.queues.max[:] = 0
    store.queues.end_position[:] = 0
    begin_ns = time.perf_counter_ns()
    store.run()
    elapsed_ns = time.perf_counter_ns() - begin_ns
    assert int(np.sum(store.queues.max)) == RECORDS
    return elapsed_ns / RECORDS
