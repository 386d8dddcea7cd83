"""One mapped file of fixed size: a stretch of a sequence that begins at the position its name states.

A file is never seen half made: `create` reserves all its blocks and syncs it before it has a name. So a crash
leaves the whole file, all zeros, or none.

A mapping lives until the last slice of it is gone, whatever `close` is told.
"""

import contextlib
import mmap
import os
from pathlib import Path
from typing import Final

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


def list_starts(directory: Path, file_bytes: int) -> list[int]:
    """The starts of the files of a sequence, in order; directories and an empty last file are passed over.

    Raises:
        StoreError: a file is foreign, of another size, or missing in the middle; the message names the path.
    """
    starts: list[int] = []
    paths = list_files(directory)
    for path in paths:
        found_bytes = path.stat().st_size
        if found_bytes == 0 and path == paths[-1]:
            break
        if found_bytes != file_bytes:
            raise StoreError(f"{path} has {found_bytes} bytes where {file_bytes} are configured")
        if len(path.name) != NAME_DIGITS or not path.name.isdecimal():
            raise StoreError(f"{path} does not belong here: its name is not {NAME_DIGITS} digits")
        start = int(path.name)
        if start % file_bytes != 0:
            raise StoreError(f"{path} does not begin at a multiple of {file_bytes} bytes")
        if starts and start != starts[-1] + file_bytes:
            raise StoreError(f"{directory / file_name(starts[-1] + file_bytes)} is missing before {path}")
        starts.append(start)
    return starts


def list_files(directory: Path) -> list[Path]:
    """The files of a directory by name, without its directories; none where it does not exist."""
    if not directory.exists():
        return []
    return sorted(path for path in directory.iterdir() if not path.is_dir())


def remove_empty_last(directory: Path) -> Path | None:
    """Remove an empty last file, left by a RocketMQ that died while making it; return what was removed."""
    paths = list_files(directory)
    if not paths or paths[-1].stat().st_size != 0:
        return None
    paths[-1].unlink()
    sync_directory(directory)
    return paths[-1]


def _create(path: Path, size_bytes: int) -> int:
    def prepare(descriptor: int) -> None:
        preallocate(descriptor, 0, size_bytes)
        os.fsync(descriptor)

    make_directory(path.parent)
    descriptor = make_file(path, prepare)
    sync_directory(path.parent)
    return descriptor
