"""A named piece of shared memory: created by one process, attached by others, unlinked by its owner.

It is opened through posix_ipc and mapped with `mmap`, so no resource tracker of another Python process
can unlink it. Its blocks are reserved when it is created: a full /dev/shm is an error then, and not a
SIGBUS in the middle of the night. A part at its end may be left out then, and be reserved and given back piece
by piece through its file (`RegionFile`), by whoever holds that file's lock.
"""

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import posix_ipc
from numpy.typing import NDArray

from shmq.errors import SharedMemoryError
from shmq.memory.pages import make_read_only, punch_hole
from shmq.memory.syscalls import preallocate

FOLDER: Final = "/dev/shm"  # noqa: S108 - where Linux shows POSIX shared memory


class Region:
    """A mapped range of shared memory.

    Attributes:
        name: the POSIX name, with its leading slash; empty for memory without a name.
        bytes: the whole range as a writable uint8 array.
        address: where it begins in this process.
    """

    def __init__(self, mapping: mmap.mmap, name: str = "") -> None:
        self.name = name
        self._mapping = mapping
        self.bytes: NDArray[np.uint8] = np.frombuffer(mapping, dtype=np.uint8)
        self.address = int(self.bytes.ctypes.data)

    @property
    def size_bytes(self) -> int:
        """How long the range is."""
        return len(self.bytes)

    def words(self, offset_bytes: int, count: int) -> NDArray[np.int64]:
        """A part of it as 64-bit words."""
        return self.bytes[offset_bytes : offset_bytes + 8 * count].view(np.int64)

    def records(self, offset_bytes: int, count: int, record: np.dtype[Any]) -> NDArray[Any]:
        """A part of it as structured records."""
        return self.bytes[offset_bytes : offset_bytes + record.itemsize * count].view(record)

    def make_read_only(self, offset_bytes: int, size_bytes: int) -> None:
        """Forbid this process to write to a range of whole pages."""
        make_read_only(self.address + offset_bytes, size_bytes)


class RegionFile:
    """The file behind a named region: its lock, and the blocks of its parts.

    The lock belongs to whoever opened the file and goes with its process; a fork inherits neither.
    """

    def __init__(self, name: str) -> None:
        """Open the file of a region that exists.

        Raises:
            SharedMemoryError: there is none of that name, or it is not ours to open.
        """
        try:
            self.descriptor = os.open(FOLDER + name, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise SharedMemoryError(f"there is no shared memory {name}") from error
        except PermissionError as error:
            raise SharedMemoryError(f"the shared memory {name} belongs to another user") from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock, if nobody else does; gives whether it is held."""
        held = self._try_lock()
        try:
            yield held
        finally:
            if held:
                fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def reserve(self, offset_bytes: int, size_bytes: int) -> None:
        """Have the blocks of a range, all zeros.

        Raises:
            SharedMemoryError: there is no room for them.
        """
        self.give_back(offset_bytes, size_bytes)
        try:
            preallocate(self.descriptor, offset_bytes, size_bytes)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM):
                raise
            self.give_back(offset_bytes, size_bytes)
            raise SharedMemoryError(
                f"no room for {size_bytes} bytes of shared memory in {FOLDER}: free {_free_bytes()} bytes"
            ) from error

    def give_back(self, offset_bytes: int, size_bytes: int) -> None:
        """Give the blocks of a range back; read again, it is zeros."""
        punch_hole(self.descriptor, offset_bytes, size_bytes)

    def map(self) -> mmap.mmap:
        """Map the whole of it."""
        return mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)

    def close(self) -> None:
        """Let go of the file, and with it of the lock."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def create(
    name: str, size_bytes: int, mode: int = 0o600, group_id: int = -1, reserved_bytes: int | None = None
) -> Region:
    """Create, reserve and map a new named region, filled with zeros.

    Args:
        name: the POSIX name.
        size_bytes: how long it is.
        mode: who may attach.
        group_id: its Unix group; -1: the user's own.
        reserved_bytes: how much of it is reserved now, from its beginning; None: all.

    Raises:
        SharedMemoryError: the name is taken, or there is no room for it.
    """
    try:
        memory = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=mode)
    except posix_ipc.ExistentialError as error:
        raise SharedMemoryError(f"the shared memory {name} exists already") from error
    try:
        os.fchmod(memory.fd, mode)  # whatever the umask was
        if group_id >= 0:
            os.fchown(memory.fd, -1, group_id)
        os.ftruncate(memory.fd, size_bytes)
        preallocate(memory.fd, 0, size_bytes if reserved_bytes is None else reserved_bytes)
        return Region(mmap.mmap(memory.fd, size_bytes), name)
    except OSError as error:
        memory.unlink()
        if error.errno in (errno.ENOSPC, errno.ENOMEM):
            raise SharedMemoryError(
                f"no room for {size_bytes} bytes of shared memory in {FOLDER}: "
                f"free {_free_bytes()} bytes; make it larger or the rings smaller"
            ) from error
        raise
    finally:
        memory.close_fd()


def attach(name: str) -> Region:
    """Map a region that another process created.

    Raises:
        SharedMemoryError: there is none of that name, or it is not ours to open.
    """
    try:
        memory = posix_ipc.SharedMemory(name)
    except posix_ipc.ExistentialError as error:
        raise SharedMemoryError(f"there is no shared memory {name}") from error
    except posix_ipc.PermissionsError as error:
        raise SharedMemoryError(f"the shared memory {name} belongs to another user") from error
    try:
        size_bytes = os.fstat(memory.fd).st_size
        if size_bytes == 0:
            raise SharedMemoryError(f"the shared memory {name} is not made up yet")
        return Region(mmap.mmap(memory.fd, size_bytes), name)
    finally:
        memory.close_fd()


def anonymous(size_bytes: int) -> Region:
    """Memory without a name, shared with the children forked from here on: for tests."""
    return Region(mmap.mmap(-1, size_bytes))


def unlink(name: str) -> bool:
    """Remove the name; who has it mapped keeps it. False where there was none.

    Raises:
        SharedMemoryError: it is not ours to remove.
    """
    try:
        posix_ipc.unlink_shared_memory(name)
    except posix_ipc.ExistentialError:
        return False
    except posix_ipc.PermissionsError as error:
        raise SharedMemoryError(f"the shared memory {name} belongs to another user") from error
    return True


def _free_bytes() -> int:
    state = os.statvfs(FOLDER)
    return state.f_bavail * state.f_frsize
