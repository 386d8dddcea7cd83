"""Flush: the files that a range touches, and no others."""

import os
from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store.flush import flush_range
from shmq.store.log import LogDirectory

SIZE = 4096


def test_a_range_is_synced_in_the_files_it_touches_alone(tmp_path: Path) -> None:
    directory = LogDirectory(tmp_path / "commitlog", SIZE)
    segments = [directory.create(number * SIZE) for number in range(3)]
    os.close(segments[2].descriptor)  # syncing this one fails from here on
    flush_range(segments, 100, 2 * SIZE)
    flush_range(segments, 2 * SIZE, 2 * SIZE)
    with pytest.raises(StoreError, match=segments[2].path.name):
        flush_range(segments, 100, 2 * SIZE + 1)
    segments[2].descriptor = -1
    for segment in segments:
        segment.close()
