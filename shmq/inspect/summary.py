"""What a store holds, from little reading: names, sizes, headers, and the newest file of the log.

Nothing is checked; `verify.py` does that. What cannot be read of a queue is told as a problem.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shmq.errors import StoreError
from shmq.inspect.log_end import LogEnd, find_log_end, first_store_ms
from shmq.inspect.queues import open_segment
from shmq.inspect.sequences import list_sequence
from shmq.store.checkpoint import Checkpoint, read_checkpoint
from shmq.store.key_files import list_key_files
from shmq.store.key_index import FIRST_NUMBER, LAYOUT
from shmq.store.key_mark import KeyMark, read_key_mark
from shmq.store.position import NONE
from shmq.store.queue_directory import QueueDirectory, count_entries, list_queues, queue_path
from shmq.store.queue_entry import SIZE
from shmq.store.store_files import StorePaths, StoreSizes, was_left_open

_BLOCK_BYTES = 512
_ANYWHERE = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class LogSummary:
    """The log.

    Attributes:
        begin: the position of its first byte.
        end: the position behind its last whole record.
        last_record: where that begins; NONE without one.
        first_ms: the store time of the first record; NONE without one.
        last_ms: that of the last.
        files: how many files there are.
        size_bytes: how long they are together.
        disk_bytes: how much of the disk they take.
    """

    begin: int
    end: int
    last_record: int
    first_ms: int
    last_ms: int
    files: int
    size_bytes: int
    disk_bytes: int


@dataclass(slots=True)
class TopicSummary:
    """The queues of a topic: how many, how many messages they have, and the least and greatest of their offsets."""

    topic: str
    queues: int = 0
    messages: int = 0
    min_offset: int = NONE
    max_offset: int = 0

    def add(self, min_offset: int, max_offset: int) -> None:
        """Count a queue."""
        self.queues += 1
        self.messages += max_offset - min_offset
        self.min_offset = min_offset if self.min_offset == NONE else min(self.min_offset, min_offset)
        self.max_offset = max(self.max_offset, max_offset)


@dataclass(frozen=True, slots=True)
class IndexSummary:
    """The key index.

    Attributes:
        files: how many files there are.
        entries: how many entries they have, by their headers.
        begin_ms: the store time of the first record; NONE without an entry.
        end_ms: that of the last.
        disk_bytes: how much of the disk they take.
        mark: what index.checkpoint says; None where it says nothing.
    """

    files: int
    entries: int
    begin_ms: int
    end_ms: int
    disk_bytes: int
    mark: KeyMark | None


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """All of it.

    Attributes:
        is_clean: whether the last owner closed the store.
        log: the log.
        topics: the topics, those with most messages first.
        problems: what of the queues cannot be read.
        index: the key index.
        checkpoint: what the checkpoint says.
        documents: name and size of each file of config/.
        quarantine: name and size of what recovery cut off.
        free_bytes: how much of the disk is free.
    """

    is_clean: bool
    log: LogSummary
    topics: list[TopicSummary]
    problems: list[str]
    index: IndexSummary
    checkpoint: Checkpoint
    documents: dict[str, int]
    quarantine: dict[str, int]
    free_bytes: int


def summarize_store(
    paths: StorePaths, sizes: StoreSizes, progress: Callable[[str, int, int], None]
) -> StoreSummary:
    """Look at a store, changing nothing.

    Args:
        paths: where it lies.
        sizes: of its files.
        progress: told what is looked at, how many of it were, and how many there are.

    Raises:
        StoreError: a file of the log cannot be read.
    """
    log = _summarize_log(paths, sizes)
    topics, problems = _summarize_queues(paths, sizes, log.begin, progress)
    disk = os.statvfs(paths.root)
    return StoreSummary(
        is_clean=not was_left_open(paths),
        log=log,
        topics=topics,
        problems=problems,
        index=_summarize_index(paths, sizes),
        checkpoint=read_checkpoint(paths.checkpoint),
        documents=_sizes_of(paths.config),
        quarantine=_sizes_of(paths.quarantine),
        free_bytes=disk.f_bavail * disk.f_frsize,
    )


def _summarize_log(paths: StorePaths, sizes: StoreSizes) -> LogSummary:
    files = list_sequence(paths.commitlog, sizes.commit_log_file_bytes)
    end = find_log_end(files) if files else LogEnd(0, NONE, NONE)
    return LogSummary(
        begin=files[0].start if files else 0,
        end=end.position,
        last_record=end.last_record,
        first_ms=first_store_ms(files[0]) if files else NONE,
        last_ms=end.last_ms,
        files=len(files),
        size_bytes=sum(file.size_bytes for file in files),
        disk_bytes=_disk_bytes(file.path for file in files),
    )


def _summarize_queues(
    paths: StorePaths, sizes: StoreSizes, log_begin: int, progress: Callable[[str, int, int], None]
) -> tuple[list[TopicSummary], list[str]]:
    topics: dict[bytes, TopicSummary] = {}
    problems: list[str] = []
    queues = list(list_queues(paths.consumequeue, is_strict=False))
    for done, (topic, queue_id) in enumerate(queues, start=1):
        path = queue_path(paths.consumequeue, topic, queue_id)
        summary = topics.setdefault(topic, TopicSummary(topic.decode(errors="replace")))
        try:
            summary.add(*_offsets(path, sizes.consume_queue_file_bytes, log_begin))
        except StoreError as error:
            problems.append(str(error))
        progress("queues", done, len(queues))
    return sorted(topics.values(), key=lambda topic: (-topic.messages, topic.topic)), problems


def _offsets(path: Path, file_bytes: int, log_begin: int) -> tuple[int, int]:
    """The offset of a queue's first message that is still there, and the one behind its last."""
    files = list_sequence(path, file_bytes)
    if not files:
        return 0, 0
    last = files[-1]
    with closing(open_segment(last.path, last.start)) as segment:
        count = count_entries(segment.address, min(last.size_bytes, file_bytes) // SIZE, _ANYWHERE, _ANYWHERE)
    max_offset = last.start // SIZE + count
    return QueueDirectory(path, file_bytes).find_min(max_offset, log_begin), max_offset


def _summarize_index(paths: StorePaths, sizes: StoreSizes) -> IndexSummary:
    listed = [
        path for path in list_key_files(paths.index) if path.stat().st_size == sizes.key_index.file_bytes
    ]
    heads = [np.fromfile(path, dtype=LAYOUT, count=1)[0] for path in listed]
    used = [head for head in heads if FIRST_NUMBER < head["count"] <= sizes.key_index.entries]
    return IndexSummary(
        files=len(listed),
        entries=sum(int(head["count"]) - FIRST_NUMBER for head in used),
        begin_ms=int(used[0]["begin_timestamp"]) if used else NONE,
        end_ms=int(used[-1]["end_timestamp"]) if used else NONE,
        disk_bytes=_disk_bytes(listed),
        mark=read_key_mark(paths.index_checkpoint),
    )


def _sizes_of(directory: Path) -> dict[str, int]:
    if not directory.is_dir():
        return {}
    return {path.name: path.stat().st_size for path in sorted(directory.iterdir()) if path.is_file()}


def _disk_bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_blocks * _BLOCK_BYTES for path in paths)
