"""How long does a store of 20 GiB take to recover, and does that depend on how large it is?

Workload: a log of files of 1 GiB, its last half full; records of 1 to 64 KiB that go round the queues, 310,000 a file,
each with a tag and a unique id; queues and key index made by the code that makes them in a broker. A store of two
files, and one of twenty. Each is recovered after a crash with a checkpoint a moment old, after a clean end, and after
a clean end by another broker, which leaves no close mark. `cold` gives the page cache back before (as root; else it
is left out). Nothing is damaged: what is measured is looking. Then the same two ends with more queues than most have.
In the sheet `shmq` is the larger store, warm. Unit: seconds for `recover()`, what a start takes beyond that of an empty store; and what it walked of the log.

    pytest perf/recovery_time.py

It needs 30 GiB of disk. With --quick the files have 64 MiB.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from perf.harness import OURS, Contest, Figures, Options
from shmq.store.key_shape import KeyIndexShape
from shmq.store.recover import Recovered
from shmq.store.store_files import StoreSizes
from tests.support.big_store import BigStore

FILE_BYTES = 1 << 30
QUICK_FILE_BYTES = 64 << 20
QUICK_INDEX = KeyIndexShape(50_000, 2_000_000)
SMALL, LARGE = 1.5, 19.5
QUEUES = 16
MANY_QUEUES = (1_000, 50_000)
QUICK_QUEUES = (100, 1_000)
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
SPARE_BYTES = 10 << 30

Make = Callable[[str, float, int], BigStore]
End = Callable[[BigStore], Figures]


@pytest.fixture(scope="module")
def make(options: Options, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Makes stores, or has made them; they end with the last question."""
    root = tmp_path_factory.mktemp("stores")
    sizes = StoreSizes(FILE_BYTES)
    if options.is_quick:
        sizes = StoreSizes(QUICK_FILE_BYTES, key_index=QUICK_INDEX)
    stores: dict[str, BigStore] = {}

    def made(name: str, files: float, queues: int) -> BigStore:
        if name not in stores:
            needed_bytes = int(files * sizes.commit_log_file_bytes) + (0 if options.is_quick else SPARE_BYTES)
            if shutil.disk_usage(root).free < needed_bytes:
                pytest.skip(f"{needed_bytes >> 30} GiB of disk are needed in {root}")
            stores[name] = BigStore.make(root / name, sizes, files, queues)
        return stores[name]

    yield made
    shutil.rmtree(root, ignore_errors=True)


def after_crash(store: BigStore) -> Figures:
    store.crash()
    return timed(store, clean_exit=False)


def after_clean_end(store: BigStore) -> Figures:
    store.close()
    figures = timed(store, clean_exit=True)
    assert figures["records walked"] == 1
    return figures


def after_another_broker(store: BigStore) -> Figures:
    store.close()
    store.paths.queues_checkpoint.unlink()
    return timed(store, clean_exit=True)


def timed(store: BigStore, clean_exit: bool) -> Figures:
    begin = time.perf_counter()
    recovered: Recovered = store.start(clean_exit)
    seconds = time.perf_counter() - begin
    assert recovered.end == store.log.end == recovered.indexed
    walked_mib = (recovered.end - recovered.walked_from) / (1 << 20)
    return {"seconds": seconds, "MiB walked": walked_mib, "records walked": float(recovered.records)}


def drop_caches(what: str) -> None:
    """Give back what is cached: pages (1), or names and inodes as well (3)."""
    DROP_CACHES.write_text(what, encoding="ascii")


def cold(measure: End) -> End:
    """Without a page of the store in memory."""

    def measured(store: BigStore) -> Figures:
        os.sync()
        drop_caches("3")
        return measure(store)

    return measured


def warm(measure: End) -> End:
    """With what it reads in memory: the second of two."""

    def measured(store: BigStore) -> Figures:
        measure(store)
        return measure(store)

    return measured


ENDS: dict[str, End] = {
    "crash": after_crash,
    "clean": after_clean_end,
    "unmarked": after_another_broker,
}


def may_drop_caches() -> bool:
    with contextlib.suppress(OSError):
        drop_caches("1")
        return True
    return False


@pytest.mark.parametrize("end", ENDS)
def test_the_size_of_the_log(contest: Contest, make: Make, end: str) -> None:
    small, large, measure = make("small", SMALL, QUEUES), make("large", LARGE, QUEUES), ENDS[end]
    contestants = {f"{SMALL} files": partial(warm(measure), small)}
    if may_drop_caches():
        contestants[f"{SMALL} files, cold"] = partial(cold(measure), small)
        contestants[f"{LARGE} files, cold"] = partial(cold(measure), large)
    contestants[OURS] = partial(warm(measure), large)
    contest.run(f"recovery of {LARGE} files, {end}", contestants)


@pytest.mark.parametrize("end", ["crash", "clean"])
def test_the_number_of_queues(contest: Contest, make: Make, end: str) -> None:
    few, many = QUICK_QUEUES if contest.options.is_quick else MANY_QUEUES
    contestants = {f"{few} queues": partial(ENDS[end], make(str(few), SMALL, few))}
    contestants[OURS] = partial(ENDS[end], make(str(many), SMALL, many))
    contest.run(f"recovery of {many} queues, {end}", contestants)
