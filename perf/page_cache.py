"""A page cache that is full, as that of any machine that has run for a day.

A broker's log lives in the page cache. On a new virtual machine a page of it is memory that the host must first find:
9 microseconds a page have been seen, 2.4 s a GiB, where a page that was in use before takes 0.9, 0.23 s a GiB; and a
host with free page reporting takes back what a deleted file leaves free, within seconds. What is measured then is the
host. So before each question a file as large as most of the memory is read through: what is free thereafter is little,
and whoever needs a page gets one of that file's, which is clean.

To top it up before each turn made things worse: a page that no CPU has touched of late is dear as well, and those are
the ones that are given away first. So is memory that was written and freed right before.
"""

from pathlib import Path
from typing import Final

import psutil

_PART_OF_MEMORY: Final = 0.9
_CHUNK_BYTES: Final = 4 << 20
_FREE_BYTES_MAX: Final = 2 << 30


def fill(path: Path) -> None:
    """Have the cache full of a file, which is made where it is missing.

    Raises:
        OSError: the disk has no room for it.
    """
    size_bytes = int(psutil.virtual_memory().total * _PART_OF_MEMORY)
    if not path.exists() or path.stat().st_size < size_bytes:
        _make(path, size_bytes)
    if psutil.virtual_memory().free > _FREE_BYTES_MAX:
        buffer = bytearray(_CHUNK_BYTES)
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                continue


def _make(path: Path, size_bytes: int) -> None:
    chunk = bytes(_CHUNK_BYTES)
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size_bytes, _CHUNK_BYTES):
            file.write(chunk)
