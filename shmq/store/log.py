"""The commit log as one range of positions over its files: list them, and find the bytes of a position.

A position lies in the file that begins at the multiple of the file size below it. Files are added at the end by
whoever runs the flush thread and removed at the beginning by the conductor; a reader maps each when it first needs
it, keeps the ones used last, and takes a file that is not there for gone. Slices it has given out keep their
mapping alive; addresses hold only until the next call.
"""

from pathlib import Path
from typing import Final

from shmq.errors import StoreError
from shmq.store.mapping_table import MappingTable
from shmq.store.position import NONE
from shmq.store.segment import (
    Segment,
    Sequence,
    file_name,
    list_sequence,
    named_starts,
    remove_empty_last,
)

_MAPPINGS_MAX: Final = 64


class LogDirectory:
    """The files of the log, or of any sequence with its rules."""

    def __init__(self, path: Path, file_bytes: int) -> None:
        self.path = path
        self.file_bytes = file_bytes

    def sequence(self) -> Sequence:
        """What lies there.

        Raises:
            StoreError: as `starts`.
        """
        return list_sequence(self.path, self.file_bytes)

    def starts(self) -> list[int]:
        """Where the files begin, in order.

        Raises:
            StoreError: a file is foreign, of another size, or missing in the middle.
        """
        return self.sequence().starts

    def begin(self) -> int:
        """Where the first file begins that is there now, whatever the others are; 0 without one."""
        return next(iter(named_starts(self.path)), 0)

    def repair(self) -> list[int]:
        """As `starts`, and remove an empty last file."""
        sequence = self.sequence()
        remove_empty_last(sequence)
        return sequence.starts

    def file(self, start: int) -> Path:
        """The path of the file that begins here."""
        return self.path / file_name(start)

    def create(self, start: int) -> Segment:
        """Make the file that begins here and map it for writing."""
        return Segment.create(self.file(start), start, self.file_bytes)

    def open(self, start: int, writable: bool) -> Segment:
        """Map the file that begins here."""
        return Segment.open(self.file(start), start, self.file_bytes, writable)


class LogReader:
    """Read-only mappings of the log's files, made when needed; for one thread.

    Attributes:
        file_bytes: the size of a file.
        mappings: (start of a file, 0) -> where it is mapped, for kernels.
    """

    def __init__(
        self,
        path: Path,
        file_bytes: int,
        mappings_max: int = _MAPPINGS_MAX,
        lender: "LogReader | None" = None,
    ) -> None:
        """Map no file yet.

        Args:
            path: the directory of the log.
            file_bytes: the size of a file.
            mappings_max: how many files may be mapped at once.
            lender: another thread's reader, of the same log: what it looked at last need not be mapped, and its pages
                not be brought in, a second time.
        """
        self.file_bytes = file_bytes
        self._lender = lender
        self._borrowed: dict[int, memoryview] = {}
        self._directory = LogDirectory(path, file_bytes)
        self._mappings_max = mappings_max
        self._segments: dict[int, Segment] = {}
        self.mappings = MappingTable(mappings_max)
        self._last: Segment | None = None

    def address_of(self, position: int) -> tuple[int, int]:
        """Where a position is mapped and how many bytes follow in its file; (NONE, 0) where it is gone."""
        segment = self._find(position)
        if segment is None:
            return NONE, 0
        return segment.address + position - segment.start, segment.end - position

    def slice(self, position: int, size_bytes: int) -> memoryview | None:
        """So many bytes of the log, not copied; None where they are gone or not within one file."""
        segment = self._find(position)
        if segment is None or position + size_bytes > segment.end:
            return None
        return segment.view[position - segment.start : position - segment.start + size_bytes]

    def forget_below(self, position: int) -> None:
        """Let go of files that lie wholly below."""
        for start in [start for start in self._segments if start + self.file_bytes <= position]:
            self._drop(start)

    def close(self) -> None:
        """Let go of all files."""
        for start in list(self._segments):
            self._drop(start)

    def _find(self, position: int) -> Segment | None:
        last = self._last
        if last is not None and last.start <= position < last.end:
            return last
        if position < 0:
            return None
        start = position // self.file_bytes * self.file_bytes
        segment = self._segments.get(start)
        if segment is None:
            segment = self._borrow(start) or self._open(start)
            if segment is None:
                return None
            if len(self._segments) >= self._mappings_max:
                self._drop(self.mappings.oldest()[0])
            self._segments[start] = segment
            self.mappings.enter(start, 0, segment.address)
        else:
            self.mappings.find(start, 0)
        self._last = segment
        return segment

    def _open(self, start: int) -> Segment | None:
        try:
            return self._directory.open(start, writable=False)
        except StoreError:
            if self._directory.file(start).exists():
                raise
            return None

    def _borrow(self, start: int) -> Segment | None:
        """The lender's mapping, if it is at that file; it stays mapped while we hold a slice."""
        lent = self._lender._last if self._lender is not None else None  # noqa: SLF001 - of our own class
        if lent is None or lent.start != start:
            return None
        try:
            self._borrowed[start] = lent.view[:]
        except ValueError:  # closed between the two lines
            return None
        return lent

    def _drop(self, start: int) -> None:
        self.mappings.remove(start, 0)
        segment = self._segments.pop(start)
        if segment is self._last:
            self._last = None
        if start in self._borrowed:
            self._borrowed.pop(start).release()
        else:
            segment.close()
