"""Check a whole store: log, queues, key index, checkpoint, documents. Nothing is written, no broker asked.

Memory is bounded by the number of queues, however long the log is.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.inspect.documents_check import check_checkpoint, check_documents, check_mark
from shmq.inspect.finding import Finding, Mending
from shmq.inspect.key_check import KeyCheck
from shmq.inspect.key_files_check import KeyFilesCheck, KeyMending
from shmq.inspect.log_check import LogCheck
from shmq.inspect.queue_check import LogFacts, QueueCheck
from shmq.inspect.queues import Queues, open_segment
from shmq.inspect.sequences import check_sequence, list_sequence
from shmq.store.checkpoint import read_checkpoint
from shmq.store.key_recover import LogExtent, assess_keys
from shmq.store.log import LogDirectory, LogReader
from shmq.store.log_walk import last_start
from shmq.store.position import NONE
from shmq.store.queue_directory import last_message, list_queues, queue_path
from shmq.store.queue_entry import SIZE
from shmq.store.store_files import StorePaths, StoreSizes, was_left_open

_NO_END: Final = 1 << 62
"""Where the log ends is not known before it is walked."""

DELAY_LEVELS_MS: Final = Config().delay_levels_ms

Progress = Callable[[str, int, int], None]
"""Told what is looked at, how many bytes of it were, and how many there are."""


def verify_store(
    paths: StorePaths,
    sizes: StoreSizes,
    *,
    delay_levels_ms: tuple[int, ...] = DELAY_LEVELS_MS,
    progress: Progress | None = None,
) -> Iterator[Finding]:
    """Find what does not agree in a store.

    Args:
        paths: where it lies.
        sizes: of its files.
        delay_levels_ms: the delay of level 1 and so on: queues of delayed messages say when those are due.
        progress: told how far the check is.

    Yields:
        Each inconsistency; after an end that was not clean, also what recovery mends (`is_pending`).

    Raises:
        StoreError: a file cannot be read.
    """
    now_ms = time.time_ns() // 1_000_000
    mending = Mending(not was_left_open(paths), _recovery_start(paths, sizes, now_ms))
    told = progress or _ignore
    try:
        yield from _Verification(paths, sizes, mending, delay_levels_ms, now_ms, told).run()
    except OSError as error:
        raise StoreError(f"cannot read {error.filename}: {error.strerror}") from error


class _Verification:
    def __init__(
        self,
        paths: StorePaths,
        sizes: StoreSizes,
        mending: Mending,
        delay_levels_ms: tuple[int, ...],
        now_ms: int,
        progress: Progress,
    ) -> None:
        self._paths = paths
        self._sizes = sizes
        self._mending = mending
        self._delay_levels_ms = delay_levels_ms
        self._progress = progress
        self._now_ms = now_ms
        self._checkpoint = read_checkpoint(paths.checkpoint)

    def run(self) -> Iterator[Finding]:
        paths, sizes, mending = self._paths, self._sizes, self._mending
        log_bytes = sizes.commit_log_file_bytes
        yield from check_sequence(paths.commitlog, log_bytes, is_log=True, is_clean=mending.is_clean)
        reader = LogReader(paths.commitlog, log_bytes)
        with (
            closing(reader),
            closing(Queues(paths.consumequeue, sizes.consume_queue_file_bytes)) as queues,
        ):
            log = LogCheck(paths, sizes, queues, mending, self._delay_levels_ms)
            extent = LogExtent(reader, log.begin, _NO_END)
            belief = assess_keys(paths, sizes.key_index, extent, self._checkpoint, mending.is_clean)
            key_mending = KeyMending(belief, mending)
            key_files = KeyFilesCheck(paths, sizes.key_index, key_mending)
            with closing(
                KeyCheck(sizes.key_index, key_files.readable, reader, key_mending, log.damage)
            ) as keys:
                keys.begin(log.begin, belief.resume)
                yield from log.run(keys.follow, self._counter("log", log.size_bytes))
                yield from keys.finish(log.end)
            yield from log.check_clock(self._now_ms)
            facts = LogFacts(log.begin, log.end, log.damage)
            queue_bytes = sizes.consume_queue_file_bytes
            check = QueueCheck(paths.consumequeue, queue_bytes, queues, facts, mending)
            yield from check.run(self._counter("queues", _queues_bytes(paths, queue_bytes)))
            count = self._counter("key index", key_files.size_bytes)
            yield from key_files.run(keys.corrections, reader, count)
        yield from check_checkpoint(paths, log.last_ms, log.end, self._now_ms, mending)
        yield from check_mark(paths, belief, log.end, mending)
        yield from check_documents(paths.config)

    def _counter(self, what: str, total: int) -> Callable[[int], None]:
        done = 0

        def count(size_bytes: int) -> None:
            nonlocal done
            done += size_bytes
            self._progress(what, min(done, total), total)

        return count


def _recovery_start(paths: StorePaths, sizes: StoreSizes, now_ms: int) -> int:
    """From where on recovery would look at the log, if the store was not closed."""
    log = LogDirectory(paths.commitlog, sizes.commit_log_file_bytes)
    starts = [
        file.start for file in list_sequence(log.path, log.file_bytes) if file.size_bytes == log.file_bytes
    ]
    if not starts:
        return 0
    checkpoint = read_checkpoint(paths.checkpoint).believed(now_ms, now_ms)
    if not _has_entries(paths, sizes.consume_queue_file_bytes):
        return starts[0]
    return last_start(log, starts, lambda _start, first_ms: first_ms <= checkpoint.safe_timestamp_ms)


def _has_entries(paths: StorePaths, file_bytes: int) -> bool:
    """Whether any queue has an entry of a message: without, recovery begins at the first file."""
    for queue in list_queues(paths.consumequeue, is_strict=False):
        for file in list_sequence(queue_path(paths.consumequeue, *queue), file_bytes):
            with closing(open_segment(file.path, file.start)) as segment:
                if last_message(segment.address, min(file.size_bytes, file_bytes) // SIZE) != NONE:
                    return True
    return False


def _queues_bytes(paths: StorePaths, file_bytes: int) -> int:
    """How many bytes the files of all queues have."""
    return sum(
        len(list_sequence(queue_path(paths.consumequeue, *queue), file_bytes)) * file_bytes
        for queue in list_queues(paths.consumequeue, is_strict=False)
    )


def _ignore(_what: str, _done: int, _total: int) -> None:
    pass
