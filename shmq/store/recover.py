"""Recovery: make log, queues and tables agree before any role starts.

The log is the truth. It is walked with checksums from a file before which all is known to be on disk: after a
clean end the last that the queues reach into, else the last that is older than the checkpoint. Its end is where
no whole record follows. Queues are derived: after an unclean end, what they say of the walked part is dropped
and written again; after a clean end only what is missing is written. Where a record shows that its queue lacks
entries of records before the walk, the walk begins again at the first file, and so rebuilds what was lost; what had
been on disk for long is then walked without checksums, as a byte that was flipped there long ago ends no log.

After a clean end of our own the close mark says what every queue was (`close_mark.py`). Where all still are, the walk
begins at the last record that any of them knows, and takes no time to speak of.

Whoever comes here holds the store's lock. What nobody can begin with is refused before anything is written
(`survey.py`). Then the order on disk is

    abort marked -> checkpoint set back to where the walk begins -> queues cut -> entries written
    -> log cut -> all synced -> checkpoint set to what is now true -> key index cut (see key_recover.py)

so recovery may be killed anywhere: the next one begins at the same file or an earlier one. What it leaves, a
RocketMQ broker can open.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from shmq.errors import StoreError
from shmq.store.checkpoint import Checkpoint, CheckpointFile, read_checkpoint
from shmq.store.close_mark import CloseMark, read_close_mark
from shmq.store.closed_queues import falls_short, last_record
from shmq.store.dispatch import Dispatch
from shmq.store.extension_files import ExtensionFiles, remove_extension
from shmq.store.flush import flush_range
from shmq.store.key_files import full_end_ms, list_key_files
from shmq.store.key_recover import LogExtent, recover_keys
from shmq.store.log import LogDirectory, LogReader
from shmq.store.log_tail import cut_log
from shmq.store.log_walk import STEP_BYTES, LogWalk, first_timestamp_ms, last_start
from shmq.store.name_table import NameTable
from shmq.store.pace import Pace, Telling, no_pace
from shmq.store.position import NONE
from shmq.store.queue_directory import Extent, QueueDirectory, queue_path
from shmq.store.queue_files import QueueFiles, Unsynced, sync_files
from shmq.store.queue_table import QueueTable
from shmq.store.store_files import StorePaths, StoreSizes, mark_open
from shmq.store.survey import Survey, refuse_more_than, survey

_ANYWHERE: Final = (1 << 63) - 1
_SYNCED_SINGLY_MAX: Final = 100
"""More files than that are made durable with all else on their disk."""


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
        full_keys_ms: the store time up to which full files of the key index are on disk.
    """

    trimmed: int
    end: int
    store_ms: int
    walked_from: int
    records: int
    set_aside: tuple[Path, ...]
    indexed: int
    full_keys_ms: int


def recover(  # noqa: PLR0913 - the last two only tell
    paths: StorePaths,
    sizes: StoreSizes,
    tables: Tables,
    clean_exit: bool,
    now_ms: int,
    progress: Callable[[str], None],
    *,
    pace: Pace = no_pace,
) -> Recovered:
    """Bring the store into a state from which everybody can go on.

    Args:
        paths: where it lies.
        sizes: of its files.
        tables: empty; left with every queue that there is.
        clean_exit: whether the last owner closed it.
        now_ms: the clock.
        progress: told what goes on, in sentences for an operator.
        pace: told often how far a long step has come.

    Raises:
        StoreError: a file is foreign, missing or of another size, or the disk refuses.
    """
    return _Recovery(paths, sizes, tables, clean_exit, Telling(progress, pace)).run(now_ms)


class _Recovery:
    def __init__(
        self,
        paths: StorePaths,
        sizes: StoreSizes,
        tables: Tables,
        clean_exit: bool,
        telling: Telling,
    ) -> None:
        self._paths = paths
        self._queue_root = paths.consumequeue
        self._sizes = sizes
        self._topics = tables.topics
        self._queues = tables.queues
        self._delay_levels_ms = tables.delay_levels_ms
        self._clean_exit = clean_exit
        self._say, self._pace = telling
        self._log = LogDirectory(paths.commitlog, sizes.commit_log_file_bytes)
        self._walk = LogWalk(self._log, tables.topics, tables.queues, telling)
        self._starts: list[int] = []
        self._topic_ids: dict[bytes, int] = {}
        self._touched: set[Path] = set()
        self._are_very_many = False

    def run(self, now_ms: int) -> Recovered:
        found = survey(self._paths, self._sizes)
        refuse_more_than(self._topics.capacity, self._queues.capacity, found)
        mark_open(self._paths)
        self._distrust_cache()
        self._starts = self._walk.starts = self._log.repair()
        if not self._starts:
            return self._begin_anew(found)
        checkpoint = read_checkpoint(self._paths.checkpoint)
        mark = read_close_mark(self._paths.queues_checkpoint) if self._clean_exit else None
        begin = self._walk_closed(mark, found) if mark is not None else NONE
        known = len(mark.queues) if mark is not None and begin != NONE else 0
        if begin == NONE:
            begin = self._walk_all(checkpoint, now_ms, found, mark)
        end = self._walk.end
        self._cut_queues(end)
        self._dispatch(begin, end)
        self._sync_queues()
        set_aside = cut_log(self._log, end, self._paths.quarantine)
        self._sync_log(begin, end)
        self._finish_queues(known)
        store_ms = self._walk.newest_ms
        last_record = max(self._walk.last_record, 0)
        true_now = replace(
            checkpoint,
            log_timestamp_ms=store_ms,
            queues_timestamp_ms=store_ms,
            confirmed_position=last_record,
        )
        self._write_checkpoint(true_now)
        self._paths.sync_failed.unlink(missing_ok=True)
        indexed, full_keys_ms = self._recover_keys(checkpoint, self._starts[0], end)
        if full_keys_ms != true_now.index_timestamp_ms:
            self._write_checkpoint(replace(true_now, index_timestamp_ms=full_keys_ms))
        records = self._walk.records
        return Recovered(
            self._starts[0], end, store_ms, begin, records, tuple(set_aside), indexed, full_keys_ms
        )

    def _distrust_cache(self) -> None:
        """Where the log could not be synced, what the system has in memory may not be on disk: read that again."""
        if not self._paths.sync_failed.exists():
            return
        self._say("the log could not be synced the last time: reading again what is on disk")
        for start in self._log.starts():
            with closing(self._log.open(start, writable=False)) as segment:
                try:
                    os.fdatasync(segment.descriptor)
                    os.posix_fadvise(segment.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                except OSError as error:
                    raise StoreError(f"cannot sync {segment.path}: {error.strerror}") from error

    def _begin_anew(self, found: Survey) -> Recovered:
        """Without a log nothing that the queues say is true."""
        for topic, queue_id in found.queues:
            self._say(f"removing the queue {topic.decode(errors='replace')} {queue_id}: there is no log")
            self._directory(topic, queue_id).remove()
            remove_extension(self._paths.extensions, (topic, queue_id))
        self._write_checkpoint(Checkpoint())
        self._paths.sync_failed.unlink(missing_ok=True)
        return Recovered(0, 0, 0, 0, 0, (), *self._recover_keys(Checkpoint(), 0, 0))

    def _load_queues(self, found: Survey, below: int) -> None:
        """Find how far the queues reach, without entries of records at and behind a position."""
        log_end = self._starts[-1] + self._log.file_bytes
        for number, (queue, files) in enumerate(found.queues.items()):
            directory = self._directory(*queue)
            self._set_extent(self._add_queue(*queue), directory.recover(log_end, below, files))
            self._touched |= directory.touched
            self._pace("looking at the queues", number + 1, len(found.queues), "queues")
        self._say(f"found {self._queues.count} queues and {len(self._starts)} files of the log")

    def _walk_closed(self, mark: CloseMark, found: Survey) -> int:
        """Walk from the last record on that any queue knows; NONE where the queues are not what the mark says."""
        if mark.log_begin != self._starts[0] or any(each.empty_last for each in found.queues.values()):
            return NONE
        files = {queue: each.starts for queue, each in found.queues.items()}
        queue_bytes = self._sizes.consume_queue_file_bytes
        position = last_record(mark, files, self._paths.consumequeue, queue_bytes)
        if self._walk.file_of(position) not in self._starts:
            return NONE
        for queue in mark.queues:
            slot = self._add_queue(queue.topic, queue.queue_id)
            self._set_extent(slot, Extent(queue.max_offset, queue.end_position))
            self._queues.min[slot] = queue.min_offset
        self._walk.checked_from = position
        is_whole = self._walk.go(position)
        return position if is_whole and self._walk.last_record != NONE else NONE

    def _walk_all(self, checkpoint: Checkpoint, now_ms: int, found: Survey, mark: CloseMark | None) -> int:
        """Find the end of the log; return from where on queues must be made to agree with it."""
        first = self._starts[0]
        begin = self._choose_start(checkpoint, now_ms, found)
        if mark is not None and falls_short(mark, self._topics, self._queues):
            self._say("a queue has lost entries since the store was closed: walking the whole log")
            begin = first
        while True:
            self._set_back(checkpoint, begin)
            is_whole = self._walk.go(begin)
            newest_ms = self._walk.newest_ms
            is_believed = self._clean_exit or checkpoint.believed(newest_ms, now_ms) == checkpoint
            if not is_believed and self._walk.checked_from > first:
                self._say("the checkpoint is newer than the log: walking the whole log")
                self._walk.checked_from = first
            elif is_whole or begin == first:
                return begin
            else:
                self._say("entries of a queue are missing: walking the whole log")
            begin = first

    def _choose_start(self, checkpoint: Checkpoint, now_ms: int, found: Survey) -> int:
        """Load the queues; return where to begin, the first file where no queue has anything.

        Checksums are looked at from the last file on before which all of the log is known to be on disk.
        """
        if self._clean_exit:
            self._load_queues(found, _ANYWHERE)
            reached = int(self._queues.end_position[: self._queues.count].max(initial=0))
            self._walk.checked_from = last_start(
                self._log, self._starts, lambda start, _ms: reached == 0 or start <= reached
            )
        else:
            safe_ms = checkpoint.believed(now_ms, now_ms).safe_timestamp_ms
            self._walk.checked_from = last_start(
                self._log, self._starts, lambda _start, first_ms: first_ms <= safe_ms
            )
            self._set_back(checkpoint, self._walk.checked_from)
            self._load_queues(found, self._walk.checked_from)
        return self._walk.checked_from if self._queues.end_position.any() else self._starts[0]

    def _set_back(self, checkpoint: Checkpoint, begin: int) -> None:
        """Prepare for a walk: should it be killed, the next must not begin later."""
        is_first = begin == self._starts[0]
        limit_ms = 0 if is_first else first_timestamp_ms(self._log, begin)
        self._write_checkpoint(
            replace(checkpoint, queues_timestamp_ms=max(0, min(checkpoint.queues_timestamp_ms, limit_ms)))
        )
        if not self._clean_exit:
            self._cut_queues(begin)

    def _cut_queues(self, position: int) -> None:
        """Drop entries of records at and behind a position."""
        for slot in np.flatnonzero(self._queues.end_position[: self._queues.count] > position):
            topic_id, queue_id = self._queues.topic_and_queue(int(slot))
            directory = self._directory(self._topics.name(topic_id), queue_id)
            self._set_extent(int(slot), directory.truncate(position))
            self._touched |= directory.touched

    def _dispatch(self, begin: int, end: int) -> None:
        """Give each record of a range its entry, where it has none."""
        sizes = self._sizes
        files = QueueFiles(self._paths.consumequeue, sizes.consume_queue_file_bytes, self._queues.capacity)
        reader = LogReader(self._paths.commitlog, sizes.commit_log_file_bytes)
        dispatch = Dispatch(self._topics, self._queues, reader, files, self._delay_levels_ms, self._add_queue)
        extensions = ExtensionFiles(
            self._paths.extensions, sizes.extension_file_bytes, self._queue_root, is_alone=True
        )
        if sizes.extension_file_bytes:
            dispatch.keep_extensions(extensions)
        reached = begin
        with closing(files), closing(reader), closing(extensions):
            while reached < end:
                result = dispatch.step(reached, end, STEP_BYTES)
                if result.problem or result.reached == reached:
                    raise StoreError(f"cannot dispatch from position {reached}: {result.problem or 'stuck'}")
                reached = result.reached
                self._pace("writing the queues", reached - begin, end - begin, "bytes")
        if sizes.extension_file_bytes:
            self._sync(extensions.take_dirty())  # before the entries that lead there
        unsynced = files.take_dirty()
        self._are_very_many = unsynced.files == [self._queue_root]
        for path in unsynced.files:
            self._touched |= {
                path,
                *(self._queue_root / each for each in path.relative_to(self._queue_root).parents),
            }

    def _sync_queues(self) -> None:
        """Make durable what was changed of the queues.

        A disk may take milliseconds for each file; and all of a disk may hold what others wrote there.
        """
        if self._are_very_many or len(self._touched) > _SYNCED_SINGLY_MAX:
            unsynced = Unsynced([self._queue_root], [])
        else:
            directories = [path for path in self._touched if path.is_dir()]
            unsynced = Unsynced([path for path in self._touched if path not in directories], directories)
        self._sync(unsynced)

    def _sync(self, unsynced: Unsynced) -> None:
        try:
            sync_files(unsynced)
        except OSError as error:
            raise StoreError(f"cannot sync the queues: {error}") from error

    def _sync_log(self, begin: int, end: int) -> None:
        for start in self._log.starts():
            if start + self._log.file_bytes > begin:
                with closing(self._log.open(start, writable=False)) as segment:
                    flush_range([segment], begin, end)

    def _finish_queues(self, known: int) -> None:
        """Derive what is left: the first message still there, but of the first `known` slots, and the next offset."""
        for slot in range(known, self._queues.count):
            topic_id, queue_id = self._queues.topic_and_queue(slot)
            directory = self._directory(self._topics.name(topic_id), queue_id)
            self._queues.min[slot] = directory.find_min(int(self._queues.max[slot]), self._starts[0])
            self._pace("looking at the queues", slot + 1, self._queues.count, "queues")
        self._queues.next[:] = self._queues.max

    def _recover_keys(self, checkpoint: Checkpoint, begin: int, end: int) -> tuple[int, int]:
        """Return from where on keys are to be written, and the store time up to which full files are on disk."""
        with closing(LogReader(self._paths.commitlog, self._sizes.commit_log_file_bytes)) as reader:
            log = LogExtent(reader, begin, end)
            indexed = recover_keys(
                self._paths, self._sizes.key_index, log, checkpoint, self._clean_exit, self._say
            )
        return indexed, full_end_ms(list_key_files(self._paths.index))

    def _write_checkpoint(self, checkpoint: Checkpoint) -> None:
        with closing(CheckpointFile(self._paths.checkpoint)) as file:
            file.write(checkpoint)

    def _add_queue(self, topic: bytes, queue_id: int) -> int:
        topic_id = self._topic_ids.get(topic, NONE)
        if topic_id == NONE:
            topic_id = self._topic_ids[topic] = self._topics.add(topic)
        return self._queues.add(topic_id, queue_id)

    def _set_extent(self, slot: int, extent: Extent) -> None:
        self._queues.max[slot] = extent.max_offset
        self._queues.end_position[slot] = extent.end_position

    def _directory(self, topic: bytes, queue_id: int) -> QueueDirectory:
        path = queue_path(self._queue_root, topic, queue_id)
        return QueueDirectory(path, self._sizes.consume_queue_file_bytes)
