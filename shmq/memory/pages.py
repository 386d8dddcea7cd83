"""Pages of memory: given back to the system, made ready to be written, or for this process to read only."""

import ctypes
import errno
import os
from typing import Final

_FALLOC_FL_KEEP_SIZE: Final = 1
_FALLOC_FL_PUNCH_HOLE: Final = 2
_PROT_READ: Final = 1
_MADV_NORMAL: Final = 0
_MADV_RANDOM: Final = 1
_MADV_POPULATE_WRITE: Final = 23  # Linux 5.14; Python 3.11 has no name for it

_libc = ctypes.CDLL(None, use_errno=True)  # its calls are made without Python's lock


def punch_hole(descriptor: int, offset_bytes: int, size_bytes: int) -> None:
    """Give the blocks of a range of a file back; it reads as zeros from then on."""
    mode = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
    _check(_libc.fallocate(descriptor, mode, ctypes.c_long(offset_bytes), ctypes.c_long(size_bytes)))


def make_read_only(address: int, size_bytes: int) -> None:
    """Forbid this process to write to whole pages of its memory."""
    _check(_libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), _PROT_READ))


def populate_for_writing(address: int, size_bytes: int) -> bool:
    """Have whole pages of a mapping ready to be written; False where the system is too old to be asked.

    Without Python's lock, which `mmap.madvise` keeps: it takes tens of milliseconds where memory is slow to come.

    Raises:
        OSError: there is no memory, or no disk, behind them.
    """
    result = _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), _MADV_POPULATE_WRITE)
    if result != 0 and ctypes.get_errno() == errno.EINVAL:
        return False
    _check(result)
    return True


def lock_pages(address: int, size_bytes: int) -> bool:
    """Have whole pages in memory, and keep them there; False where the system allows this process no more of it."""
    if _libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes)) == 0:
        return True
    if ctypes.get_errno() in (errno.ENOMEM, errno.EPERM, errno.EAGAIN):
        return False
    _check(-1)
    raise AssertionError("not reached")


def bring_in_singly(address: int, size_bytes: int, is_single: bool) -> None:
    """Have pages of a mapped file come one by one from now on, or as many together as the system likes.

    Pages that came together are cheaper to come by, but are one to the system: where a byte of them has changed, all
    of them (2 MiB have been seen) are written to disk.
    """
    advice = _MADV_RANDOM if is_single else _MADV_NORMAL
    _check(_libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), advice))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
