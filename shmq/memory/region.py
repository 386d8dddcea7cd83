"""A named piece of shared memory: created by one process, attached by others, unlinked by its owner.

It is opened through posix_ipc and mapped with `mmap`, so no resource tracker of another Python process
can unlink it. Its blocks are reserved when it is created: a full /dev/shm is an error then, and not a
SIGBUS in the middle of the night.
"""

import errno
import mmap
import os
from typing import Any, Final

import numpy as np
import posix_ipc
from numpy.typing import NDArray

from shmq.errors import SharedMemoryError
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


def create(name: str, size_bytes: int, mode: int = 0o600, group_id: int = -1) -> Region:
    """Create, reserve and map a new named region, filled with zeros.

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
        preallocate(memory.fd, 0, size_bytes)
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
