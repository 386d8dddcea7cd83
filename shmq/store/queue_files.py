"""The consume queue files that the dispatcher writes: a window on the newest file of each queue, by slot.

A kernel writes entries through the windows; where a window is missing or ends, it comes back and `open` makes
one. A file is created with what lies before the entry (blanks), and with the entry itself, before it has a name:
RocketMQ counts the first zero unit of an empty file as a message. Its length is full from the start, its blocks
are reserved in steps ahead of use, so that a full disk is an error here and not a SIGBUS in the kernel. A window
is such a step, from the page of its first entry on: 50,000 of them are 3 GB of addresses and a few page tables.

Windows are bounded in number; the one opened longest ago goes first, and comes back when it is written again.
A slot's words lie on one line, since the kernel wants them together:

    offset  size  field    meaning
    ------  ----  -------  --------------------------------------------------------------
         0     8  address  where the entry of the offset `first` is mapped; 0: no window
         8     8  first    the first queue offset that may be written there
        16     8  end      the queue offset behind the last one
        24     8  dirty    1 where entries were written since `take_dirty`
        32     8  stamp    the dispatcher's: the last step that wrote here
        64

Files whose window went are remembered with the dirty ones.

A crash leaves entries behind the published maximum of a queue; the next dispatcher writes them again, the same.
"""

import contextlib
import errno
import mmap
import os
import resource
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.memory.layout import layout, round_up
from shmq.memory.mapping import map_part, unmap_part
from shmq.memory.pages import bring_in_singly, populate_for_writing
from shmq.memory.syscalls import preallocate, sync_disk_of
from shmq.store.new_file import make_file
from shmq.store.queue_directory import queue_path
from shmq.store.queue_entry import PRE_BLANK_SIZE, SIZE, QueueEntry, encode, fill_pre_blank
from shmq.store.segment import file_name, list_files
from shmq.store.store_files import sync_directory

_RESERVE_BYTES_MIN: Final = 64 << 10
_RESERVE_BYTES_MAX: Final = 256 << 10
"""Blocks are reserved in steps that double between the two: most queues are small, and a busy one asks seldom. Queues
that are filled in turn come to the end of a step together, and a step is made ready whole: a long one keeps them waiting.
"""
_MAPPINGS: Final = Path("/proc/sys/vm/max_map_count")
_MAPPINGS_OF_LINUX: Final = 65_530
_MAPPINGS_FOR_OTHERS: Final = 5_000
"""Of the process: libraries, the log, the shared memory."""
_DESCRIPTORS_MAX: Final = 4096
_FILES_MAX: Final = 1000
"""More files than so many are not synced one by one."""
_LINE_BYTES: Final = 64

LAYOUT: Final = layout(
    64, address=(0, "<i8"), first=(8, "<i8"), end=(16, "<i8"), dirty=(24, "<i8"), stamp=(32, "<i8")
)
GAP_ENTRIES_MAX: Final = 10_000_000
"""A gap longer than this (200 MB of blanks) is taken for a broken record, not for a queue."""


class Unsynced(NamedTuple):
    """What a power cut may take.

    Attributes:
        files: written to; where they are very many, the one directory of all in their place.
        directories: in which a name was made.
    """

    files: list[Path]
    directories: list[Path]


@dataclass(slots=True)
class _Window:
    path: str
    file_first: int  # queue offset of the file's first entry
    address: int
    size_bytes: int
    reserved_bytes: int  # of the file, from its beginning


class QueueFiles:
    """The windows, by slot, and what is to be flushed.

    Attributes:
        root: the directory of all queues.
        windows: the words of each slot, on lines of their own.
        addresses, firsts, ends, dirty: the columns of these.
    """

    def __init__(self, root: Path, file_bytes: int, slots: int, windows_max: int = 0) -> None:
        """Open no file yet.

        Args:
            root: the directory of all queues.
            file_bytes: the size of a queue file.
            slots: how many queues there can be.
            windows_max: how many files may be mapped at once; 0 for most of what this process may map.
        """
        self.root = root
        self._file_bytes = file_bytes
        self._entries = file_bytes // SIZE
        self._windows: OrderedDict[int, _Window] = OrderedDict()
        self._folders: dict[int, str] = {}
        self._windows_max = windows_max or part_windows_max()
        self._unflushed: set[str] = set()
        self._grown: set[Path] = set()
        self._slots_used = 0
        self._memory = np.zeros(slots * LAYOUT.itemsize + _LINE_BYTES, dtype=np.uint8)
        begin = -address_of(self._memory) % _LINE_BYTES
        self.windows = self._memory[begin : begin + slots * LAYOUT.itemsize].view(LAYOUT)
        self.addresses = self.windows["address"]
        self.firsts = self.windows["first"]
        self.ends = self.windows["end"]
        self.dirty = self.windows["dirty"]

    def open(self, slot: int, queue: tuple[bytes, int], offset: int, entry: QueueEntry) -> bool:
        """Make the slot's window cover a queue offset, at which this entry is about to be written.

        Returns:
            Whether the queue had no file before.

        Raises:
            StoreError: the disk has no room, or the file is not what it must be.
        """
        file_first = offset // self._entries * self._entries
        is_first_file = False
        window = self._windows.get(slot)
        needed_bytes = (offset + 1 - file_first) * SIZE
        try:
            if window is None or window.file_first != file_first:
                window, is_first_file = self._open(slot, queue, offset, entry)
            elif needed_bytes > window.reserved_bytes or offset < self.firsts[slot]:
                window = self._move(slot, window, needed_bytes)
        except OSError as error:
            where = f"queue {queue[1]} of {queue[0].decode(errors='replace')}"
            raise StoreError(f"cannot write {where} at offset {offset}: {error.strerror}") from error
        self._windows.move_to_end(slot)
        self._slots_used = max(self._slots_used, slot + 1)
        at_bytes = needed_bytes - SIZE
        self.addresses[slot] = window.address + at_bytes % mmap.PAGESIZE
        self.firsts[slot] = offset
        self.ends[slot] = file_first + min(window.reserved_bytes // SIZE, self._entries)
        return is_first_file

    def fill_gap(self, slot: int, queue: tuple[bytes, int], begin: int, end: int) -> None:
        """Write blanks for the queue offsets from begin up to end, which never had a message.

        A queue without files gets none: the file of its first entry begins with its blanks.

        Raises:
            StoreError: the gap is absurdly long, or the disk has no room.
        """
        if end - begin > GAP_ENTRIES_MAX:
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
        unmap_part(window.address, window.size_bytes)

    def remove(self, slot: int, queue: tuple[bytes, int]) -> None:
        """Remove a queue's files and directory, the oldest first: what a crash leaves ends where the queue ended.

        Raises:
            OSError: the disk refuses.
        """
        self.forget(slot)
        folder = Path(self._folder(slot, queue))
        for path in list_files(folder):
            path.unlink()
        for directory in (folder, folder.parent):
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                break

    def take_dirty(self) -> Unsynced:
        """What was written since the last call, for `sync_files`."""
        paths, grown = self._unflushed, self._grown
        self._unflushed, self._grown = set(), set()
        written = np.flatnonzero(self.dirty[: self._slots_used])
        self.dirty[written] = 0
        if len(paths) + len(written) > _FILES_MAX:
            return Unsynced([self.root], [])
        paths.update(self._windows[int(slot)].path for slot in written)
        return Unsynced(sorted(map(Path, paths)), sorted(grown))

    def close(self) -> None:
        """Give up all windows; what is dirty stays to be taken."""
        for slot in list(self._windows):
            self.forget(slot)

    def _open(
        self, slot: int, queue: tuple[bytes, int], offset: int, entry: QueueEntry
    ) -> tuple[_Window, bool]:
        """Make a window on the file of an offset, and the file where there is none."""
        self.forget(slot)
        file_first = offset // self._entries * self._entries
        at_bytes = (offset - file_first) * SIZE
        folder = self._folder(slot, queue)
        path = f"{folder}/{file_name(file_first * SIZE)}"
        if len(self._windows) >= self._windows_max:
            self.forget(next(iter(self._windows)))
        is_first_file = False
        begin_bytes = at_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            found_bytes = os.fstat(descriptor).st_size
            if found_bytes != self._file_bytes:
                os.close(descriptor)
                raise StoreError(f"{path} has {found_bytes} bytes where {self._file_bytes} are configured")
            reserved_bytes, is_made = begin_bytes, False
        except FileNotFoundError:
            reserved_bytes, is_made = self._reserved_after(0, at_bytes + SIZE), True
            is_first_file = not _has_files(folder)
            descriptor = self._create(path, _content(offset - file_first, entry), reserved_bytes)
        try:
            if not is_made:
                reserved_bytes = self._reserve(descriptor, begin_bytes, at_bytes + SIZE)
            window = self._map(descriptor, path, file_first, begin_bytes, reserved_bytes)
        finally:
            os.close(descriptor)
        self._windows[slot] = window
        return window, is_first_file

    def _move(self, slot: int, window: _Window, needed_bytes: int) -> _Window:
        """Go on in the same file, in the step behind or around the entry that is wanted."""
        begin_bytes = (needed_bytes - SIZE) // mmap.PAGESIZE * mmap.PAGESIZE
        descriptor = os.open(window.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            reserved_bytes = window.reserved_bytes
            if needed_bytes > reserved_bytes:
                reserved_bytes = self._reserve(descriptor, reserved_bytes, needed_bytes)
            moved = self._map(descriptor, window.path, window.file_first, begin_bytes, reserved_bytes)
        finally:
            os.close(descriptor)
        unmap_part(window.address, window.size_bytes)
        populate_for_writing(moved.address, moved.size_bytes)  # a queue that asks again is a busy one
        self._windows[slot] = moved
        return moved

    def _map(self, descriptor: int, path: str, file_first: int, begin_bytes: int, end_bytes: int) -> _Window:
        size_bytes = round_up(end_bytes, mmap.PAGESIZE) - begin_bytes
        address = map_part(descriptor, begin_bytes, size_bytes)
        # Or the first fault brings in all that the disk's read-ahead allows: 6 MB of zeros for each queue.
        bring_in_singly(address, size_bytes, is_single=True)
        return _Window(path, file_first, address, size_bytes, end_bytes)

    def _reserve(self, descriptor: int, begin_bytes: int, needed_bytes: int) -> int:
        """Reserve the blocks of another step; return where it ends."""
        end_bytes = self._reserved_after(begin_bytes, needed_bytes)
        if begin_bytes < end_bytes:
            preallocate(descriptor, begin_bytes, end_bytes - begin_bytes)
        return end_bytes

    def _create(self, path: str, content: bytes, reserved_bytes: int) -> int:
        def prepare(descriptor: int) -> None:
            preallocate(descriptor, 0, reserved_bytes)
            os.ftruncate(descriptor, self._file_bytes)
            os.pwrite(descriptor, content, 0)

        self._unflushed.add(path)
        folder = Path(path).parent
        self._grown.add(folder)
        self._grown.update(above.parent for above in (folder, folder.parent, self.root) if not above.exists())
        return make_file(Path(path), prepare)

    def _folder(self, slot: int, queue: tuple[bytes, int]) -> str:
        """The queue's directory, kept by slot: queues may be many more than windows."""
        folder = self._folders.get(slot)
        if folder is None:
            folder = self._folders[slot] = str(queue_path(self.root, *queue))
        return folder

    def _reserved_after(self, reserved_bytes: int, needed_bytes: int) -> int:
        step = min(max(reserved_bytes, _RESERVE_BYTES_MIN), _RESERVE_BYTES_MAX)
        return min(round_up(max(needed_bytes, reserved_bytes + step), mmap.PAGESIZE), self._file_bytes)


def sync_files(unsynced: Unsynced) -> None:
    """Make files durable with their names, whoever wrote them, in any thread; what is gone needs nothing.

    Raises:
        OSError: the disk failed; what was written may be lost.
    """
    for path in unsynced.files:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            if path.is_dir():
                sync_disk_of(descriptor)
            else:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
    for directory in unsynced.directories:
        with contextlib.suppress(FileNotFoundError):
            sync_directory(directory)


def default_windows_max() -> int:
    """How many mappings that each cost a descriptor one process may have: half of its descriptors, up to a bound."""
    return max(min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2, _DESCRIPTORS_MAX), 16)


def part_windows_max() -> int:
    """How many windows that cost no descriptor one process may have: most of the mappings that the system allows it."""
    try:
        mappings = int(_MAPPINGS.read_text(encoding="ascii"))
    except (OSError, ValueError):
        mappings = _MAPPINGS_OF_LINUX
    return max(mappings - _MAPPINGS_FOR_OTHERS, mappings // 2)


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
