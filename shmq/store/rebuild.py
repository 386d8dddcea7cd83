"""Build queues and key index anew from the log, which is the truth: what is derived may be thrown away.

Recovery does it; here is thrown away what it is to write again, so that its next run must. Whoever comes here holds the
store's lock. The order on disk is

    abort marked -> checkpoint and index mark say that nothing is known -> queues cut -> index files removed
    -> recovery -> index built and synced -> index mark -> abort removed

so it may be killed anywhere: the next start, or the next of these, finds a store that was not closed and whose
checkpoint vouches for nothing, and builds the rest.

Of a queue the entries stay whose records the log has no more: without them a queue that has none left would begin at 0
again, and its consumers would be lost. A queue whose files cannot be used is removed whole.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from shmq.errors import StoreError
from shmq.store.checkpoint import CheckpointFile, read_checkpoint
from shmq.store.key_build import KeyBuild
from shmq.store.key_files import KeyFiles, list_key_files
from shmq.store.key_mark import KeyMark, write_key_mark
from shmq.store.log import LogDirectory, LogReader
from shmq.store.name_table import NameTable, format_name_table, name_table_bytes
from shmq.store.pace import Pace
from shmq.store.queue_directory import QueueDirectory, list_queues, queue_path
from shmq.store.queue_table import QueueTable, format_queue_table, queue_table_bytes
from shmq.store.recover import Recovered, Tables, recover
from shmq.store.segment import is_file_name, list_files
from shmq.store.store_files import (
    StorePaths,
    StoreSizes,
    mark_closed,
    mark_open,
    sync_directory,
    was_left_open,
)

_MORE_QUEUES: Final = 65_536
"""So many queues may be in the log alone."""
_STEP_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """What is to be built anew.

    Attributes:
        queues: the consume queues.
        index: the key index.
        delay_levels_ms: the delay of level 1 and so on: queues of delayed messages say when those are due.
    """

    queues: bool
    index: bool
    delay_levels_ms: Sequence[int]


def rebuild_store(
    paths: StorePaths,
    sizes: StoreSizes,
    wanted: Rebuilding,
    now_ms: int,
    say: Callable[[str], None],
    pace: Pace,
) -> Recovered:
    """Build anew what is wanted, and leave the store closed.

    Args:
        paths: where it lies.
        sizes: of its files.
        wanted: what is to be built.
        now_ms: the clock.
        say: told what goes on, in sentences.
        pace: told often how far it is.

    Returns:
        What recovery found.

    Raises:
        StoreError: there is no log, a file is foreign, or the disk refuses; it can be run again.
    """
    starts = LogDirectory(paths.commitlog, sizes.commit_log_file_bytes).starts()
    if not starts:
        raise StoreError(f"there is no log in {paths.commitlog} to build from")
    _refuse_foreign_files(paths)
    is_clean = not was_left_open(paths)
    mark_open(paths)
    if wanted.queues:
        _forget_queues(paths, sizes, starts[0], say)
    if wanted.index:
        _forget_index(paths)
    tables = _tables(paths, wanted.delay_levels_ms)
    recovered = recover(paths, sizes, tables, is_clean, now_ms, say, pace=pace)
    if wanted.index:
        _build_index(paths, sizes, recovered, now_ms, pace)
    mark_closed(paths)
    return recovered


def _refuse_foreign_files(paths: StorePaths) -> None:
    for queue in list_queues(paths.consumequeue):
        for path in list_files(queue_path(paths.consumequeue, *queue)):
            if not is_file_name(path.name):
                raise StoreError(f"{path} is no file of a queue: what is it? Nothing was changed")


def _forget_queues(paths: StorePaths, sizes: StoreSizes, begin: int, say: Callable[[str], None]) -> None:
    """Cut every queue to the entries of records below a position."""
    known = read_checkpoint(paths.checkpoint)
    with closing(CheckpointFile(paths.checkpoint)) as file:
        file.write(replace(known, queues_timestamp_ms=0))
    for topic, queue_id in list(list_queues(paths.consumequeue)):
        path = queue_path(paths.consumequeue, topic, queue_id)
        directory = QueueDirectory(path, sizes.consume_queue_file_bytes)
        try:
            directory.recover()
            directory.truncate(begin)
        except StoreError as error:
            say(f"removing the queue {topic.decode(errors='replace')} {queue_id}: {error}")
            for file_path in reversed(list_files(path)):
                file_path.unlink()
        sync_directory(path)


def _forget_index(paths: StorePaths) -> None:
    write_key_mark(paths.index_checkpoint, KeyMark(0))
    removed = list_key_files(paths.index)
    for path in removed:
        path.unlink()
    if removed:
        sync_directory(paths.index)


def _tables(paths: StorePaths, delay_levels_ms: Sequence[int]) -> Tables:
    """Empty tables, with room for what there is and more."""
    capacity = sum(1 for _ in list_queues(paths.consumequeue)) + _MORE_QUEUES
    names = np.zeros(name_table_bytes(capacity), dtype=np.uint8)
    rows = np.zeros(queue_table_bytes(capacity), dtype=np.uint8)
    format_name_table(names, capacity)
    format_queue_table(rows, capacity)
    return Tables(NameTable(names), QueueTable(rows), delay_levels_ms)


def _build_index(paths: StorePaths, sizes: StoreSizes, recovered: Recovered, now_ms: int, pace: Pace) -> None:
    files = KeyFiles(paths.index, sizes.key_index)
    with closing(files), closing(LogReader(paths.commitlog, sizes.commit_log_file_bytes)) as log:
        build = KeyBuild(log, files)
        position = begin = recovered.indexed
        while position < recovered.end:
            position = build.step(position, recovered.end, _STEP_BYTES, now_ms).reached
            pace("writing the key index", position - begin, recovered.end - begin, "bytes")
        try:
            for segment in files.take_unsynced():
                segment.sync(0, segment.size_bytes)
            _sync_names(paths.index)
        except OSError as error:
            raise StoreError(f"cannot sync the key index in {paths.index}: {error.strerror}") from error
        write_key_mark(paths.index_checkpoint, files.mark(recovered.end))


def _sync_names(directory: Path) -> None:
    if directory.exists():
        sync_directory(directory)
        sync_directory(directory.parent)
