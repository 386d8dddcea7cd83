"""Read the log as data: `scan` gives its records in batches, straight from the mapped files.

It opens files for reading only, takes no lock and needs no broker; one may be running. What it gives:

- The records of the log, in its order; with a topic and a queue id those that the queue has, in its order. Where the
  queue's files are there, they say where these lie, and no other record is looked at: the newest messages of a
  broker that is running are in there some milliseconds late, and those of one that lost its power may be missing
  until it has recovered. `by_queue=False` reads the log instead.
- Up to where the log ended when the scan came there. That is where nothing is written: what a writer is just putting
  there, or was when it was killed, is no record yet. Whether a record's body is whole, `body_crc` says; it is not
  checked here.
- Where neither a record nor nothing lies, or the log goes on behind nothing, it is damaged: what comes before is
  given, then DamagedLogError is raised. A scan that begins behind that place goes on.
- What retention removes while it is read is passed over.

Nothing is made for each message: a kernel fills rows, a batch holds an array of them and the file.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, Unpack

from shmq.errors import DamagedLogError, StoreError
from shmq.memory.endian import load_i32
from shmq.store import record
from shmq.store.found_sizes import Stated, find_sizes
from shmq.store.log import LogDirectory, LogReader
from shmq.store.log_scan import verify_at
from shmq.store.position import NONE
from shmq.store.queue_directory import queue_path
from shmq.store.queue_entry import SIZE
from shmq.store.record_batch import COLUMNS, RecordBatch
from shmq.store.record_filling import Filling
from shmq.store.record_match import Wanted
from shmq.store.record_question import Asked, Question
from shmq.store.record_rows import (
    END_OF_FILE,
    FULL,
    INVALID,
    MORE,
    NEEDS_FILE,
    NEEDS_TOPIC,
    NOTHING,
    PAST_END,
    walk_entries,
    walk_records,
)
from shmq.store.segment import Segment, file_name, list_starts
from shmq.store.store_files import StorePaths, StoreSizes

BATCH_MESSAGES: Final = 65_536
BATCH_BYTES: Final = 64 << 20
BATCH_BYTES_MAX: Final = 512 << 20
"""What Arrow's 32-bit offsets hold of texts, even where each of their bytes is replaced by three."""

_STEP_BYTES: Final = 16 << 20
_STEP_ENTRIES: Final = 1 << 16
"""So much is walked before signals are heard."""
_MAPPINGS_MAX: Final = 2


def scan(
    root: Path | str | StorePaths,
    *,
    columns: Sequence[str] | None = None,
    batch_messages: int = BATCH_MESSAGES,
    batch_bytes: int = BATCH_BYTES,
    by_queue: bool = True,
    sizes: StoreSizes | None = None,
    **asked: Unpack[Asked],
) -> Iterator[RecordBatch]:
    """Read records of a store.

    Args:
        root: the store's directory, or where its parts lie.
        columns: of the rows; the hash of the tags is found out only where it is among them. None for all.
        batch_messages: rows of a batch, at most.
        batch_bytes: no record is added to a batch that has so many bytes; BATCH_BYTES_MAX at most.
        by_queue: whether with a topic and a queue id the queue's files may say where the messages lie.
        sizes: of the store's files; None to find them out.
        asked: which records, see `shmq.store.record_question.Asked`: topic, queue_id, begin and end (positions),
            begin_offset and end_offset, since_ms and until_ms, tag, key.

    Yields:
        Batches with at least one record, each of one file of the log.

    Raises:
        StoreError: there is no store, its files are not what they must be, or (DamagedLogError) the log is damaged.
        ValueError: what is asked for cannot be.
    """
    chosen = COLUMNS if columns is None else tuple(columns)
    if not set(chosen) <= set(COLUMNS) or len(set(chosen)) < len(chosen):
        raise ValueError(f"columns are some of {', '.join(COLUMNS)}, each once")
    if batch_messages < 1 or not 1 <= batch_bytes <= BATCH_BYTES_MAX:
        raise ValueError(f"a batch has at least one message, and 1 to {BATCH_BYTES_MAX} bytes")
    question = Question(asked, has_hashes="tag_hash" in chosen)
    paths = root if isinstance(root, StorePaths) else StorePaths(Path(root))
    if not paths.commitlog.is_dir():
        raise StoreError(f"there is no store: {paths.commitlog} is no directory")
    filling = Filling(chosen, batch_messages, batch_bytes)
    reading = _Reading(paths, sizes or find_sizes(paths, StoreSizes(), Stated()), question, filling)
    return reading.batches(by_queue=by_queue)


class _Reading:
    """One scan of a store; for one thread."""

    def __init__(self, paths: StorePaths, sizes: StoreSizes, question: Question, filling: Filling) -> None:
        self._paths = paths
        self._question = question
        self._filling = filling
        self._directory = LogDirectory(paths.commitlog, sizes.commit_log_file_bytes)
        self._log = LogReader(paths.commitlog, sizes.commit_log_file_bytes, _MAPPINGS_MAX)
        self._queue_file_bytes = sizes.consume_queue_file_bytes
        self._wanted = self._narrowed(question.wanted)

    def batches(self, *, by_queue: bool) -> Iterator[RecordBatch]:
        """Read what is wanted, by the queue's files if they may say where it lies, and are there."""
        queue = self._queue_files() if by_queue else None
        with closing(self._log):
            yield from self._whole_log() if queue is None else self._queue(*queue)

    def _queue_files(self) -> tuple[Path, list[int]] | None:
        """The directory of the queue that is asked for, and where its files begin; None where there is none."""
        if self._question.queue is None:
            return None
        try:
            directory = queue_path(self._paths.consumequeue, *self._question.queue)
        except StoreError:
            return None
        starts = list_starts(directory, self._queue_file_bytes)
        return (directory, starts) if starts else None

    def _whole_log(self) -> Iterator[RecordBatch]:
        """Read what is wanted file by file."""
        start = self._wanted.begin - self._wanted.begin % self._directory.file_bytes
        position = self._first_record(start)
        while position < self._wanted.end:
            file = self._log.slice(start, self._directory.file_bytes)
            if file is None:
                later = [other for other in self._directory.starts() if other > start]
                if not later:
                    break
                start = position = later[0]  # retention went by
                continue
            self._filling.open(file, start)
            status = yield from self._file(position)
            if status != END_OF_FILE:
                break
            start = position = start + self._directory.file_bytes

    def _queue(self, directory: Path, starts: list[int]) -> Iterator[RecordBatch]:
        """Read what is wanted of a queue, as its entries name it."""
        while starts:
            start, *starts = starts
            status = yield from self._queue_file(directory, start)
            if status == NOTHING and starts:
                yield from self._filling.take()
                raise StoreError(
                    f"the queue {directory} goes on behind {file_name(start)}, which is not full"
                )
            if status in {NOTHING, PAST_END}:
                break
            if not starts:  # a broker may have gone on
                starts = [other for other in list_starts(directory, self._queue_file_bytes) if other > start]
        yield from self._filling.take()

    def _queue_file(self, directory: Path, start: int) -> Generator[RecordBatch, None, int]:
        """Read what one file of the queue names; return why it ended: MORE where it did not."""
        first = start // SIZE
        count = min(self._queue_file_bytes // SIZE, self._wanted.last_offset + 1 - first)
        index = max(self._wanted.first_offset - first, 0)
        if index >= count:
            return MORE
        path = directory / file_name(start)
        try:
            segment = Segment.open(path, start, self._queue_file_bytes, writable=False)
        except StoreError:
            if path.exists():
                raise
            return MORE  # retention went by
        with closing(segment):
            return (yield from self._entries(segment, index, count))

    def _file(self, position: int) -> Generator[RecordBatch, None, int]:
        """Read the open file from a position on; return why it ended."""
        self._filling.reached = position
        has_looked_again = False
        while True:
            status = walk_records(self._filling.place, self._wanted, _STEP_BYTES)
            if status == NEEDS_TOPIC:
                self._filling.add_topic()
            elif status == FULL:
                yield from self._filling.take()
            elif status == NOTHING and not has_looked_again and self._goes_on():
                has_looked_again = True  # a broker may have come to the next file in between
            elif status != MORE:
                break
        yield from self._filling.take()
        if status == INVALID or (status == NOTHING and has_looked_again):
            raise self._damage()
        return status

    def _entries(self, segment: Segment, index: int, count: int) -> Generator[RecordBatch, None, int]:
        """Read what entries of a file of the queue name; return why it ended: MORE where it did not."""
        status = MORE
        while index < count and status not in {NOTHING, PAST_END}:
            entries = segment.address + index * SIZE
            taken, status = walk_entries(
                self._filling.place, self._wanted, entries, min(count - index, _STEP_ENTRIES)
            )
            index += taken
            if status == NEEDS_TOPIC:
                self._filling.add_topic()
            elif status == FULL:
                yield from self._filling.take()
            elif status == NEEDS_FILE:
                yield from self._filling.take()
                self._open_around(self._filling.reached)
            elif status == INVALID:
                yield from self._filling.take()
                raise self._damage()
        return status

    def _open_around(self, position: int) -> None:
        """Open the file of the log that holds a position, or want nothing of what is gone."""
        start = position - position % self._directory.file_bytes
        file = self._log.slice(start, self._directory.file_bytes)
        if file is not None:
            self._filling.open(file, start)
            return
        starts = self._directory.starts()
        if starts and position >= starts[0]:
            raise self._damage()
        self._wanted = self._wanted._replace(begin=starts[0] if starts else self._wanted.end)

    def _first_record(self, start: int) -> int:
        """Where to begin in the file that begins here: with the record that is asked for, else with the first."""
        begin = self._wanted.begin
        address, left_bytes = self._log.address_of(begin)
        if address != NONE and verify_at(address, left_bytes, begin, check_crc=True) > 0:
            return begin
        return start

    def _goes_on(self) -> bool:
        """Whether the file behind the open one holds anything."""
        following = self._log.slice(self._filling.start + self._directory.file_bytes, record.BLANK_BYTES_MIN)
        return following is not None and any(following)

    def _damage(self) -> DamagedLogError:
        position = self._filling.reached
        start = position - position % self._directory.file_bytes
        return DamagedLogError(
            f"no whole record lies at position {position} of the log, {self._directory.file(start)}", position
        )

    def _narrowed(self, wanted: Wanted) -> Wanted:
        """The same without the files that are not there, and those that a time rules out."""
        starts = self._directory.starts()
        begin, end = wanted.begin, wanted.end
        if not starts:
            return wanted._replace(end=begin)
        begin = max(begin, starts[0])
        if self._question.has_times:
            for start in starts:
                first_ms = self._first_store_ms(start)
                if first_ms is not None and first_ms < wanted.first_ms:
                    begin = max(begin, start)
                if first_ms is not None and first_ms > wanted.last_ms:
                    end = min(end, start)
        return wanted._replace(begin=begin, end=end)

    def _first_store_ms(self, start: int) -> int | None:
        """When the first record of a file was stored; None without one."""
        address, left_bytes = self._log.address_of(start)
        if address == NONE or left_bytes < record.HEAD_BYTES + record.V6_EXTRA_BYTES:
            return None
        magic = load_i32(address + record.MAGIC)
        return record.store_timestamp(address) if magic in {record.MAGIC_V1, record.MAGIC_V2} else None
