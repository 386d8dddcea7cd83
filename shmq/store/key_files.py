"""The files of the key index: their names, their headers, and the newest one, which the dispatcher's process writes.

A file is named after the time at which it was made, yyyyMMddHHmmssSSS in local time, and names rise. It has its full
length from the start; blocks are reserved for its slots at once and for entries in steps, so that a full disk is an
error here and not a SIGBUS in the kernel. What is named otherwise, and directories, are none of ours.

Full files are never written again. Which were written, and not synced since, the dispatcher's process remembers;
`KeyMark` is what it may vouch for once they are synced.
"""

import mmap
import os
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from shmq.errors import StoreError
from shmq.memory.endian import load_i32, load_i64
from shmq.memory.pages import bring_in_singly, populate_for_writing
from shmq.memory.syscalls import preallocate
from shmq.store.key_index import (
    COUNT,
    END_POSITION,
    END_TIMESTAMP,
    FIRST_NUMBER,
    LAYOUT,
    POSITION,
    entry_at,
)
from shmq.store.key_mark import KeyMark
from shmq.store.key_shape import ENTRY_BYTES, KeyIndexShape
from shmq.store.new_file import make_file
from shmq.store.position import NONE
from shmq.store.segment import Segment, list_files

NAME_DIGITS: Final = 17
_STEP_BYTES: Final = 1 << 20
"""Blocks and pages for so much of the entries are made ready at once: a millisecond's work."""
_SECOND: Final = "%Y%m%d%H%M%S"
_MILLISECOND_DIGITS: Final = 3


class KeyFiles:
    """The newest file, mapped for writing, and the names of the others.

    Attributes:
        shape: what every file has.
        address: where the newest file is mapped; 0 while there is none.
        number_end: the first entry number for which it has no room yet; 0 while there is none.
        full_ms: the store time of the last record in the file before the newest, which is full; 0 without one.
    """

    def __init__(self, directory: Path, shape: KeyIndexShape) -> None:
        """Map the newest file, if there is one.

        Raises:
            StoreError: it cannot be mapped, or has another size.
        """
        self.shape = shape
        self.address = 0
        self.number_end = 0
        self._directory = directory
        self._paths = list_key_files(directory)
        self.full_ms = full_end_ms(self._paths)
        self._segment: Segment | None = None
        self._is_extended = False
        self._unsynced: list[Segment] = []
        if self._paths:
            self._take(self._paths[-1])

    def last_part(self) -> tuple[int, int]:
        """The position of the last record that has entries, and how many it has; (NONE, 0) without one."""
        position, count = NONE, 0
        for path in reversed(self._paths):
            with closing(Segment.open(path, 0, self.shape.file_bytes, writable=False)) as segment:
                for number in range(load_i32(segment.address + COUNT) - 1, FIRST_NUMBER - 1, -1):
                    found = load_i64(segment.address + entry_at(self.shape.slots, number) + POSITION)
                    if position not in {NONE, found}:
                        return position, count
                    position = found
                    count += 1
        return position, count

    def make_room(self, now_ms: int) -> None:
        """Make room for more entries: in the newest file, or in a new one where that is full.

        Args:
            now_ms: the clock, after which a new file is named.

        Raises:
            StoreError: the disk has no room, or refuses.
        """
        try:
            if self._segment is None or self._count >= self.shape.entries:
                self._make_file(now_ms)
            else:
                self._extend(self._segment)
        except OSError as error:
            raise StoreError(f"cannot write the key index in {self._directory}: {error.strerror}") from error

    def mark(self, indexed: int) -> KeyMark:
        """What may be vouched for when all is synced that was written until now."""
        if not self._paths:
            return KeyMark(indexed)
        return KeyMark(
            indexed, int(self._paths[0].name), int(self._paths[-1].name), len(self._paths), self._count
        )

    def forget_below(self, position: int) -> list[Path]:
        """Count those oldest files no more, never the newest, whose records all lie below a position of the log.

        Returns:
            Their paths, to be removed once the mark does not count them either.

        Raises:
            OSError: a file cannot be read.
        """
        forgotten: list[Path] = []
        while len(self._paths) > 1 and _head(self._paths[0])["end_position"] < position:
            forgotten.append(self._paths.pop(0))
        return forgotten

    def take_unsynced(self) -> list[Segment]:
        """The files that were written since the last call; the newest always counts as one."""
        taken = self._unsynced
        self._unsynced = taken[-1:]
        return taken

    def close(self) -> None:
        """Let go of the files; those that were taken for a sync stay until it is done."""
        self._segment = None
        self._unsynced = []
        self.address = self.number_end = 0

    @property
    def _count(self) -> int:
        return load_i32(self.address + COUNT)

    def _take(self, path: Path) -> None:
        segment = Segment.open(path, 0, self.shape.file_bytes, writable=True)
        # Slots are written all over a large table: what came together would be written to disk together.
        bring_in_singly(segment.address, segment.size_bytes, is_single=True)
        self._segment = segment
        self._unsynced.append(segment)
        self._is_extended = False
        self.address = segment.address
        self.number_end = self._count  # nobody knows about the blocks behind

    def _make_file(self, now_ms: int) -> None:
        """Make the file behind the newest one, which begins with that one's end."""
        head = np.zeros((), dtype=LAYOUT)
        head["count"] = FIRST_NUMBER
        if self._segment is not None:
            self.full_ms = load_i64(self.address + END_TIMESTAMP)
            head["begin_timestamp"] = head["end_timestamp"] = self.full_ms
            head["begin_position"] = head["end_position"] = load_i64(self.address + END_POSITION)

        def prepare(descriptor: int) -> None:
            preallocate(descriptor, 0, entry_at(self.shape.slots, 0))
            os.ftruncate(descriptor, self.shape.file_bytes)
            os.pwrite(descriptor, head.tobytes(), 0)

        path = self._directory / _name_after(now_ms, self._paths[-1].name if self._paths else "")
        os.close(make_file(path, prepare))
        self._paths.append(path)
        self._take(path)
        assert self._segment is not None
        self._extend(self._segment)

    def _extend(self, segment: Segment) -> None:
        """Reserve the blocks of some more entries."""
        slots, entries = self.shape
        begin = entry_at(slots, self.number_end) // mmap.PAGESIZE * mmap.PAGESIZE
        size_bytes = min(_STEP_BYTES, segment.size_bytes - begin)
        if not self._is_extended:
            preallocate(segment.descriptor, 0, entry_at(slots, 0))  # another's file may have holes
        preallocate(segment.descriptor, begin, size_bytes)
        if self._is_extended:  # who asks again is busy
            populate_for_writing(segment.address + begin, size_bytes)
        self._is_extended = True
        self.number_end = min((begin + size_bytes - entry_at(slots, 0)) // ENTRY_BYTES, entries)


def list_key_files(directory: Path) -> list[Path]:
    """The files of a key index, oldest first, whatever size they have."""
    return [path for path in list_files(directory) if len(path.name) == NAME_DIGITS and path.name.isdecimal()]


def full_end_ms(paths: list[Path]) -> int:
    """The store time of the last record in the newest full file, the one before the last; 0 without one."""
    return max(_head(paths[-2])["end_timestamp"], 0) if len(paths) > 1 else 0


def _head(path: Path) -> dict[str, int]:
    """What a file's header says; NONE in each field where the file is gone."""
    names = LAYOUT.names or ()
    try:
        with path.open("rb") as file:
            head = np.frombuffer(file.read(LAYOUT.itemsize), dtype=LAYOUT)[0]
    except FileNotFoundError:
        return dict.fromkeys(names, NONE)
    return {name: int(head[name]) for name in names}


def _name_after(now_ms: int, last: str) -> str:
    """The name of a file that is made now: behind the last one's, even where clocks were set back for the winter."""
    name = _name_of(datetime.fromtimestamp(now_ms / 1000))  # noqa: DTZ006 - names are in local time
    if name > last:
        return name
    try:
        second = datetime.strptime(last[:-_MILLISECOND_DIGITS], _SECOND)  # noqa: DTZ007
    except ValueError:  # nobody's clock
        return f"{int(last) + 1:0{NAME_DIGITS}d}"
    return _name_of(second + timedelta(milliseconds=int(last[-_MILLISECOND_DIGITS:]) + 1))


def _name_of(time: datetime) -> str:
    return f"{time.strftime(_SECOND)}{time.microsecond // 1000:0{_MILLISECOND_DIGITS}d}"
