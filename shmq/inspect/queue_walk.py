"""Kernel: look for queue entries that stand for no record of the log."""

from shmq.inspect.damage import is_in_range
from shmq.jit import entry
from shmq.memory.endian import load_i32, load_i64
from shmq.store.position import NONE
from shmq.store.queue_entry import POSITION, PRE_BLANK_SIZE, RECORD_SIZE, SIZE, is_message


@entry
def find_stray(entries: int, begin: int, end: int, trimmed: int, ranges: int, range_count: int) -> int:
    """The index of the first entry that neither is a blank nor has a record that is gone or unreadable; or NONE.

    Args:
        entries: where the first of the file is mapped.
        begin: the index where to begin.
        end: the index behind the last one.
        trimmed: records below this position are gone.
        ranges: of the log, which cannot be read.
        range_count: how many there are.
    """
    for index in range(begin, end):
        at = entries + index * SIZE
        size = load_i32(at + RECORD_SIZE)
        if size == PRE_BLANK_SIZE:
            continue
        position = load_i64(at + POSITION)
        is_gone = 0 <= position < trimmed or is_in_range(ranges, range_count, position)
        if not is_message(size) or not is_gone:
            return index
    return NONE


@entry
def count_strays(entries: int, begin: int, end: int, trimmed: int, ranges: int, range_count: int) -> int:
    """How many entries `find_stray` would find there, one after the other."""
    count = 0
    index = begin
    while index < end:
        found = find_stray(entries, index, end, trimmed, ranges, range_count)
        if found == NONE:
            return count
        count += 1
        index = found + 1
    return count
