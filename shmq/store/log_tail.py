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
    starts = log.starts()
    later = [start for start in starts if start > end]
    holding = [start for start in starts if start <= end < start + log.file_bytes]
    try:
        kept: list[Path] = []
        if any(_has_record(log, start, max(start, end)) for start in holding + later):
            kept = _set_aside(log, holding, later, end, quarantine)
        for start in reversed(later):
            log.file(start).unlink(missing_ok=True)
        sync_directory(log.path)
        for start in holding:
            _clear(log, start, end - start)
    except OSError as error:
        raise StoreError(f"cannot cut the log {log.path} at {end}: {error}") from error
    return kept


def _has_record(log: LogDirectory, start: int, begin: int) -> bool:
    """Whether a whole record lies in a file from a position on."""
    with closing(log.open(start, writable=False)) as segment:
        for at, size_bytes in data_ranges(segment, begin - start):
            found = find_record(segment.address + at, size_bytes, segment.size_bytes - at, start + at)
            if found != NONE:
                return True
    return False


def _set_aside(
    log: LogDirectory, holding: list[int], later: list[int], end: int, quarantine: Path
) -> list[Path]:
    quarantine.mkdir(exist_ok=True)
    kept: list[Path] = []
    for start, begin in [(start, end) for start in holding] + [(start, start) for start in later]:
        target = _free_name(quarantine, begin)
        with closing(log.open(start, writable=False)) as segment, target.open("xb") as file:
            for at, size_bytes in data_ranges(segment, begin - start):
                file.seek(at - (begin - start))
                file.write(segment.view[at : at + size_bytes])
            file.flush()
            os.fsync(file.fileno())
        kept.append(target)
    sync_directory(quarantine)
    sync_directory(quarantine.parent)
    return kept


def _clear(log: LogDirectory, start: int, offset_bytes: int) -> None:
    """Zero a file from an offset on, and sync it where that changed anything."""
    with closing(log.open(start, writable=True)) as segment:
        is_changed = False
        for at, size_bytes in data_ranges(segment, offset_bytes):
            zero(segment.address + at, size_bytes)
            is_changed = True
        if is_changed:
            os.fdatasync(segment.descriptor)


def _free_name(quarantine: Path, position: int) -> Path:
    """A name there that nothing has: what was set aside before is kept."""
    number = 0
    while True:
        path = quarantine / f"commitlog-{position:020d}.{number}"
        if not path.exists():
            return path
        number += 1
