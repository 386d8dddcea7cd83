"""What lies behind the end of the log: set aside where it may be of worth, then zeroed and deleted.

Behind the last good record there may be a record cut in half, stale bytes, files made ahead, and, where the disk
lost or spoiled something in the middle, whole records. Those are nobody's any more, as nothing may follow a gap;
but they are copied to `quarantine/` first, for the operator. Then the file that holds the end is zeroed behind
it: records written there later must not be followed by old ones that would come back to life.

In this order: the copy is synced, later files go (newest first, so that no hole is left), the tail is zeroed. A
crash anywhere in between leaves a log with the same end, and the next recovery does it again.
"""

import os
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from shmq.errors import StoreError
from shmq.memory.block import zero
from shmq.store.data_ranges import data_ranges
from shmq.store.log import LogDirectory
from shmq.store.log_scan import find_record
from shmq.store.position import NONE
from shmq.store.store_files import sync_directory


def cut_log(log: LogDirectory, end: int, quarantine: Path) -> list[Path]:
    """Make a position the end of the log.

    Args:
        log: its files.
        end: the position behind the last record that stays.
        quarantine: where whole records that go are copied to.

    Returns:
        What was set aside.

    Raises:
        StoreError: the disk refuses; what was to be set aside is still in its place.
    """
    try:
        behind = [_look(log, start, end) for start in log.starts() if start + log.file_bytes > end]
        kept = _set_aside(log, behind, quarantine) if any(_has_record(log, each) for each in behind) else []
        later = [each.start for each in behind if each.start > end]
        for start in reversed(later):
            log.file(start).unlink(missing_ok=True)
        if later:
            sync_directory(log.path)
        for each in behind:
            if each.start <= end and each.data:
                _clear(log, each)
    except OSError as error:
        raise StoreError(f"cannot cut the log {log.path} at {end}: {error}") from error
    return kept


class _Behind(NamedTuple):
    """What lies behind the end in the file that begins at `start`: from where on, and where it is not zero."""

    start: int
    begin: int
    data: list[tuple[int, int]]


def _look(log: LogDirectory, start: int, end: int) -> _Behind:
    begin = max(start, end)
    with closing(log.open(start, writable=False)) as segment:
        return _Behind(start, begin, list(data_ranges(segment, begin - start)))


def _has_record(log: LogDirectory, behind: _Behind) -> bool:
    """Whether a whole record lies there."""
    if not behind.data:
        return False
    with closing(log.open(behind.start, writable=False)) as segment:
        for at, size_bytes in behind.data:
            readable_bytes = segment.size_bytes - at
            if find_record(segment.address + at, size_bytes, readable_bytes, segment.start + at) != NONE:
                return True
    return False


def _clear(log: LogDirectory, behind: _Behind) -> None:
    """Zero it, durably."""
    with closing(log.open(behind.start, writable=True)) as segment:
        for at, size_bytes in behind.data:
            zero(segment.address + at, size_bytes)
        os.fdatasync(segment.descriptor)


def _set_aside(log: LogDirectory, behind: list[_Behind], quarantine: Path) -> list[Path]:
    quarantine.mkdir(exist_ok=True)
    kept: list[Path] = []
    for each in behind:
        target = _free_name(quarantine, each.begin)
        with closing(log.open(each.start, writable=False)) as segment, target.open("xb") as file:
            for at, size_bytes in each.data:
                file.seek(at - (each.begin - each.start))
                file.write(segment.view[at : at + size_bytes])
            file.flush()
            os.fsync(file.fileno())
        kept.append(target)
    sync_directory(quarantine)
    sync_directory(quarantine.parent)
    return kept


def _free_name(quarantine: Path, position: int) -> Path:
    """A name there that nothing has: what was set aside before is kept."""
    number = 0
    while True:
        path = quarantine / f"commitlog-{position:020d}.{number}"
        if not path.exists():
            return path
        number += 1
