"""Kernel: where the log ends, without checksums: the newest file is walked by the sizes of its records."""

from contextlib import closing
from typing import NamedTuple

from shmq.inspect.queues import open_segment
from shmq.inspect.sequences import SequenceFile
from shmq.jit import entry
from shmq.memory.endian import load_i64
from shmq.store import record
from shmq.store.log_scan import verify_at
from shmq.store.position import NONE


class LogEnd(NamedTuple):
    """The position behind the last whole record, where that begins, and its store time, ms; NONE without one."""

    position: int
    last_record: int
    last_ms: int


def find_log_end(files: list[SequenceFile]) -> LogEnd:
    """Find the end of the log in its newest file that has a record.

    Args:
        files: of the log, in order.
    """
    for file in reversed(files):
        with closing(open_segment(file.path, file.start)) as segment:
            end, last = walk_to_end(segment.address, file.start, file.size_bytes)
            if last != NONE:
                return LogEnd(
                    file.start + end, file.start + last, record.store_timestamp(segment.address + last)
                )
    return LogEnd(files[0].start if files else 0, NONE, NONE)


def first_store_ms(file: SequenceFile) -> int:
    """The store time of a file's first record; NONE without one."""
    with closing(open_segment(file.path, file.start)) as segment:
        if verify_at(segment.address, file.size_bytes, file.start, check_crc=True) <= 0:
            return NONE
        return record.store_timestamp(segment.address)


@entry
def walk_to_end(address: int, start: int, size_bytes: int) -> tuple[int, int]:
    """Where the records of a file end, from its beginning, and where the last of them begins, or NONE.

    Args:
        address: where the file is mapped.
        start: the position of its first byte.
        size_bytes: its size.
    """
    at = 0
    last = NONE
    while True:
        size = record.verify(address + at, size_bytes - at, False)
        if size == record.BLANK:
            return size_bytes, last
        if size <= 0 or load_i64(address + at + record.PHYSICAL_OFFSET) != start + at:
            return at, last
        last = at
        at += size
