"""The consume queue files that the dispatcher writes: a window on the newest file of each queue, by slot.

A kernel writes entries through the windows; where a window is missing or ends, it comes back and `open` makes
one. A file is created with what lies before the entry (blanks), and with the entry itself, before it has a name:
RocketMQ counts the first zero unit of an empty file as a message. Its length is full from the start, its blocks
are reserved in steps ahead of use, so that a full disk is an error here and not a SIGBUS in the kernel.

Windows are bounded in number; the one opened longest ago goes first, and comes back when it is written again.
`dirty` holds 1 for each slot written since `take_dirty`; files whose window went are remembered with them.

A crash leaves entries behind the published maximum of a queue; the next dispatcher writes them again, the same.
"""

import mmap
import os
import resource
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.memory.layout import round_up
from shmq.memory.syscalls import preallocate
from shmq.store.new_file import make_file
from shmq.store.queue_directory import queue_path
from shmq.store.queue_entry import PRE_BLANK_SIZE, SIZE, QueueEntry, encode, fill_pre_blank
from shmq.store.segment import file_name

_RESERVE_BYTES_MIN: Final = 64 << 10
_RESERVE_BYTES_MAX: Final = 1 << 20
"""Blocks are reserved in steps that double between the two: most queues are small, and a busy one asks seldom."""
_WINDOWS_MAX: Final = 4096
_GAP_ENTRIES_MAX: Final = 10_000_000
"""A gap longer than this (200 MB of blanks) is taken for a broken record, not for a queue."""


@dataclass(slots=True)
class _Window:
    path: str
    mapping: mmap.mmap
    first: int  # queue offset of the file's first entry
    reserved_bytes: int


class QueueFiles:
    """The windows, by slot, and what is to be flushed.

    Attributes:
        root: the directory of all queues.
        addresses: where the newest file of each slot is mapped; 0 where it is not.
        firsts: the queue offset of that file's first entry.
        ends: the queue offset behind the last entry that may be written there.
        dirty: 1 where entries were written since `take_dirty`.
    """

    def __init__(self, root: Path, file_bytes: int, slots: int, windows_max: int = 0) -> None:
        """Open no file yet.

        Args:
            root: the directory of all queues.
            file_bytes: the size of a queue file.
            slots: how many queues there can be.
            windows_max: how many files may be mapped at once, each of which costs a descriptor; 0 for half of
                what this process may have.
        """
        self.root = root
        self._file_bytes = file_bytes
        self._entries = file_bytes // SIZE
        self._windows: OrderedDict[int, _Window] = OrderedDict()
        self._folders: dict[int, str] = {}
        self._windows_max = windows_max or default_windows_max()
        self._unflushed: set[str] = set()
        self.addresses = np.zeros(slots, dtype=np.int64)
        self.firsts = np.zeros(slots, dtype=np.int64)
        self.ends = np.zeros(slots, dtype=np.int64)
        self.dirty = np.zeros(slots, dtype=np.int64)

    def open(self, slot: int, queue: tuple[bytes, int], offset: int, entry: QueueEntry) -> bool:
        """Make the slot's window cover a queue offset, at which this entry is about to be written.

        Returns:
            Whether the queue had no file before.

        Raises:
            StoreError: the disk has no room, or the file is not what it must be.
        """
        first = offset // self._entries * self._entries
        is_first_file = False
        window = self._windows.get(slot)
        try:
            if window is None or window.first != first:
                self.forget(slot)
                window, is_first_file = self._map(slot, queue, offset, entry)
            elif (offset + 1 - first) * SIZE > window.reserved_bytes:
                self._extend(window, (offset + 1 - first) * SIZE)
        except OSError as error:
            where = f"queue {queue[1]} of {queue[0].decode(errors='replace')}"
            raise StoreError(f"cannot write {where} at offset {offset}: {error.strerror}") from error
        self._windows.move_to_end(slot)
        self.addresses[slot] = address_of(np.frombuffer(window.mapping, dtype=np.uint8))
        self.firsts[slot] = first
        self.ends[slot] = first + min(window.reserved_bytes // SIZE, self._entries)
        return is_first_file

    def fill_gap(self, slot: int, queue: tuple[bytes, int], begin: int, end: int) -> None:
        """Write blanks for the queue offsets from begin up to end, which never had a message.

        A queue without files gets none: the file of its first entry begins with its blanks.

        Raises:
            StoreError: the gap is absurdly long, or the disk has no room.
        """
        if end - begin > _GAP_ENTRIES_MAX:
            raise StoreError(f"a record claims offset {end} of the queue {queue} that ends at {begin}")
        if not _has_files(self._folder(slot, queue)):
            return
        blank = QueueEntry(0, PRE_BLANK_SIZE, 0)
        while begin < end:
            self.open(slot, queue, begin, blank)
            count = min(end, int(self.ends[slot])) - begin
            fill_pre_blank(int(self.addresses[slot]) + (begin - int(self.firsts[slot])) * SIZE, count)
            self.dirty[slot] = 1
            begin += count

    def forget(self, slot: int) -> None:
        """Give up the slot's window, before others change its files."""
        window = self._windows.pop(slot, None)
        if window is None:
            return
        if self.dirty[slot]:
            self._unflushed.add(window.path)
        self.addresses[slot] = self.firsts[slot] = self.ends[slot] = self.dirty[slot] = 0
        window.mapping.close()

    def take_dirty(self) -> list[Path]:
        """The files written since the last call, for `sync_files`."""
        paths = self._unflushed
        self._unflushed = set()
        for slot in np.flatnonzero(self.dirty):
            paths.add(self._windows[int(slot)].path)
        self.dirty[:] = 0
        return sorted(map(Path, paths))

    def close(self) -> None:
        """Give up all windows; what is dirty stays to be taken."""
        for slot in list(self._windows):
            self.forget(slot)

    def _map(
        self, slot: int, queue: tuple[bytes, int], offset: int, entry: QueueEntry
    ) -> tuple[_Window, bool]:
        first = offset // self._entries * self._entries
        at_bytes = (offset - first) * SIZE
        folder = self._folder(slot, queue)
        path = f"{folder}/{file_name(first * SIZE)}"
        if len(self._windows) >= self._windows_max:
            self.forget(next(iter(self._windows)))
        is_first_file = False
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            begin_bytes = at_bytes // mmap.PAGESIZE * mmap.PAGESIZE
            reserved_bytes = self._reserved_after(begin_bytes, at_bytes + SIZE)
        except FileNotFoundError:
            begin_bytes = reserved_bytes = self._reserved_after(0, at_bytes + SIZE)
            is_first_file = not _has_files(folder)
            descriptor = self._create(path, _content(offset - first, entry), reserved_bytes)
        try:
            found_bytes = os.fstat(descriptor).st_size
            if found_bytes != self._file_bytes:
                raise StoreError(f"{path} has {found_bytes} bytes where {self._file_bytes} are configured")
            if begin_bytes < reserved_bytes:
                preallocate(descriptor, begin_bytes, reserved_bytes - begin_bytes)
            mapping = mmap.mmap(descriptor, self._file_bytes)
        finally:
            os.close(descriptor)
        window = _Window(path, mapping, first, reserved_bytes)
        self._windows[slot] = window
        return window, is_first_file

    def _create(self, path: str, content: bytes, reserved_bytes: int) -> int:
        def prepare(descriptor: int) -> None:
            preallocate(descriptor, 0, reserved_bytes)
            os.ftruncate(descriptor, self._file_bytes)
            os.pwrite(descriptor, content, 0)

        self._unflushed.add(path)
        return make_file(Path(path), prepare)

    def _extend(self, window: _Window, needed_bytes: int) -> None:
        end = self._reserved_after(window.reserved_bytes, needed_bytes)
        descriptor = os.open(window.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            preallocate(descriptor, window.reserved_bytes, end - window.reserved_bytes)
        finally:
            os.close(descriptor)
        window.reserved_bytes = end

    def _folder(self, slot: int, queue: tuple[bytes, int]) -> str:
        """The queue's directory, kept by slot: queues may be many more than windows."""
        folder = self._folders.get(slot)
        if folder is None:
            folder = self._folders[slot] = str(queue_path(self.root, *queue))
        return folder

    def _reserved_after(self, reserved_bytes: int, needed_bytes: int) -> int:
        step = min(max(reserved_bytes, _RESERVE_BYTES_MIN), _RESERVE_BYTES_MAX)
        return min(round_up(max(needed_bytes, reserved_bytes + step), mmap.PAGESIZE), self._file_bytes)


def sync_files(paths: list[Path]) -> None:
    """Make files durable, whoever wrote them, in any thread; one that is gone needs nothing.

    Raises:
        OSError: the disk failed; what was written may be lost.
    """
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def default_windows_max() -> int:
    """Half of the descriptors that this process may have, up to a bound."""
    return max(min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2, _WINDOWS_MAX), 16)


def _has_files(folder: str) -> bool:
    try:
        with os.scandir(folder) as found:
            return any(True for _ in found)
    except FileNotFoundError:
        return False


def _content(blanks: int, entry: QueueEntry) -> bytes:
    """So many blanks and an entry, as bytes."""
    content = np.zeros((blanks + 1) * SIZE, dtype=np.uint8)
    fill_pre_blank(address_of(content), blanks)
    encode(address_of(content) + blanks * SIZE, *entry)
    return content.tobytes()
