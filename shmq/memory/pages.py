"""Pages of shared memory: blocks given back to the system, and pages that this process may only read."""

import ctypes
import os
from typing import Final

_FALLOC_FL_KEEP_SIZE: Final = 1
_FALLOC_FL_PUNCH_HOLE: Final = 2
_PROT_READ: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


def punch_hole(descriptor: int, offset_bytes: int, size_bytes: int) -> None:
    """Give the blocks of a range of a file back; it reads as zeros from then on."""
    mode = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
    _check(_libc.fallocate(descriptor, mode, ctypes.c_long(offset_bytes), ctypes.c_long(size_bytes)))


def make_read_only(address: int, size_bytes: int) -> None:
    """Forbid this process to write to whole pages of its memory."""
    _check(_libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes), _PROT_READ))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
