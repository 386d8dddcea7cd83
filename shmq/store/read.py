"""Read a queue: the slices of the log that answer a pull.

A network worker reads through mappings of its own, up to the queue's published `max`, and hands out slices of the
log, so no message is copied; one is looked at only where a filter of properties is to be asked. One read stays within
one queue file, as in RocketMQ. A queue file opened once is kept; the one used longest ago makes room. Nothing here is
written, so a crash leaves nothing.
"""

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from shmq.errors import StoreError
from shmq.jit import Words
from shmq.memory.block import address_of
from shmq.store.bit_marks import ExtensionReader, MarkedFilter
from shmq.store.entry_scan import (
    BYTES,
    COUNT,
    FILTERED,
    MISS,
    NEXT,
    REMOVED,
    RUN_BYTES,
    RUNS,
    ReadLimits,
    Scan,
    entries_looked_at,
    scan,
)
from shmq.store.log import LogReader
from shmq.store.mapping_table import MappingTable
from shmq.store.position import NONE
from shmq.store.property_match import ENTRIES_MAX, Picker, PropertyFilter
from shmq.store.queue_directory import queue_path
from shmq.store.queue_entry import SIZE
from shmq.store.queue_files import default_windows_max
from shmq.store.queue_table import QueueTable, queue_bounds
from shmq.store.segment import file_name
from shmq.store.store_files import StoreSizes

_Picking: TypeAlias = Callable[[int, range], set[int]]


class ReadStatus(IntEnum):
    """How a read ended, by RocketMQ's names."""

    FOUND = 0
    NO_MATCHED_MESSAGE = 1
    MESSAGE_WAS_REMOVING = 2
    OFFSET_FOUND_NULL = 3
    OFFSET_OVERFLOW_BADLY = 4
    OFFSET_OVERFLOW_ONE = 5
    OFFSET_TOO_SMALL = 6
    NO_MATCHED_LOGIC_QUEUE = 7
    NO_MESSAGE_IN_QUEUE = 8
    OFFSET_RESET = 9


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What one read came to.

    Attributes:
        status: how it ended.
        next_offset: where to read on.
        min_offset: of the queue.
        max_offset: of the queue.
        slices: the messages, in order; neighbours in the log share a slice.
        size_bytes: of all slices.
        count: how many messages they are.
    """

    status: ReadStatus
    next_offset: int
    min_offset: int
    max_offset: int
    slices: tuple[memoryview, ...] = ()
    size_bytes: int = 0
    count: int = 0


class QueueReader:
    """Read-only mappings of queue files, made when needed, and the log behind them; for one thread.

    Attributes:
        log: where the messages are.
        queues: the queue table.
        mappings: (slot, first queue offset) of a file -> where it is mapped, for kernels.
        file_entries: how many entries a file holds.
        limits: how much one read may take.
        extensions: reads bit maps, where there may be any.
    """

    def __init__(
        self,
        root: Path,
        sizes: StoreSizes,
        queues: QueueTable,
        log: LogReader,
        limits: ReadLimits = ReadLimits(),  # noqa: B008 - it is immutable
    ) -> None:
        """Open no file yet.

        Args:
            root: the directory of all queues.
            sizes: the sizes of files.
            queues: the queue table.
            log: the log.
            limits: how much one read may take.
        """
        self.log = log
        self.queues = queues
        self._root = root
        self._file_bytes = sizes.consume_queue_file_bytes
        self.file_entries = sizes.consume_queue_file_bytes // SIZE
        self.limits = limits
        self.extensions: ExtensionReader | None = None
        self._mapped: dict[tuple[int, int], mmap.mmap] = {}
        self._mappings_max = default_windows_max()
        self.mappings = MappingTable(self._mappings_max)
        runs_max = max(limits.near_count, limits.far_count, 1)
        self._note: Words = np.zeros((RUNS + RUN_BYTES * runs_max) // 8, dtype=np.int64)
        self._note_address = address_of(self._note)
        self._picker = Picker()

    def bounds(self, slot: int) -> tuple[int, int]:
        """The queue's min and max offset; (0, 0) of a queue that is not there."""
        if slot == NONE:
            return 0, 0
        return queue_bounds(self.queues.address, slot)

    def read(
        self,
        slot: int,
        queue: tuple[bytes, int],
        offset: int,
        count_max: int,
        log_end: int,
        wanted: frozenset[int] | PropertyFilter | None,
    ) -> ReadResult:
        """The messages of one answer.

        Args:
            slot: the queue's, or NONE where it was never written.
            queue: its topic and queue id.
            offset: the queue offset to begin at.
            count_max: how many messages at most.
            log_end: the end of the log, to tell near messages from far.
            wanted: Java hashes of the tags wanted, as signed 32-bit numbers, or a filter of properties; None for all
                messages.
        """
        min_offset, max_offset = self.bounds(slot)
        refused = _refusal(slot, offset, min_offset, max_offset)
        if refused is not None:
            return refused
        entries = self.entries_at(slot, queue, offset)
        if entries == NONE:
            next_offset = offset + self.file_entries - offset % self.file_entries
            return ReadResult(ReadStatus.OFFSET_FOUND_NULL, next_offset, min_offset, max_offset)
        tags = _sorted_tags(wanted) if isinstance(wanted, frozenset) else _ALL_TAGS
        scanned = Scan(
            entries=entries,
            offset=offset,
            entry_count=self.entries_until(offset, max_offset),
            count_max=count_max,
            log_end=log_end,
            log_file_bytes=self.log.file_bytes,
            limits=self.limits,
            tags=address_of(tags) if isinstance(wanted, frozenset) else NONE,
            tag_count=len(tags),
            gone=0,
            gone_count=0,
            picked=0,
        )
        picking = self._picking(wanted, slot, queue)
        if picking is None:
            return self._gather(scanned, min_offset, max_offset, [])
        return self._read_picked(scanned, picking, (min_offset, max_offset))

    def entries_at(self, slot: int, queue: tuple[bytes, int], offset: int) -> int:
        """Where the entry of a queue offset is mapped, or NONE; for use before the next call."""
        first = offset // self.file_entries * self.file_entries
        address = self.mappings.find(slot, first)
        if address == NONE:
            address = self._map(slot, queue, first)
        return NONE if address == NONE else address + (offset - first) * SIZE

    def entries_until(self, offset: int, end: int) -> int:
        """How many entries lie in the file of a queue offset from there on, below an end."""
        return min(end, (offset // self.file_entries + 1) * self.file_entries) - offset

    def forget_below(self, position: int) -> None:
        """Let go of what retention has removed: log files wholly below a position, and queue files with gone entries.

        A queue file that begins below its queue's min may be gone, and another one be made under its name.
        """
        self.log.forget_below(position)
        if self.extensions is not None:
            self.extensions.forget()
        for key in [key for key in self._mapped if key[1] < int(self.queues.min[key[0]])]:
            self._unmap(key)

    def forget(self, slot: int) -> None:
        """Let go of a queue's files, where they were removed."""
        if self.extensions is not None:
            self.extensions.forget(slot)
        for key in [key for key in self._mapped if key[0] == slot]:
            self._unmap(key)

    def close(self) -> None:
        """Let go of all files, the log's included."""
        for key in list(self._mapped):
            self._unmap(key)
        if self.extensions is not None:
            self.extensions.forget()
        self.log.close()

    def _picking(
        self, wanted: frozenset[int] | PropertyFilter | None, slot: int, queue: tuple[bytes, int]
    ) -> _Picking | None:
        """What picks the entries of a part, and names starts of log files that are gone; None where the scan can alone.

        The queue's end was read before: whoever made a bit map before that end had seen no later generation.
        """
        extensions, picker = self.extensions, self._picker
        if wanted is None or (isinstance(wanted, frozenset) and extensions is None):
            return None
        if isinstance(wanted, frozenset):
            tags = _sorted_tags(wanted)

            def pick_tagged(entries: int, part: range) -> set[int]:
                assert extensions is not None
                extensions.mark_tagged(tags, slot, queue, entries, part, picker.address)
                return set()

            return pick_tagged
        marked = wanted if isinstance(wanted, MarkedFilter) and wanted.names else None
        if extensions is None or marked is None or extensions.generation() != marked.generation:
            return lambda entries, part: picker.pick(wanted, entries, part, self.log)

        def pick_marked(entries: int, part: range) -> set[int]:
            extensions.mark(marked, slot, queue, entries, part, picker.address)
            return picker.pick(marked, entries, part, self.log, is_marked=True)

        return pick_marked

    def _read_picked(self, asked: Scan, picking: _Picking, bounds: tuple[int, int]) -> ReadResult:
        """Have the filter look at more and more entries, until the answer is full or it may look at no more."""
        looked_at = entries_looked_at(self.limits.filter_bytes, asked.count_max)
        entry_max = min(asked.entry_count, looked_at, ENTRIES_MAX)
        enough = min(asked.count_max, self.limits.near_count)
        gone: set[int] = set()
        end, step = 0, max(enough, 1)
        while True:
            part = range(end, min(end + step, entry_max))
            gone |= picking(asked.entries, part)
            end, step = part.stop, 2 * step
            picked = asked._replace(entry_count=end, picked=self._picker.address)
            result = self._gather(picked, *bounds, sorted(gone))
            if end == entry_max or result.count >= enough or result.next_offset < asked.offset + end:
                return result

    def _gather(self, asked: Scan, min_offset: int, max_offset: int, gone: list[int]) -> ReadResult:
        """Scan, and fetch what was found; once more for each log file that turns out to be gone."""
        while True:
            if gone:
                known_gone = np.array(gone, dtype=np.int64)
                asked = asked._replace(gone=address_of(known_gone), gone_count=len(gone))
            runs = scan(asked, self._note_address)
            note = self._note[: RUNS // 8 + RUN_BYTES // 8 * runs].tolist()
            slices: list[memoryview] = []
            for at in range(RUNS // 8, len(note), 2):
                piece = self.log.slice(note[at], note[at + 1])
                if piece is None:
                    gone.append(note[at] // self.log.file_bytes * self.log.file_bytes)
                    break
                slices.append(piece)
            else:
                status = ReadStatus.FOUND if runs else _MISSES[note[MISS // 8]]
                return ReadResult(
                    status,
                    note[NEXT // 8],
                    min_offset,
                    max_offset,
                    tuple(slices),
                    note[BYTES // 8],
                    note[COUNT // 8],
                )

    def _map(self, slot: int, queue: tuple[bytes, int], first: int) -> int:
        """Map the file that begins with a queue offset; return where, or NONE where there is none."""
        path = queue_path(self._root, *queue) / file_name(first * SIZE)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return NONE
        try:
            found_bytes = os.fstat(descriptor).st_size
            if found_bytes != self._file_bytes:
                raise StoreError(f"{path} has {found_bytes} bytes where {self._file_bytes} are configured")
            mapping = mmap.mmap(descriptor, self._file_bytes, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        if len(self._mapped) >= self._mappings_max:
            self._unmap(self.mappings.oldest())
        address = address_of(np.frombuffer(mapping, dtype=np.uint8))
        self._mapped[slot, first] = mapping
        self.mappings.enter(slot, first, address)
        return address

    def _unmap(self, key: tuple[int, int]) -> None:
        self.mappings.remove(*key)
        self._mapped.pop(key).close()


def _refusal(slot: int, offset: int, min_offset: int, max_offset: int) -> ReadResult | None:
    """The result of a read that finds nothing whatever lies in the files; None where there is something."""
    if slot == NONE:
        status, next_offset = ReadStatus.NO_MATCHED_LOGIC_QUEUE, 0
    elif max_offset == 0:
        status, next_offset = ReadStatus.NO_MESSAGE_IN_QUEUE, 0
    elif offset < min_offset:
        status, next_offset = ReadStatus.OFFSET_TOO_SMALL, min_offset
    elif offset == max_offset:
        status, next_offset = ReadStatus.OFFSET_OVERFLOW_ONE, offset
    elif offset > max_offset:
        status, next_offset = ReadStatus.OFFSET_OVERFLOW_BADLY, max_offset
    else:
        return None
    return ReadResult(status, next_offset, min_offset, max_offset)


_ALL_TAGS: Final = np.zeros(0, dtype=np.int64)
_MISSES: Final = {FILTERED: ReadStatus.NO_MATCHED_MESSAGE, REMOVED: ReadStatus.MESSAGE_WAS_REMOVING}


@lru_cache(maxsize=1024)
def _sorted_tags(tag_hashes: frozenset[int]) -> Words:
    return np.array(sorted(tag_hashes), dtype=np.int64)
