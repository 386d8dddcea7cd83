"""Layout and kernels: read a queue for a pull: twin of `store/read.QueueReader.read`.

    offset  size  field                what
    ------  ----  -------------------  -----------------------------------------------------------
         0     8  near_count           how much one read may take (`store/entry_scan.ReadLimits`)
         8     8  near_bytes
        16     8  far_count
        24     8  far_bytes
        32     8  near_distance_bytes
        40     8  filter_bytes
        48     8  answer_bytes
        56     8  log_file_bytes       the size of the log's files
        64     8  queue_file_entries   how many entries a queue's file holds
        72     8  note                 what the scan found; runs of messages become addresses
        80     8  tags                 room for the filter of the pull at hand
        88     8  is_readable          1 where the broker may be read
        96     8  wait_ms              how long a pull waits; NONE where its client says
       104     8  has_extensions       1 where hashes of tags are in extensions of queues, which Python reads
       128     8  status               how the last read ended (`store/read.ReadStatus`)
       136     8  next_offset          where to read on
       144     8  min_offset           of the queue
       152     8  max_offset           of the queue
       160     8  size_bytes           of all messages found
       168     8  runs                 in how many pieces of the log they lie
       256

Private to a network worker. Files that are not mapped are not read: Python maps them when it serves the request.
"""

from typing import Final

import numpy as np

from shmq.config.settings import Config
from shmq.fastpath import desk
from shmq.fastpath.tags import TAGS_MAX
from shmq.jit import Words, kernel
from shmq.memory.atomics import load_acquire
from shmq.memory.block import address_of, copy
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.store.entry_scan import BYTES, FILTERED, MISS, NEXT, RUN_BYTES, RUNS, ReadLimits, Scan, scan
from shmq.store.mapping_table import find_mapping
from shmq.store.position import NONE
from shmq.store.queue_entry import SIZE as ENTRY_SIZE
from shmq.store.queue_table import queue_bounds
from shmq.store.read import QueueReader, ReadStatus
from shmq.store.watermarks import APPENDED
from shmq.wire.flags import PERM_READ

LAYOUT: Final = layout(
    256,
    near_count=(0, "<i8"),
    near_bytes=(8, "<i8"),
    far_count=(16, "<i8"),
    far_bytes=(24, "<i8"),
    near_distance_bytes=(32, "<i8"),
    filter_bytes=(40, "<i8"),
    answer_bytes=(48, "<i8"),
    log_file_bytes=(56, "<i8"),
    queue_file_entries=(64, "<i8"),
    note=(72, "<i8"),
    tags=(80, "<i8"),
    is_readable=(88, "<i8"),
    wait_ms=(96, "<i8"),
    has_extensions=(104, "<i8"),
    status=(128, "<i8"),
    next_offset=(136, "<i8"),
    min_offset=(144, "<i8"),
    max_offset=(152, "<i8"),
    size_bytes=(160, "<i8"),
    runs=(168, "<i8"),
)
SIZE: Final = LAYOUT.itemsize
NEAR_COUNT: Final = offset_of(LAYOUT, "near_count")
NEAR_BYTES: Final = offset_of(LAYOUT, "near_bytes")
FAR_COUNT: Final = offset_of(LAYOUT, "far_count")
FAR_BYTES: Final = offset_of(LAYOUT, "far_bytes")
NEAR_DISTANCE_BYTES: Final = offset_of(LAYOUT, "near_distance_bytes")
FILTER_BYTES: Final = offset_of(LAYOUT, "filter_bytes")
ANSWER_BYTES: Final = offset_of(LAYOUT, "answer_bytes")
LOG_FILE_BYTES: Final = offset_of(LAYOUT, "log_file_bytes")
QUEUE_FILE_ENTRIES: Final = offset_of(LAYOUT, "queue_file_entries")
NOTE: Final = offset_of(LAYOUT, "note")
TAGS: Final = offset_of(LAYOUT, "tags")
IS_READABLE: Final = offset_of(LAYOUT, "is_readable")
WAIT_MS: Final = offset_of(LAYOUT, "wait_ms")
HAS_EXTENSIONS: Final = offset_of(LAYOUT, "has_extensions")
STATUS: Final = offset_of(LAYOUT, "status")
NEXT_OFFSET: Final = offset_of(LAYOUT, "next_offset")
MIN_OFFSET: Final = offset_of(LAYOUT, "min_offset")
MAX_OFFSET: Final = offset_of(LAYOUT, "max_offset")
SIZE_BYTES: Final = offset_of(LAYOUT, "size_bytes")
FOUND_RUNS: Final = offset_of(LAYOUT, "runs")

FOUND: Final = int(ReadStatus.FOUND)
NO_MATCHED_MESSAGE: Final = int(ReadStatus.NO_MATCHED_MESSAGE)
MESSAGE_WAS_REMOVING: Final = int(ReadStatus.MESSAGE_WAS_REMOVING)
OFFSET_OVERFLOW_BADLY: Final = int(ReadStatus.OFFSET_OVERFLOW_BADLY)
OFFSET_OVERFLOW_ONE: Final = int(ReadStatus.OFFSET_OVERFLOW_ONE)
OFFSET_TOO_SMALL: Final = int(ReadStatus.OFFSET_TOO_SMALL)
NO_MESSAGE_IN_QUEUE: Final = int(ReadStatus.NO_MESSAGE_IN_QUEUE)


class Reading:
    """The block, and the memory that it points to; it must outlive every use of the desk."""

    def __init__(self, at_desk: int, config: Config, reader: QueueReader) -> None:
        """Take the limits and sizes of a reader, and note on the desk where its files are mapped."""
        limits = reader.limits
        runs_max = max(limits.near_count, limits.far_count, 1)
        self._note: Words = np.zeros((RUNS + RUN_BYTES * runs_max) // 8, dtype=np.int64)
        self._tags: Words = np.zeros(TAGS_MAX, dtype=np.int64)
        self._words: Words = np.zeros(SIZE // 8, dtype=np.int64)
        self._words[: len(limits)] = limits
        self._words[LOG_FILE_BYTES // 8] = reader.log.file_bytes
        self._words[QUEUE_FILE_ENTRIES // 8] = reader.file_entries
        self._words[NOTE // 8] = address_of(self._note)
        self._words[TAGS // 8] = address_of(self._tags)
        self._words[IS_READABLE // 8] = config.broker_permission & PERM_READ != 0
        self._words[WAIT_MS // 8] = NONE if config.long_polling_enable else config.short_polling_ms
        self._words[HAS_EXTENSIONS // 8] = reader.extensions is not None
        store_native_i64(at_desk + desk.LOG_FILES, reader.log.mappings.address)
        store_native_i64(at_desk + desk.QUEUE_FILES, reader.mappings.address)
        store_native_i64(at_desk + desk.READING, address_of(self._words))


@kernel
def read(at_desk: int, slot: int, offset: int, count_max: int, tags: int, tag_count: int) -> bool:
    """Find the messages of one answer, and note what it came to; False where Python must read.

    Args:
        at_desk: the worker's desk.
        slot: the queue's.
        offset: the queue offset to begin at.
        count_max: how many messages at most.
        tags: where the hashes wanted lie.
        tag_count: how many they are; ALL for all messages.
    """
    block = load_native_i64(at_desk + desk.READING)
    min_offset, max_offset = queue_bounds(load_native_i64(at_desk + desk.QUEUES), slot)
    store_native_i64(block + MIN_OFFSET, min_offset)
    store_native_i64(block + MAX_OFFSET, max_offset)
    store_native_i64(block + SIZE_BYTES, 0)
    store_native_i64(block + FOUND_RUNS, 0)
    if max_offset == 0:
        _end(block, NO_MESSAGE_IN_QUEUE, 0)
    elif offset < min_offset:
        _end(block, OFFSET_TOO_SMALL, min_offset)
    elif offset == max_offset:
        _end(block, OFFSET_OVERFLOW_ONE, offset)
    elif offset > max_offset:
        _end(block, OFFSET_OVERFLOW_BADLY, max_offset)
    else:
        file_entries = load_native_i64(block + QUEUE_FILE_ENTRIES)
        first = offset // file_entries * file_entries
        mapped = find_mapping(load_native_i64(at_desk + desk.QUEUE_FILES), slot, first)
        if mapped == NONE:
            return False
        asked = Scan(
            mapped + (offset - first) * ENTRY_SIZE,
            offset,
            min(max_offset, first + file_entries) - offset,
            count_max,
            load_acquire(load_native_i64(at_desk + desk.WATERMARKS) + APPENDED),
            load_native_i64(block + LOG_FILE_BYTES),
            _limits(block),
            NONE if tag_count == NONE else tags,
            tag_count,
            0,
            0,
            0,
        )
        return _gather(block, load_native_i64(at_desk + desk.LOG_FILES), asked)
    return True


@kernel
def copy_found(block: int, target: int) -> None:
    """Copy the messages of the last read, one behind the other."""
    run = load_native_i64(block + NOTE) + RUNS
    end = run + RUN_BYTES * load_native_i64(block + FOUND_RUNS)
    while run < end:
        size_bytes = load_native_i64(run + 8)
        copy(target, load_native_i64(run), size_bytes)
        target += size_bytes
        run += RUN_BYTES


@kernel
def _gather(block: int, log_files: int, asked: Scan) -> bool:
    """Scan, and make addresses of the positions found; False where one is not mapped."""
    note = load_native_i64(block + NOTE)
    runs = scan(asked, note)
    next_offset = load_native_i64(note + NEXT)
    if runs == 0:
        is_filtered = load_native_i64(note + MISS) == FILTERED
        _end(block, NO_MATCHED_MESSAGE if is_filtered else MESSAGE_WAS_REMOVING, next_offset)
        return True
    for index in range(runs):
        run = note + RUNS + RUN_BYTES * index
        position = load_native_i64(run)
        at = position % asked.log_file_bytes
        mapped = find_mapping(log_files, position - at, 0)
        if mapped == NONE or at + load_native_i64(run + 8) > asked.log_file_bytes:
            return False
        store_native_i64(run, mapped + at)
    store_native_i64(block + SIZE_BYTES, load_native_i64(note + BYTES))
    store_native_i64(block + FOUND_RUNS, runs)
    _end(block, FOUND, next_offset)
    return True


@kernel
def _limits(block: int) -> ReadLimits:
    return ReadLimits(
        load_native_i64(block + NEAR_COUNT),
        load_native_i64(block + NEAR_BYTES),
        load_native_i64(block + FAR_COUNT),
        load_native_i64(block + FAR_BYTES),
        load_native_i64(block + NEAR_DISTANCE_BYTES),
        load_native_i64(block + FILTER_BYTES),
        load_native_i64(block + ANSWER_BYTES),
    )


@kernel
def _end(block: int, status: int, next_offset: int) -> None:
    store_native_i64(block + STATUS, status)
    store_native_i64(block + NEXT_OFFSET, next_offset)
