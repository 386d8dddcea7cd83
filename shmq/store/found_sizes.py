"""The sizes of a store's files, found out from the files that lie there: none states them.

Of log and queues the size that most files have is taken. A key index file is slots and entries in one size; taken are
the first of these that fit it, and what its first entries say:

    as configured  ·  four entries a slot, as RocketMQ has them  ·  the configured slots  ·  the configured entries

What cannot be found out is as configured. Only sizes are read, and some bytes of one index file; nothing is changed.
"""

import os
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from shmq.store.key_shape import ENTRY_BYTES, HEADER_BYTES, SLOT_BYTES, KeyIndexShape
from shmq.store.store_files import CONSUME_QUEUE_UNIT_BYTES, StorePaths, StoreSizes

_FILES_LOOKED_AT: Final = 1000
_ENTRIES_LOOKED_AT: Final = 64
_SIZE_END: Final = 1 << 31
_SEQUENCE_DIGITS: Final = 20
_KEY_FILE_DIGITS: Final = 17
_ENTRIES_A_SLOT: Final = 4
_HEADER: Final = struct.Struct(">qqqqii")
_ENTRY: Final = struct.Struct(">iqii")
_SLOT: Final = struct.Struct(">i")


class Stated(NamedTuple):
    """Which sizes a source states: they are taken, whatever the files have."""

    commit_log: bool = False
    consume_queue: bool = False
    key_index: bool = False


def find_sizes(paths: StorePaths, configured: StoreSizes, stated: Stated) -> StoreSizes:
    """The sizes that a store's files have.

    Args:
        paths: where it lies.
        configured: what is taken where a size is stated, or cannot be found out.
        stated: which are.
    """
    log_bytes = configured.commit_log_file_bytes
    queue_bytes = configured.consume_queue_file_bytes
    shape = configured.key_index
    if not stated.commit_log:
        log_bytes = _most_common(_sizes_of(_files(paths.commitlog, _SEQUENCE_DIGITS)), 1, log_bytes)
    if not stated.consume_queue:
        sizes = _sizes_of(_queue_files(paths.consumequeue))
        queue_bytes = _most_common(sizes, CONSUME_QUEUE_UNIT_BYTES, queue_bytes)
    if not stated.key_index:
        shape = _find_shape(sorted(_files(paths.index, _KEY_FILE_DIGITS)), shape)
    return StoreSizes(log_bytes, queue_bytes, shape)


def _files(directory: Path, digits: int) -> Iterator[Path]:
    """The files of a directory whose names are so many digits."""
    if directory.is_dir():
        for path in directory.iterdir():
            if len(path.name) == digits and path.name.isdecimal() and path.is_file():
                yield path


def _queue_files(root: Path) -> Iterator[Path]:
    if root.is_dir():
        for topic in root.iterdir():
            for queue in topic.iterdir() if topic.is_dir() else ():
                yield from _files(queue, _SEQUENCE_DIGITS)


def _sizes_of(paths: Iterable[Path]) -> Iterator[int]:
    for path in islice(paths, _FILES_LOOKED_AT):
        yield path.stat().st_size


def _most_common(sizes: Iterable[int], unit_bytes: int, otherwise: int) -> int:
    """The size that most have, the larger of two; sizes that cannot be are passed over."""
    counted = Counter(size for size in sizes if 0 < size < _SIZE_END and size % unit_bytes == 0)
    return max(counted, key=lambda size: (counted[size], size), default=otherwise)


def _find_shape(paths: list[Path], configured: KeyIndexShape) -> KeyIndexShape:
    size_bytes = _most_common(_sizes_of(paths), 1, configured.file_bytes)
    candidates = [shape for shape in _shapes(size_bytes, configured) if shape.file_bytes == size_bytes]
    for path in paths[-1:]:
        if path.stat().st_size == size_bytes:
            candidates = [shape for shape in candidates if _agrees(path, shape)] or candidates
    return candidates[0] if candidates else configured


def _shapes(size_bytes: int, configured: KeyIndexShape) -> Iterator[KeyIndexShape]:
    rest_bytes = size_bytes - HEADER_BYTES
    slots, entries = configured
    yield configured
    yield _shape(rest_bytes // (SLOT_BYTES + _ENTRIES_A_SLOT * ENTRY_BYTES), rest_bytes)
    yield _shape(slots, rest_bytes)
    yield KeyIndexShape(max((rest_bytes - ENTRY_BYTES * entries) // SLOT_BYTES, 1), entries)


def _shape(slots: int, rest_bytes: int) -> KeyIndexShape:
    return KeyIndexShape(max(slots, 1), max((rest_bytes - SLOT_BYTES * slots) // ENTRY_BYTES, 1))


def _agrees(path: Path, shape: KeyIndexShape) -> bool:
    """Whether the first entries of an index file are in their slots, if it has this shape."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        *_, count = _HEADER.unpack(os.pread(descriptor, _HEADER.size, 0))
        if count > shape.entries:
            return False
        for number in range(1, min(count, _ENTRIES_LOOKED_AT)):
            at = HEADER_BYTES + SLOT_BYTES * shape.slots + ENTRY_BYTES * number
            key_hash, position, _, previous = _ENTRY.unpack(os.pread(descriptor, _ENTRY.size, at))
            if key_hash < 0 or position < 0 or not 0 <= previous < number:
                return False
            slot_at = HEADER_BYTES + SLOT_BYTES * (key_hash % shape.slots)
            if not number <= _SLOT.unpack(os.pread(descriptor, _SLOT.size, slot_at))[0] <= count:
                return False
    finally:
        os.close(descriptor)
    return True
