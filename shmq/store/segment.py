"""One mapped file of fixed size: a stretch of a sequence that begins at the position its name states.

A file is never seen half made: `create` reserves all its blocks and syncs it before it has a name. So a crash
leaves the whole file, all zeros, or none.

A mapping lives until the last slice of it is gone, whatever `close` is told.
"""

import contextlib
import mmap
import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from shmq.errors import StoreError
from shmq.memory.pages import bring_in_singly, populate_for_writing
from shmq.memory.syscalls import preallocate, sync_mapped
from shmq.memory.words import load_word
from shmq.store.new_file import make_file
from shmq.store.store_files import make_directory, sync_directory

NAME_DIGITS: Final = 20


class Segment:
    """A mapped file.

    Attributes:
        path: where it lies.
        start: the position of its first byte.
        end: the position behind its last byte.
        size_bytes: its length.
        address: where it is mapped.
        view: its bytes.
        descriptor: open for as long as the segment is.
    """

    def __init__(self, path: Path, start: int, descriptor: int, writable: bool) -> None:
        self.path = path
        self.start = start
        self.size_bytes = os.fstat(descriptor).st_size
        self.end = start + self.size_bytes
        self._is_writable = writable
        self.descriptor = -1  # until everything is in place
        protection = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
        self._mapping = mmap.mmap(descriptor, self.size_bytes, prot=protection)
        self.view = memoryview(self._mapping)
        self.descriptor = descriptor
        self._is_single = False
        self.address = int(np.frombuffer(self._mapping, dtype=np.uint8).ctypes.data)

    @classmethod
    def create(cls, path: Path, start: int, size_bytes: int) -> "Segment":
        """Make the file, whole and durable, and map it for writing.

        Raises:
            StoreError: it exists, or the disk has no room for it.
        """
        try:
            descriptor = _create(path, size_bytes)
        except OSError as error:
            raise StoreError(f"cannot create {path} of {size_bytes} bytes: {error.strerror}") from error
        return cls(path, start, descriptor, writable=True)

    @classmethod
    def open(cls, path: Path, start: int, size_bytes: int, writable: bool) -> "Segment":
        """Map a file that exists.

        Raises:
            StoreError: it cannot be opened, or has another size.
        """
        try:
            descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error
        found_bytes = os.fstat(descriptor).st_size
        if found_bytes != size_bytes:
            os.close(descriptor)
            raise StoreError(f"{path} has {found_bytes} bytes where {size_bytes} are configured")
        return cls(path, start, descriptor, writable)

    def populate(self, offset_bytes: int, size_bytes: int, *, is_single: bool) -> None:
        """Have pages in memory before they are written, so that the writer never waits for one.

        Args:
            offset_bytes: where they begin.
            size_bytes: how much.
            is_single: whether each is to be written to disk for itself, at the price of a slower coming.
        """
        if is_single != self._is_single:
            bring_in_singly(self.address, self.size_bytes, is_single)
            self._is_single = is_single
        begin = offset_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        end = min(offset_bytes + size_bytes, self.size_bytes)
        if not populate_for_writing(self.address + begin, end - begin):
            # Reading changes nothing under the writer's hands, and brings in what is on disk.
            for at in range(begin, end, mmap.PAGESIZE):
                load_word(self.address + at)

    def sync(self, offset_bytes: int, size_bytes: int) -> None:
        """Make a range durable, whoever wrote it.

        Pages beyond it that were made ready for writing are dirty as well, and are left alone: each would be written
        as zeros, and would have to be made ready again.

        Raises:
            OSError: the disk failed.
        """
        if not self._is_writable:
            # The system syncs no mapping of a file that is open for reading only.
            os.fdatasync(self.descriptor)
            return
        result = sync_mapped(self.address + offset_bytes, size_bytes)
        if result < 0:
            raise OSError(-result, os.strerror(-result))

    def __del__(self) -> None:
        self.close()  # who forgets a segment keeps no descriptor

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            with contextlib.suppress(BufferError):  # a slice is still held: the mapping ends with it
                self.view.release()
                self._mapping.close()


def file_name(start: int) -> str:
    """The name of the file that begins here."""
    return f"{start:0{NAME_DIGITS}d}"


class Sequence(NamedTuple):
    """What lies in the directory of a sequence.

    Attributes:
        starts: the position of the first byte of each file, in order.
        empty_last: a last file without a byte, left by a RocketMQ that died while making it.
    """

    starts: list[int]
    empty_last: Path | None = None


def is_file_name(name: str) -> bool:
    """Whether a name is one that `file_name` gives."""
    return len(name) == NAME_DIGITS and name.isascii() and name.isdecimal()


def named_starts(directory: Path) -> list[int]:
    """Where the files of a sequence begin, by their names alone, in order: what has another name is none of ours.

    Files may come and go meanwhile; none where the directory does not exist.

    Raises:
        OSError: it cannot be read.
    """
    try:
        names = os.listdir(directory)  # noqa: PTH208 - there are many queues: a name costs less than a path
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if is_file_name(name))


def list_starts(directory: Path, file_bytes: int) -> list[int]:
    """As `list_sequence`; only where the files begin."""
    return list_sequence(directory, file_bytes).starts


def list_sequence(directory: Path, file_bytes: int) -> Sequence:
    """The files of a sequence; other directories are passed over.

    Raises:
        StoreError: a file is foreign, of another size, not to be used, or missing in the middle, or a directory has
            the name of one; the message names the path, and what to do.
    """
    starts: list[int] = []
    entries = [entry for entry in _scan(directory) if not entry.is_dir() or is_file_name(entry.name)]
    for entry in entries:
        found_bytes = _size_of(entry)
        if found_bytes == 0 and entry == entries[-1]:
            return Sequence(starts, Path(entry.path))
        if found_bytes != file_bytes:
            raise StoreError(
                f"{entry.path} has {found_bytes} bytes where {file_bytes} are configured: move it away, or configure "
                "the size that this store was made with"
            )
        if not is_file_name(entry.name):
            raise StoreError(
                f"{entry.path} does not belong here: its name is not {NAME_DIGITS} digits; move it away"
            )
        start = int(entry.name)
        if start % file_bytes != 0:
            raise StoreError(f"{entry.path} does not begin at a multiple of {file_bytes} bytes: move it away")
        if starts and start != starts[-1] + file_bytes:
            raise StoreError(
                f"{directory / file_name(starts[-1] + file_bytes)} is missing before {entry.path}: put it back, or "
                "move away either all files before it or all behind it, which gives up what they hold"
            )
        starts.append(start)
    return Sequence(starts)


def list_files(directory: Path) -> list[Path]:
    """The files of a directory by name, without its directories; none where it does not exist.

    Raises:
        StoreError: it cannot be read.
    """
    return [Path(entry.path) for entry in _scan(directory) if not entry.is_dir()]


def remove_empty_last(sequence: Sequence) -> None:
    """Remove an empty last file, so that one can be made there."""
    if sequence.empty_last is not None:
        sequence.empty_last.unlink()
        sync_directory(sequence.empty_last.parent)


def _scan(directory: Path) -> list[os.DirEntry[str]]:
    """What lies in a directory, by name."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot list {directory}: {error.strerror}") from error


def _size_of(entry: os.DirEntry[str]) -> int:
    """The size of a regular file that this user may read and write."""
    try:
        found = entry.stat()
    except OSError as error:
        what = "a symbolic link to nothing" if entry.is_symlink() else f"not to be read ({error.strerror})"
        raise StoreError(f"{entry.path} is {what}: put right what it should be, or remove it") from error
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{entry.path} is no file, though a file belongs there: move it away")
    if not os.access(entry.path, os.R_OK | os.W_OK):
        raise StoreError(f"{entry.path} must be readable and writable to this user: change its owner or mode")
    return found.st_size


def _create(path: Path, size_bytes: int) -> int:
    def prepare(descriptor: int) -> None:
        preallocate(descriptor, 0, size_bytes)
        os.fsync(descriptor)

    make_directory(path.parent)
    descriptor = make_file(path, prepare)
    sync_directory(path.parent)
    return descriptor
