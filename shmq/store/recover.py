"""Recovery: make log, queues and tables agree before any role starts.

The log is the truth. It is walked with checksums from a file before which all is known to be on disk: after a
clean end the last that the queues reach into, else the last that is older than the checkpoint. Its end is where
no whole record follows. Queues are derived: after an unclean end, what they say of the walked part is dropped
and written again; after a clean end only what is missing is written. Where a record shows that its queue lacks
entries of records before the walk, the walk begins again at the first file, and so rebuilds what was lost.

Whoever comes here holds the store's lock. The order on disk is

    abort marked -> checkpoint set back to where the walk begins -> queues cut -> entries written
    -> log cut -> all synced -> checkpoint set to what is now true -> key index cut (see key_recover.py)

so recovery may be killed anywhere: the next one begins at the same file or an earlier one. What it leaves, a
RocketMQ broker can open.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from shmq.errors import StoreError
from shmq.jit import Words
from shmq.memory.block import address_of
from shmq.store.checkpoint import Checkpoint, CheckpointFile, read_checkpoint
from shmq.store.dispatch import Dispatch
from shmq.store.flush import flush_range
from shmq.store.key_recover import LogExtent, recover_keys
from shmq.store.log import LogDirectory, LogReader
from shmq.store.log_scan import (
    INVALID,
    LAST_RECORD,
    MISSES_ENTRIES,
    NEEDS_QUEUE,
    NEWEST_MS,
    NOTE_WORDS,
    REACHED,
    RECORDS,
    ScanTables,
    needed_queue,
    verify_at,
    walk_file,
)
from shmq.store.log_tail import cut_log
from shmq.store.name_table import NameTable
from shmq.store.position import NONE
from shmq.store.queue_directory import Extent, QueueDirectory, list_queues, queue_path
from shmq.store.queue_files import QueueFiles, sync_files
from shmq.store.queue_table import QueueTable
from shmq.store.record import store_timestamp
from shmq.store.segment import Segment
from shmq.store.store_files import StorePaths, StoreSizes, mark_open, sync_directory

_DISPATCH_BYTES: Final = 256 << 20
"""So much of the log is dispatched between two lines of progress."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What recovery fills: empty tables, and what the dispatcher must know besides.

    Attributes:
        topics: the names.
        queues: the queues.
        delay_levels_ms: the delay of level 1 and so on.
    """

    topics: NameTable
    queues: QueueTable
    delay_levels_ms: Sequence[int]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found and done.

    Attributes:
        trimmed: the position of the log's first byte.
        end: the position behind its last record; all below it is on disk and dispatched.
        store_ms: the newest store time seen; 0 without a record. No later record may be older.
        walked_from: where the walk with checksums began.
        records: how many records were walked.
        set_aside: copies of whole records that could not stay: a reason for an alert.
        indexed: from where on records are still to be put into the key index.
    """

    trimmed: int
    end: int
    store_ms: int
    walked_from: int
    records: int
    set_aside: tuple[Path, ...]
    indexed: int


Advance = Callable[[str, int, int], None]
"""Told what is gone through, how many bytes of it were, and how many there are."""


def recover(  # noqa: PLR0913 - a bar is for those alone who sit at a terminal
    paths: StorePaths,
    sizes: StoreSizes,
    tables: Tables,
    clean_exit: bool,
    now_ms: int,
    progress: Callable[[str], None],
    *,
    advance: Advance | None = None,
) -> Recovered:
    """Bring the store into a state from which everybody can go on.

    Args:
        paths: where it lies.
        sizes: of its files.
        tables: empty; left with every queue that there is.
        clean_exit: whether the last owner closed it.
        now_ms: the clock.
        progress: told what goes on, in sentences for an operator.
        advance: told how far long work is.

    Raises:
        StoreError: a file is foreign, missing or of another size, or the disk refuses.
    """
    recovery = _Recovery(paths, sizes, tables, clean_exit, progress)
    recovery.advance = advance or _ignore
    return recovery.run(now_ms)


def choose_start(
    log: LogDirectory, starts: list[int], checkpoint: Checkpoint, reached: int, clean_exit: bool
) -> int:
    """Where recovery begins to walk: the last file before which log and queues are on disk; the first if none is.

    Args:
        log: the log.
        starts: where its files begin, at least one.
        checkpoint: as far as it is believed.
        reached: how far into the log the queues reach; 0 where there are none.
        clean_exit: whether the last owner closed the store.
    """
    if reached == 0:
        return starts[0]
    for start in reversed(starts[1:]):
        first_ms = _first_timestamp_ms(log, start)
        if first_ms == 0:
            continue
        if start <= reached if clean_exit else first_ms <= checkpoint.safe_timestamp_ms:
            return start
    return starts[0]


def _first_timestamp_ms(log: LogDirectory, start: int) -> int:
    """The store time of a file's first record; 0 without one."""
    with closing(log.open(start, writable=False)) as segment:
        if verify_at(segment.address, segment.size_bytes, start) <= 0:
            return 0
        return store_timestamp(segment.address)


def _ignore(_what: str, _done: int, _total: int) -> None:
    pass


class _Recovery:
    advance: Advance

    def __init__(
        self,
        paths: StorePaths,
        sizes: StoreSizes,
        tables: Tables,
        clean_exit: bool,
        progress: Callable[[str], None],
    ) -> None:
        self._paths = paths
        self._sizes = sizes
        self._topics = tables.topics
        self._queues = tables.queues
        self._delay_levels_ms = tables.delay_levels_ms
        self._clean_exit = clean_exit
        self._progress = progress
        self._log = LogDirectory(paths.commitlog, sizes.commit_log_file_bytes)
        self._starts: list[int] = []
        self._note: Words = np.zeros(NOTE_WORDS, dtype=np.int64)
        self._expected: Words = np.zeros(tables.queues.capacity, dtype=np.int64)

    def run(self, now_ms: int) -> Recovered:
        self._refuse_the_impossible()
        mark_open(self._paths)
        self._starts = self._log.repair()
        if not self._starts:
            return self._begin_anew()
        self._load_queues()
        checkpoint = read_checkpoint(self._paths.checkpoint)
        begin = self._walk(checkpoint, now_ms)
        end = int(self._note[REACHED])
        self._cut_queues(end)
        self._dispatch(begin, end)
        set_aside = cut_log(self._log, end, self._paths.quarantine)
        self._sync_log(begin, end)
        self._finish_queues()
        store_ms = int(self._note[NEWEST_MS])
        last_record = max(int(self._note[LAST_RECORD]), 0)
        self._write_checkpoint(
            replace(
                checkpoint,
                log_timestamp_ms=store_ms,
                queues_timestamp_ms=store_ms,
                confirmed_position=last_record,
            )
        )
        indexed = self._recover_keys(checkpoint, self._starts[0], end)
        records = int(self._note[RECORDS])
        return Recovered(self._starts[0], end, store_ms, begin, records, tuple(set_aside), indexed)

    def _refuse_the_impossible(self) -> None:
        """Raise on a sequence that nobody can use, before anything is written."""
        self._log.starts()
        for topic, queue_id in list_queues(self._paths.consumequeue):
            self._directory(topic, queue_id).starts()

    def _begin_anew(self) -> Recovered:
        """Without a log nothing that the queues say is true."""
        for topic, queue_id in list(list_queues(self._paths.consumequeue)):
            self._progress(f"removing the queue {topic.decode(errors='replace')} {queue_id}: there is no log")
            self._directory(topic, queue_id).remove()
        self._write_checkpoint(Checkpoint())
        return Recovered(0, 0, 0, 0, 0, (), self._recover_keys(Checkpoint(), 0, 0))

    def _load_queues(self) -> None:
        for topic, queue_id in list_queues(self._paths.consumequeue):
            self._set_extent(self._add_queue(topic, queue_id), self._directory(topic, queue_id).recover())
        self._progress(f"found {self._queues.count} queues and {len(self._starts)} files of the log")

    def _walk(self, checkpoint: Checkpoint, now_ms: int) -> int:
        """Find the end of the log; return from where on queues must be made to agree with it."""
        believed = checkpoint.believed(now_ms, now_ms)
        begin = choose_start(self._log, self._starts, believed, self._reached(), self._clean_exit)
        while True:
            self._set_back(checkpoint, begin)
            is_whole = self._walk_from(begin)
            newest_ms = int(self._note[NEWEST_MS])
            if begin == self._starts[0]:
                return begin
            if not is_whole:
                self._progress("entries of a queue are missing: walking the whole log")
            elif not self._clean_exit and checkpoint.believed(newest_ms, now_ms) != checkpoint:
                self._progress("the checkpoint is newer than the log: walking the whole log")
            else:
                return begin
            begin = self._starts[0]

    def _reached(self) -> int:
        """How far into the log the queues reach."""
        return int(self._queues.end_position[: self._queues.count].max(initial=0))

    def _set_back(self, checkpoint: Checkpoint, begin: int) -> None:
        """Prepare for a walk: should it be killed, the next must not begin later."""
        is_first = begin == self._starts[0]
        limit_ms = 0 if is_first else _first_timestamp_ms(self._log, begin)
        self._write_checkpoint(
            replace(checkpoint, queues_timestamp_ms=max(0, min(checkpoint.queues_timestamp_ms, limit_ms)))
        )
        if not self._clean_exit:
            self._cut_queues(begin)

    def _walk_from(self, begin: int) -> bool:
        """Walk to the end of the log; False where a queue lacks entries of records before."""
        self._note[:] = 0
        self._note[LAST_RECORD] = NONE
        self._expected[:] = self._queues.max
        end = self._starts[-1] + self._log.file_bytes
        for start in self._starts[self._starts.index(begin) :]:
            self._progress(f"checking the log from position {start} on")
            self._note[REACHED] = start
            with closing(self._log.open(start, writable=False)) as segment:
                status = self._walk_file(segment, may_miss=begin == self._starts[0])
            if status == MISSES_ENTRIES:
                return False
            if status == INVALID:
                break
            self.advance("checking the log", start + self._log.file_bytes - begin, end - begin)
        return True

    def _walk_file(self, segment: Segment, may_miss: bool) -> int:
        tables = ScanTables(
            topics=self._topics.address,
            queues=self._queues.address,
            expected=address_of(self._expected),
            note=address_of(self._note),
            may_miss=int(may_miss),
        )
        while True:
            status = walk_file(tables, segment.address, segment.start, segment.size_bytes)
            if status != NEEDS_QUEUE:
                return status
            self._add_queue(*needed_queue(segment.address + int(self._note[REACHED]) - segment.start))

    def _cut_queues(self, position: int) -> None:
        """Drop entries of records at and behind a position."""
        for slot in np.flatnonzero(self._queues.end_position[: self._queues.count] > position):
            topic_id, queue_id = self._queues.topic_and_queue(int(slot))
            directory = self._directory(self._topics.name(topic_id), queue_id)
            self._set_extent(int(slot), directory.truncate(position))

    def _dispatch(self, begin: int, end: int) -> None:
        """Give each record of a range its entry, where it has none."""
        sizes = self._sizes
        files = QueueFiles(self._paths.consumequeue, sizes.consume_queue_file_bytes, self._queues.capacity)
        reader = LogReader(self._paths.commitlog, sizes.commit_log_file_bytes)
        dispatch = Dispatch(self._topics, self._queues, reader, files, self._delay_levels_ms, self._add_queue)
        total = end - begin
        with closing(files), closing(reader):
            while begin < end:
                result = dispatch.step(begin, end, _DISPATCH_BYTES)
                if result.problem or result.reached == begin:
                    raise StoreError(f"cannot dispatch from position {begin}: {result.problem or 'stuck'}")
                begin = result.reached
                self._progress(f"dispatched the log up to position {begin}")
                self.advance("writing the queues", total - (end - begin), total)
        dirty = files.take_dirty()
        try:
            sync_files(dirty)
            for directory in {ancestor for path in dirty.files for ancestor in list(path.parents)[:4]}:
                sync_directory(directory)
        except OSError as error:
            raise StoreError(f"cannot sync the queues: {error}") from error

    def _sync_log(self, begin: int, end: int) -> None:
        for start in self._log.starts():
            if start + self._log.file_bytes > begin:
                with closing(self._log.open(start, writable=False)) as segment:
                    flush_range([segment], begin, end)

    def _finish_queues(self) -> None:
        """Derive what is left: the first message still there, and the offset of the next."""
        for slot in range(self._queues.count):
            topic_id, queue_id = self._queues.topic_and_queue(slot)
            directory = self._directory(self._topics.name(topic_id), queue_id)
            self._queues.min[slot] = directory.find_min(int(self._queues.max[slot]), self._starts[0])
            self._queues.next[slot] = self._queues.max[slot]

    def _recover_keys(self, checkpoint: Checkpoint, begin: int, end: int) -> int:
        with closing(LogReader(self._paths.commitlog, self._sizes.commit_log_file_bytes)) as reader:
            log = LogExtent(reader, begin, end)
            return recover_keys(
                self._paths, self._sizes.key_index, log, checkpoint, self._clean_exit, self._progress
            )

    def _write_checkpoint(self, checkpoint: Checkpoint) -> None:
        with closing(CheckpointFile(self._paths.checkpoint)) as file:
            file.write(checkpoint)

    def _add_queue(self, topic: bytes, queue_id: int) -> int:
        return self._queues.add(self._topics.add(topic), queue_id)

    def _set_extent(self, slot: int, extent: Extent) -> None:
        self._queues.max[slot] = extent.max_offset
        self._queues.end_position[slot] = extent.end_position

    def _directory(self, topic: bytes, queue_id: int) -> QueueDirectory:
        path = queue_path(self._paths.consumequeue, topic, queue_id)
        return QueueDirectory(path, self._sizes.consume_queue_file_bytes)
