"""A page cache that is full, as that of any machine that has run for a day.

A broker's log lives in the page cache. On a new virtual machine a page of it is memory that the host must first find:
9 microseconds a page have been seen, 2.4 s a GiB, where a page that was in use before takes 0.9, 0.23 s a GiB; and a
host with free page reporting takes back what a deleted file leaves free, within seconds. What is measured then is the
host. So before each turn what is free is filled with parts of a file as large as most of the memory: whoever needs a page
then gets one of that file's, which is clean. Contestants free gigabytes in their turns (logs, heaps, shared memory), so
once a question would not do.
"""

import ctypes
import mmap
import os
from pathlib import Path
from typing import Final

import numpy as np
import psutil

_PART_OF_MEMORY: Final = 0.9
_CHUNK_BYTES: Final = 4 << 20
_FREE_BYTES_MAX: Final = 512 << 20
_RESIDENT: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


def fill(path: Path) -> None:
    """Have the cache full of a file, which is made where it is missing.

    Raises:
        OSError: the disk has no room for it.
    """
    size_bytes = int(psutil.virtual_memory().total * _PART_OF_MEMORY) // _CHUNK_BYTES * _CHUNK_BYTES
    if not path.exists() or path.stat().st_size < size_bytes:
        _make(path, size_bytes)
    surplus_bytes = psutil.virtual_memory().free - _FREE_BYTES_MAX
    if surplus_bytes <= 0:
        return
    buffer = bytearray(_CHUNK_BYTES)
    with path.open("rb", buffering=0) as file:
        for chunk, missing_bytes in _missing(file.fileno()):
            os.preadv(file.fileno(), [buffer], chunk * _CHUNK_BYTES)
            surplus_bytes -= missing_bytes
            if surplus_bytes <= 0:
                return


def _missing(descriptor: int) -> list[tuple[int, int]]:
    """The chunks of a file that are not whole in the cache, and how much of each is missing."""
    with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as mapping:
        pages = np.zeros(len(mapping) // mmap.PAGESIZE, dtype=np.uint8)
        content = np.frombuffer(mapping, dtype=np.uint8)
        address, size_bytes = ctypes.c_void_p(content.ctypes.data), ctypes.c_size_t(len(mapping))
        if _libc.mincore(address, size_bytes, ctypes.c_void_p(pages.ctypes.data)) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        del content  # or the mapping could not be closed
    per_chunk = _CHUNK_BYTES // mmap.PAGESIZE
    missing = per_chunk - (
        pages[: len(pages) // per_chunk * per_chunk].reshape(-1, per_chunk) & _RESIDENT
    ).sum(axis=1)
    return [(int(chunk), int(missing[chunk]) * mmap.PAGESIZE) for chunk in np.flatnonzero(missing)]


def _make(path: Path, size_bytes: int) -> None:
    chunk = bytes(_CHUNK_BYTES)
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size_bytes, _CHUNK_BYTES):
            file.write(chunk)
