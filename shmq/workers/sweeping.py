"""The file work of retention, which waits for the disk: what there is, what is left of queues, what is unlinked.

Whoever calls these is no thread that others wait for. Each may be killed and run again: a file that is gone already
needs nothing more.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from shmq.errors import StoreError
from shmq.store.extension_trim import trim_extension
from shmq.store.name_table import NameTable
from shmq.store.position import NONE
from shmq.store.queue_directory import queue_path
from shmq.store.queue_table import QueueTable, queue_bounds
from shmq.store.queue_trim import QueueTrim, trim_queue
from shmq.store.retention import Disks, LogFile
from shmq.store.segment import file_name, named_starts
from shmq.store.store_files import StorePaths, sync_directory


class Found(NamedTuple):
    """What a look at the store has found: the first files of the log, and how full its disks are."""

    files: tuple[LogFile, ...]
    disks: Disks


class Queues(NamedTuple):
    """The queues of a store, where and how large their files are, and where their extensions are."""

    table: QueueTable
    topics: NameTable
    root: Path
    file_bytes: int
    extensions: Path


class Swept(NamedTuple):
    """What trimming has left of some queues, by slot, and why others could not be looked at.

    Attributes:
        trims: what is left.
        extensions: files of their extensions that are to go.
        problems: why.
    """

    trims: dict[int, QueueTrim]
    extensions: tuple[tuple[Path, ...], ...]
    problems: tuple[str, ...]


def look_at(paths: StorePaths, count_max: int) -> Found:
    """Look at the disks, and at so many files of the log at most, the oldest first.

    Raises:
        OSError: the log's directory cannot be read.
    """
    disks = Disks(used_percent(paths.commitlog), used_percent(paths.consumequeue))
    files = [
        LogFile(start, int((paths.commitlog / file_name(start)).stat().st_mtime * 1000))
        for start in named_starts(paths.commitlog)[:count_max]
    ]
    return Found(tuple(files), disks)


def used_percent(path: Path) -> int:
    """How full the disk of a directory is for who is not root, in percent, rounded up; NONE where nobody can say."""
    while not path.exists() and path != path.parent:
        path = path.parent  # before the first message there are no queues
    try:
        disk = os.statvfs(path)
    except OSError:
        return NONE
    used = disk.f_blocks - disk.f_bfree
    whole = used + disk.f_bavail
    return -(-100 * used // whole) if whole else NONE


def remove_log_file(directory: Path, start: int) -> None:
    """Remove a file of the log, durably: no crash leaves a hole between files.

    Raises:
        OSError: the disk refuses.
    """
    (directory / file_name(start)).unlink(missing_ok=True)
    sync_directory(directory)


def sweep(queues: Queues, slots: Iterable[int], position: int) -> Swept:
    """Find what is left of queues whose log begins at a position."""
    trims: dict[int, QueueTrim] = {}
    extensions: list[tuple[Path, ...]] = []
    problems: list[str] = []
    has_extensions = queues.extensions.exists()
    for slot in slots:
        _, max_offset = queue_bounds(queues.table.address, slot)  # before the files are looked at
        topic_id, queue_id = queues.table.topic_and_queue(slot)
        try:
            queue = queues.topics.name(topic_id), queue_id
            folder = queue_path(queues.root, *queue)
            trim = trims[slot] = trim_queue(folder, queues.file_bytes, max_offset, position)
            if has_extensions:
                above = queue_path(queues.extensions, *queue)
                bounds = trim.min_offset, max_offset
                extensions.append(trim_extension(above, folder, queues.file_bytes, *bounds))
        except (OSError, StoreError) as error:
            problems.append(str(error))
    return Swept(trims, tuple(filter(None, extensions)), tuple(problems))


def remove_queue_files(paths: Sequence[Path]) -> None:
    """Remove files of one queue, the oldest first: no crash leaves a hole between them.

    Raises:
        OSError: the disk refuses.
    """
    for path in paths:
        path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):  # the queue went as a whole
        sync_directory(paths[0].parent)
