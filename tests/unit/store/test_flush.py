"""Flush: the files that a range touches, and no others."""

from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store.flush import flush_range
from shmq.store.log import LogDirectory

SIZE = 8192


@pytest.fixture
def log(tmp_path: Path) -> LogDirectory:
    return LogDirectory(tmp_path / "commitlog", SIZE)


def test_a_range_is_synced_in_the_files_it_touches_alone(log: LogDirectory) -> None:
    segments = [log.create(number * SIZE) for number in range(3)]
    synced: list[tuple[int, int, int]] = []
    for segment in segments:
        segment.sync = lambda *part, start=segment.start: synced.append((start, *part))  # type: ignore[method-assign]
    flush_range(segments, 100, 2 * SIZE)
    assert synced == [(0, 100, SIZE - 100), (SIZE, 0, SIZE)]
    flush_range(segments, 2 * SIZE, 2 * SIZE)
    assert len(synced) == 2
    for segment in segments:
        segment.close()


@pytest.mark.parametrize("writable", [True, False])
def test_a_sync_that_fails_names_the_file(log: LogDirectory, writable: bool) -> None:
    log.create(0).close()
    segment = log.open(0, writable=writable)
    flush_range([segment], 100, SIZE)
    segment.close()
    segment.address, segment.descriptor = 4096, 1 << 20  # the system maps nothing there, nor is that one open
    with pytest.raises(StoreError, match=segment.path.name):
        flush_range([segment], 100, SIZE)
    segment.descriptor = -1
