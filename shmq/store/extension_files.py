"""The extension files of all queues, as the dispatcher writes them: `consumequeue_ext/<topic>/<queue id>/`.

A queue's files are one sequence of units (`queue_extension.py`), full size from the start and empty at their end. A unit
that does not fit into what is left of a file ends it with a mark and begins the next one.

Where a queue's units end is not kept anywhere: the last published entry that holds an address tells. What lies behind
that unit belongs to entries that nobody has seen, and is zeroed before anything is written, so that RocketMQ, which
counts units until the first empty one, finds the same end. Where that unit cannot be read, or no entry leads to one
though there are files and entries, the next unit begins a new file: an offset that an entry may lead to is never used twice, or a
message could be judged by the bit map of another. Killed anywhere, a successor finds the end in the same way.

A unit is on its way to the disk before the entry that leads to it is written: whoever syncs both syncs units first.
"""

import contextlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np

from shmq.errors import StoreError
from shmq.memory.block import zero
from shmq.memory.layout import round_up
from shmq.store.data_ranges import data_ranges
from shmq.store.new_file import make_file
from shmq.store.position import NONE
from shmq.store.queue_directory import queue_path
from shmq.store.queue_entry import EXTENSION_MAX, LAYOUT, SIZE
from shmq.store.queue_extension import (
    BASE,
    FILE_END,
    FILE_END_BYTES,
    OFFSET_MAX,
    UNIT_BYTES_MAX,
    Unit,
    decode_unit,
)
from shmq.store.queue_files import Unsynced, default_windows_max
from shmq.store.segment import Segment, file_name, list_files, named_starts

_FILES_MAX: Final = 1000
"""More files than so many are not synced one by one."""
_BLOCK_ENTRIES: Final = 1 << 16


class ExtensionFiles:
    """The files of all queues, by slot, open where they were written last."""

    def __init__(self, root: Path, file_bytes: int, queue_root: Path, *, is_alone: bool = False) -> None:
        """Open no file yet.

        Args:
            root: the directory of the extensions of all queues.
            file_bytes: the size of a file.
            queue_root: the directory of the queues themselves.
            is_alone: whether nobody reads the store: files to which no entry leads may then be made anew.
        """
        self.root = root
        self._file_bytes = file_bytes
        self._queue_root = queue_root
        self._is_alone = is_alone
        self._ends: dict[int, int] = {}
        self._descriptors_max = default_windows_max()
        self._open: OrderedDict[int, tuple[int, int]] = OrderedDict()  # slot -> start, descriptor
        self._dirty: set[Path] = set()
        self._grown: set[Path] = set()

    def put(self, slot: int, queue: tuple[bytes, int], max_offset: int, units: Sequence[bytes]) -> list[int]:
        """Write units behind a queue's last one.

        Args:
            slot: the queue's.
            queue: its topic and queue id.
            max_offset: its published end: entries before it may lead to units.
            units: what to write.

        Returns:
            The address of each; NONE for one that is too long, or for which there is no room.

        Raises:
            StoreError: the disk refuses. Nothing was written, as far as anybody will know.
        """
        folder = queue_path(self.root, *queue)
        try:
            end = self._ends[slot] if slot in self._ends else self._find_end(folder, queue, max_offset)
            addresses: list[int] = []
            run, run_at = bytearray(), end
            for unit in units:
                if len(unit) > min(UNIT_BYTES_MAX, self._file_bytes - FILE_END_BYTES):
                    addresses.append(NONE)
                    continue
                left_bytes = self._file_bytes - end % self._file_bytes
                if len(unit) > left_bytes - FILE_END_BYTES:
                    self._write(slot, folder, run_at, bytes(run) + FILE_END)
                    run = bytearray()
                    end = run_at = end + left_bytes
                if end + len(unit) > OFFSET_MAX:
                    addresses.append(NONE)
                    continue
                addresses.append(BASE + end)
                run += unit
                end += len(unit)
            if run:
                self._write(slot, folder, run_at, bytes(run))
        except OSError as error:
            self.forget(slot)
            raise StoreError(f"cannot write to {folder}: {error.strerror}") from error
        self._ends[slot] = end
        return addresses

    def forget(self, slot: int) -> None:
        """Give up what is known of a slot's files, before others change them."""
        self._ends.pop(slot, None)
        self._close(slot)

    def take_dirty(self) -> Unsynced:
        """What was written since the last call, for `sync_files`, before the entries that lead there."""
        dirty, grown = self._dirty, self._grown
        self._dirty, self._grown = set(), set()
        if len(dirty) > _FILES_MAX:
            return Unsynced([self.root], [])
        return Unsynced(sorted(dirty), sorted(grown))

    def close(self) -> None:
        """Close all files; what is dirty stays to be taken."""
        for slot in list(self._open):
            self._close(slot)

    def _write(self, slot: int, folder: Path, offset: int, content: bytes) -> None:
        """Write bytes that lie in one file."""
        start = offset // self._file_bytes * self._file_bytes
        descriptor = self._descriptor(slot, folder, start)
        at = offset - start
        while content:
            written = os.pwrite(descriptor, content, at)
            content, at = content[written:], at + written
        self._dirty.add(folder / file_name(start))

    def _descriptor(self, slot: int, folder: Path, start: int) -> int:
        known = self._open.get(slot)
        if known is not None and known[0] == start:
            self._open.move_to_end(slot)
            return known[1]
        self._close(slot)
        if len(self._open) >= self._descriptors_max:
            self._close(next(iter(self._open)))
        path = folder / file_name(start)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self._grown.add(folder)
            above = (folder, folder.parent, self.root)
            self._grown.update(each.parent for each in above if not each.exists())
            descriptor = make_file(path, lambda new: os.ftruncate(new, self._file_bytes))
        self._open[slot] = start, descriptor
        return descriptor

    def _close(self, slot: int) -> None:
        _, descriptor = self._open.pop(slot, (0, NONE))
        if descriptor != NONE:
            os.close(descriptor)

    def _find_end(self, folder: Path, queue: tuple[bytes, int], max_offset: int) -> int:
        """Where the next unit of a queue is to lie, with nothing but zeros behind it."""
        starts = named_starts(folder)
        last = last_address(queue_path(self._queue_root, *queue), max_offset)
        if last == NONE:
            if starts and (self._is_alone or max_offset == 0):
                _remove_files(folder, starts)
                self._grown.add(folder)
                starts = []
            return self._behind(folder, starts, NONE)
        offset = last - BASE
        start = offset // self._file_bytes * self._file_bytes
        unit = read_unit(folder, self._file_bytes, last)
        if unit is None:
            return self._behind(folder, starts, offset)
        _remove_files(folder, [each for each in starts if each > start])
        end = offset + unit.size
        self._clear(folder, start, end)
        return end

    def _behind(self, folder: Path, starts: Sequence[int], offset: int) -> int:
        """The first file that begins behind an offset and behind all files there are."""
        ends = [start + (folder / file_name(start)).stat().st_size for start in starts[-1:]]
        return round_up(max([offset + 1, *ends]), self._file_bytes)

    def _clear(self, folder: Path, start: int, end: int) -> None:
        """Zero what lies behind an end in its file."""
        path = folder / file_name(start)
        with closing(Segment.open(path, start, self._file_bytes, writable=True)) as segment:
            for at, size_bytes in list(data_ranges(segment, end - start)):
                zero(segment.address + at, size_bytes)
                self._dirty.add(path)


def read_unit(folder: Path, file_bytes: int, address: int) -> Unit | None:
    """Return the unit at an address; None where there is none that is whole, or its file is of another size."""
    offset = address - BASE
    start = offset // file_bytes * file_bytes
    try:
        descriptor = os.open(folder / file_name(start), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if os.fstat(descriptor).st_size != file_bytes:
            return None
        return decode_unit(os.pread(descriptor, UNIT_BYTES_MAX, offset - start))
    finally:
        os.close(descriptor)


def last_address(folder: Path, max_offset: int) -> int:
    """The last address of a unit in the entries of a queue below an offset; NONE without one."""
    for start in reversed(named_starts(folder)):
        with contextlib.suppress(FileNotFoundError), (folder / file_name(start)).open("rb") as file:
            whole = os.fstat(file.fileno()).st_size // SIZE
            end = min(whole, max_offset - start // SIZE)
            while end > 0:
                begin = max(0, end - _BLOCK_ENTRIES)
                found = _first_or_last_address(file.fileno(), begin, end, is_last=True)
                if found != NONE:
                    return found
                end = begin
    return NONE


def first_address(path: Path, begin: int, end: int) -> int:
    """The first address of a unit in entries of a queue file, by their numbers there; NONE without one.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        while begin < end:
            behind = min(end, begin + _BLOCK_ENTRIES)
            found = _first_or_last_address(file.fileno(), begin, behind, is_last=False)
            if found != NONE:
                return found
            begin = behind
    return NONE


def remove_extension(root: Path, queue: tuple[bytes, int]) -> None:
    """Remove all of a queue's extension, and directories that it leaves empty.

    Raises:
        OSError: the disk refuses.
        StoreError: its directory cannot be read.
    """
    folder = queue_path(root, *queue)
    for path in list_files(folder):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # one that is not empty stays, and one that is not there is gone
        folder.rmdir()
        folder.parent.rmdir()


def _first_or_last_address(descriptor: int, begin: int, end: int, *, is_last: bool) -> int:
    content = os.pread(descriptor, (end - begin) * SIZE, begin * SIZE)
    entries = np.frombuffer(content, dtype=LAYOUT, count=len(content) // SIZE)
    places = np.flatnonzero(entries["tag_hash"] <= EXTENSION_MAX)
    return int(entries["tag_hash"][places[-1 if is_last else 0]]) if len(places) else NONE


def _remove_files(folder: Path, starts: Sequence[int]) -> None:
    """Remove files, the newest first: what a crash leaves has no hole."""
    for start in sorted(starts, reverse=True):
        (folder / file_name(start)).unlink(missing_ok=True)
