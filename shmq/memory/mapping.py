"""A part of a file mapped by its address alone: it costs no descriptor, and many cost few page tables.

`mmap.mmap` keeps a descriptor for each mapping. Small ones that are made one after another lie side by side.
"""

import ctypes
import mmap
import os
from typing import Final

_FAILED: Final = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def map_part(descriptor: int, offset_bytes: int, size_bytes: int, *, is_writable: bool = True) -> int:
    """Map a part of a file, which begins at a whole page; return its address.

    Raises:
        OSError: the system has no room for it.
    """
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0)
    address = _libc.mmap(None, size_bytes, protection, mmap.MAP_SHARED, descriptor, offset_bytes)
    if address == _FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(address)


def unmap_part(address: int, size_bytes: int) -> None:
    """Let go of a mapping; nobody may use its address any more."""
    unmapped = _libc.munmap(address, size_bytes)
    assert unmapped == 0, "no such mapping"
