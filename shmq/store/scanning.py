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
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from shmq.errors import DamagedLogError, StoreError
from shmq.jit import Bytes, Words
from shmq.memory.block import address_of
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
from shmq.store.record_match import TAG_WORDS, Wanted, hash_of_tag
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

_INT64_MAX: Final = (1 << 63) - 1
_STEP_BYTES: Final = 16 << 20
_STEP_ENTRIES: Final = 1 << 16
"""So much is walked before signals are heard."""
_MAPPINGS_MAX: Final = 2


def scan(  # noqa: PLR0913 - a question has many sides
    root: Path | str | StorePaths,
    *,
    topic: str | None = None,
    queue_id: int | None = None,
    begin: int | None = None,
    end: int | None = None,
    begin_offset: int | None = None,
    end_offset: int | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
    tag: str | Sequence[str] | None = None,
    key: str | None = None,
    columns: Sequence[str] | None = None,
    batch_messages: int = BATCH_MESSAGES,
    batch_bytes: int = BATCH_BYTES,
    by_queue: bool = True,
    sizes: StoreSizes | None = None,
) -> Iterator[RecordBatch]:
    """Read records of a store; ranges hold their begin and not their end, and None leaves a side open.

    Args:
        root: the store's directory, or where its parts lie.
        topic: of this topic.
        queue_id: in queues of this number.
        begin: in the log from this position on; it need not be that of a record.
        end: below this position.
        begin_offset: from this number in their queue on.
        end_offset: below this number.
        since_ms: stored from this time on. Store times never go back, so whole files are passed over.
        until_ms: stored before this time.
        tag: with this tag, or one of these.
        key: with this key, or this unique id.
        columns: of the rows; the hash of the tags is found out only where it is among them. None for all.
        batch_messages: rows of a batch, at most.
        batch_bytes: bytes of the records of a batch, at most, but for the last one; BATCH_BYTES_MAX at most.
        by_queue: whether with a topic and a queue id the queue's files may say where the messages lie.
        sizes: of the store's files; None to find them out.

    Yields:
        Batches with at least one record, each of one file of the log.

    Raises:
        StoreError: there is no store, its files are not what they must be, or (DamagedLogError) the log is damaged.
        ValueError: what is asked for cannot be.
    """
    asked = _Question(
        topic=topic,
        queue_id=queue_id,
        positions=(begin, end),
        offsets=(begin_offset, end_offset),
        times_ms=(since_ms, until_ms),
        tags=(tag,) if isinstance(tag, str) else tuple(tag or ()),
        key=key,
    )
    chosen = COLUMNS if columns is None else tuple(columns)
    if not set(chosen) <= set(COLUMNS) or len(set(chosen)) < len(chosen):
        raise ValueError(f"columns are some of {', '.join(COLUMNS)}, each once")
    if batch_messages < 1 or not 1 <= batch_bytes <= BATCH_BYTES_MAX:
        raise ValueError(f"a batch has at least one message, and 1 to {BATCH_BYTES_MAX} bytes")
    paths = root if isinstance(root, StorePaths) else StorePaths(Path(root))
    if not paths.commitlog.is_dir():
        raise StoreError(f"there is no store: {paths.commitlog} is no directory")
    filling = Filling(chosen, batch_messages, batch_bytes)
    reading = _Reading(paths, sizes or find_sizes(paths, StoreSizes(), Stated()), asked, filling)
    return reading.batches(by_queue=by_queue)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked for, as `scan` has it; a pair is a begin and an end."""

    topic: str | None
    queue_id: int | None
    positions: tuple[int | None, int | None]
    offsets: tuple[int | None, int | None]
    times_ms: tuple[int | None, int | None]
    tags: tuple[str, ...]
    key: str | None

    def __post_init__(self) -> None:
        if "" in {self.topic, self.key, *self.tags}:
            raise ValueError("a topic, a key and a tag have at least one character")
        if self.queue_id is not None and self.queue_id < 0:
            raise ValueError("queue ids are not negative")
        for pair in (self.positions, self.offsets, self.times_ms):
            if any(abs(side or 0) > _INT64_MAX for side in pair):
                raise ValueError("positions, offsets and times are 64-bit numbers")


class _Reading:
    """One scan of a store; for one thread."""

    def __init__(self, paths: StorePaths, sizes: StoreSizes, asked: _Question, filling: Filling) -> None:
        self._paths = paths
        self._asked = asked
        self._filling = filling
        self._directory = LogDirectory(paths.commitlog, sizes.commit_log_file_bytes)
        self._log = LogReader(paths.commitlog, sizes.commit_log_file_bytes, _MAPPINGS_MAX)
        self._queue_file_bytes = sizes.consume_queue_file_bytes
        self._texts: list[Bytes] = []  # keeps alive what kernels have the address of
        self._tags: Words = np.zeros(TAG_WORDS * max(len(asked.tags), 1), dtype=np.int64)
        self._wanted = self._narrowed(self._want())

    def batches(self, *, by_queue: bool) -> Iterator[RecordBatch]:
        """Read what is wanted, by the queue's files if they may say where it lies, and are there."""
        queue = self._queue_files() if by_queue else None
        with closing(self._log):
            yield from self._whole_log() if queue is None else self._queue(*queue)

    def _queue_files(self) -> tuple[Path, list[int]] | None:
        """The directory of the queue that is asked for, and where its files begin; None where there is none."""
        if self._asked.topic is None or self._asked.queue_id is None:
            return None
        try:
            directory = queue_path(self._paths.consumequeue, self._asked.topic.encode(), self._asked.queue_id)
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
        for start in starts:
            first = start // SIZE
            count = min(self._queue_file_bytes // SIZE, self._wanted.last_offset + 1 - first)
            index = max(self._wanted.first_offset - first, 0)
            if index >= count:
                continue
            path = directory / file_name(start)
            with closing(Segment.open(path, start, self._queue_file_bytes, writable=False)) as segment:
                status = yield from self._entries(segment, index, count)
            if status == PAST_END:
                break
            if status == NOTHING and start != starts[-1]:
                raise StoreError(f"the queue {directory} goes on behind {path}, which is not full")
            if status == NOTHING:
                break
        yield from self._filling.take()

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
        if address != NONE and verify_at(address, left_bytes, begin) > 0:
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

    def _want(self) -> Wanted:
        """The question as kernels understand it."""
        asked = self._asked
        topic, topic_bytes = self._text(asked.topic)
        key, key_bytes = self._text(asked.key)
        for index, tag in enumerate(asked.tags):
            text, size_bytes = self._text(tag)
            words = hash_of_tag(text, size_bytes), text, size_bytes
            self._tags[TAG_WORDS * index : TAG_WORDS * (index + 1)] = words
        first_offset, last_offset = _included(asked.offsets)
        first_ms, last_ms = _included(asked.times_ms)
        begin, end = asked.positions
        return Wanted(
            begin=max(begin or 0, 0),
            end=_INT64_MAX if end is None else end,
            topic=topic,
            topic_bytes=topic_bytes,
            queue_id=NONE if asked.queue_id is None else asked.queue_id,
            first_offset=first_offset,
            last_offset=last_offset,
            first_ms=first_ms,
            last_ms=last_ms,
            tags=address_of(self._tags),
            tag_count=len(asked.tags),
            key=key,
            key_bytes=key_bytes,
            is_placed=asked.topic is not None and asked.queue_id is not None,
            has_hashes="tag_hash" in self._filling.columns,
        )

    def _text(self, text: str | None) -> tuple[int, int]:
        """Where kernels find a text in UTF-8, and how long it is; NONE and 0 without."""
        if text is None:
            return NONE, 0
        self._texts.append(np.frombuffer(text.encode(), dtype=np.uint8))
        return address_of(self._texts[-1]), len(self._texts[-1])

    def _narrowed(self, wanted: Wanted) -> Wanted:
        """The same without the files that are not there, and those that a time rules out."""
        starts = self._directory.starts()
        begin, end = wanted.begin, wanted.end
        if not starts:
            return wanted._replace(end=begin)
        begin = max(begin, starts[0])
        if self._asked.times_ms != (None, None):
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


def _included(pair: tuple[int | None, int | None]) -> tuple[int, int]:
    """A range with its last number included."""
    begin, end = pair
    return -_INT64_MAX - 1 if begin is None else begin, _INT64_MAX if end is None else end - 1
