"""All queues of a store, with a window on one file of each for the walk of the log; made when needed, read only.

The log names a queue's entries one after the other, so that each file of a queue is mapped once. A window costs no
descriptor; where there are more queues than mappings, the one opened longest ago goes.
"""

import os
from collections import OrderedDict
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from shmq.errors import StoreError
from shmq.inspect.log_walk import QUEUE_LAYOUT
from shmq.inspect.sequences import list_sequence
from shmq.memory.block import address_of
from shmq.memory.mapping import map_part, unmap_part
from shmq.store.name_table import NAME_BYTES_MAX, NameTable, format_name_table, name_table_bytes
from shmq.store.position import NONE
from shmq.store.queue_directory import first_message, list_queues, queue_path
from shmq.store.queue_entry import SIZE, QueueEntry, decode
from shmq.store.queue_files import part_windows_max
from shmq.store.queue_table import QueueTable, format_queue_table, queue_table_bytes
from shmq.store.segment import Segment, file_name

_MORE: Final = 65_536
"""So many queues may be in the log alone, beside those that have files."""


class Queue(NamedTuple):
    """A queue's name."""

    topic: bytes
    queue_id: int

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.topic.decode(errors='replace')}/{self.queue_id}"


class _Window(NamedTuple):
    address: int
    size_bytes: int


class Queues:
    """The queues by slot.

    Attributes:
        topics: the table of topic names.
        table: topic and queue id to slot.
        lines: what the walk knows of each, see `log_walk`.
        names: of each slot.
    """

    def __init__(self, root: Path, file_bytes: int) -> None:
        """Take up every queue that has a directory; open no file yet."""
        self._root = root
        self._file_bytes = file_bytes
        found = list(list_queues(root, is_strict=False))
        capacity = len(found) + _MORE
        names = np.zeros(name_table_bytes(capacity), dtype=np.uint8)
        rows = np.zeros(queue_table_bytes(capacity), dtype=np.uint8)
        format_name_table(names, capacity)
        format_queue_table(rows, capacity)
        self.topics = NameTable(names)
        self.table = QueueTable(rows)
        self.lines = np.zeros(capacity, dtype=QUEUE_LAYOUT)
        self.names: list[Queue] = []
        self._windows: OrderedDict[int, _Window] = OrderedDict()
        self._windows_max = part_windows_max()
        for topic, queue_id in found:
            self.add(topic, queue_id)

    def add(self, topic: bytes, queue_id: int) -> int:
        """The slot of a queue, a new one where it had none.

        Raises:
            StoreError: there is no room for so many.
        """
        slot = self.table.add(self.topics.add(topic), queue_id)
        if slot == len(self.names):
            self.names.append(Queue(topic, queue_id))
            self.lines[slot]["begin"] = self.lines[slot]["next"] = NONE
        return slot

    def can_be(self, topic: bytes, queue_id: int) -> bool:
        """Whether there can be a queue of this name."""
        try:
            queue_path(self._root, topic, queue_id)
        except StoreError:
            return False
        return len(topic) <= NAME_BYTES_MAX and queue_id >= 0

    def directory(self, slot: int) -> Path:
        """Where a queue's files lie."""
        return queue_path(self._root, *self.names[slot])

    def place(self, slot: int, offset: int) -> tuple[Path, int]:
        """The file of an entry, and the byte in it."""
        at = offset * SIZE
        start = at - at % self._file_bytes
        return self.directory(slot) / file_name(start), at - start

    def entry(self, slot: int, offset: int) -> QueueEntry | None:
        """The entry of an offset; None where no file has one."""
        path, at = self.place(slot, offset)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, OverflowError):
            return None
        try:
            unit = np.frombuffer(os.pread(descriptor, SIZE, at), dtype=np.uint8)
        finally:
            os.close(descriptor)
        return decode(address_of(unit)) if len(unit) == SIZE else None

    def find(self, slot: int, position: int) -> int:
        """The queue offset of the entry that says its record is at a position; NONE without one."""
        for file in list_sequence(self.directory(slot), self._file_bytes):
            with closing(open_segment(file.path, file.start)) as segment:
                count = min(file.size_bytes, self._file_bytes) // SIZE
                index = first_message(segment.address, count, position)
                if index != NONE:
                    is_it = decode(segment.address + index * SIZE).position == position
                    return file.start // SIZE + index if is_it else NONE
        return NONE

    def end(self, slot: int) -> int:
        """The queue offset behind the last that the files of a queue have room for; 0 without a file."""
        files = list_sequence(self.directory(slot), self._file_bytes)
        return (files[-1].start + self._file_bytes) // SIZE if files else 0

    def open_window(self, slot: int, offset: int) -> None:
        """Make the slot's window cover an offset, whether there is a file or not."""
        self._close(slot)
        path, at = self.place(slot, offset)
        first = offset - at // SIZE
        end = first + self._file_bytes // SIZE
        readable = 0
        line = self.lines[slot]
        try:
            with closing(_Descriptor(path)) as file:
                readable = min(file.size_bytes, self._file_bytes) // SIZE
                if offset < first + readable:
                    if len(self._windows) >= self._windows_max:
                        self._close(next(iter(self._windows)))
                    address = map_part(file.descriptor, 0, readable * SIZE, is_writable=False)
                    self._windows[slot] = _Window(address, readable * SIZE)
                    line["address"], line["first"], line["end"] = address, first, first + readable
                    return
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        line["address"], line["first"], line["end"] = 0, first + readable, end

    def close(self) -> None:
        """Let go of all files."""
        for slot in list(self._windows):
            self._close(slot)

    def _close(self, slot: int) -> None:
        window = self._windows.pop(slot, None)
        if window is not None:
            unmap_part(*window)
        line = self.lines[slot]
        line["address"] = line["first"] = line["end"] = 0


def open_segment(path: Path, start: int) -> Segment:
    """Map a file for reading, whatever size it has, if only it is not empty.

    Raises:
        StoreError: it cannot be opened.
    """
    try:
        return Segment(path, start, os.open(path, os.O_RDONLY | os.O_CLOEXEC), writable=False)
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error


class _Descriptor:
    """A file that is open for a moment."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size_bytes = os.fstat(self.descriptor).st_size

    def close(self) -> None:
        os.close(self.descriptor)
