"""What recovery looks at is bounded by the checkpoint, or by the close mark, however large the log is.

Counted, not timed: how many records were walked, and which files of the log were opened. `perf/recovery_time.py` has
the seconds, of a log of 20 GiB.
"""

from collections.abc import Callable

import pytest

from shmq.store.key_shape import KeyIndexShape
from shmq.store.log import LogDirectory
from shmq.store.recover import Recovered
from shmq.store.store_files import StoreSizes
from tests.support.big_store import BigStore

FILE_BYTES = 4 << 20
SIZES = StoreSizes(FILE_BYTES, 20 * 2000, KeyIndexShape(10_000, 200_000))
SMALL, LARGE = 3.5, 63.5
QUEUES = 16
RECORDS_A_MS = 0.2  # so that a file takes six seconds


class Opened:
    """Which files of the log were opened, and how often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.starts: list[int] = []
        real = LogDirectory.open

        def noted(directory: LogDirectory, start: int, writable: bool) -> object:
            self.starts.append(start)
            return real(directory, start, writable)

        monkeypatch.setattr(LogDirectory, "open", noted)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[BigStore]:
    root = tmp_path_factory.mktemp("stores")
    return [
        BigStore.make(root / name, SIZES, files, QUEUES, RECORDS_A_MS)
        for name, files in (("small", SMALL), ("large", LARGE))
    ]


def closed(store: BigStore) -> Recovered:
    store.close()
    return store.start(clean_exit=True)


def crashed(store: BigStore) -> Recovered:
    store.crash()
    return store.start(clean_exit=False)


def closed_by_another(store: BigStore) -> Recovered:
    store.close()
    store.paths.queues_checkpoint.unlink()
    return store.start(clean_exit=True)


@pytest.mark.parametrize(
    ("end", "files_walked"),
    [(closed, 0), (crashed, 2), (closed_by_another, 1)],
    ids=["clean", "crash", "unmarked"],
)
def test_what_is_looked_at_does_not_grow_with_the_log(
    stores: list[BigStore],
    end: Callable[[BigStore], Recovered],
    files_walked: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = []
    for store in stores:
        opened = Opened(monkeypatch)
        recovered = end(store)
        monkeypatch.undo()
        assert recovered.end == store.log.end == recovered.indexed
        last = store.log.end // FILE_BYTES
        looked_at.append(
            (recovered.records, [start // FILE_BYTES - last for start in opened.starts if start > 0])
        )
        if not files_walked:
            assert recovered.records == 1
        assert recovered.end - recovered.walked_from <= max(files_walked * FILE_BYTES, 1 << 17)
    assert looked_at[0] == looked_at[1]


def test_a_long_walk_tells_how_far_it_is(stores: list[BigStore]) -> None:
    store = stores[1]
    store.paths.checkpoint.unlink()
    store.paths.abort.touch()
    recovered = store.start(clean_exit=False)
    assert recovered.records == store.log.records
    for what in ("checking the log", "writing the queues", "looking at the queues"):
        paces = [(done, total, unit) for said, done, total, unit in store.paces if said == what]
        assert len(paces) >= 3, what
        assert all(0 <= done <= total for done, total, _ in paces)
        assert {unit for _, _, unit in paces} == {"queues" if what == "looking at the queues" else "bytes"}
    checked = [done for what, done, *_ in store.paces if what == "checking the log"]
    assert checked == sorted(checked)
