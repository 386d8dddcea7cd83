"""Kernel: look for queue entries that stand for no record of the log."""

from typing import NamedTuple

from shmq.inspect.damage import is_in_range
from shmq.jit import entry
from shmq.memory.endian import load_i32, load_i64
from shmq.store.position import NONE
from shmq.store.queue_entry import POSITION, PRE_BLANK_SIZE, RECORD_SIZE, SIZE, is_message


class Excuses(NamedTuple):
    """Why there may be entries for which the log has no record.

    Attributes:
        trimmed: records below this position are gone.
        ranges: of the log, which cannot be read.
        range_count: how many there are.
        may_be_blank: 1 where entries may stand for no message, else 0.
    """

    trimmed: int
    ranges: int
    range_count: int
    may_be_blank: int


@entry
def find_stray(entries: int, begin: int, end: int, excuses: Excuses) -> int:
    """The index of the first entry that has no excuse; or NONE.

    Args:
        entries: where the first of the file is mapped.
        begin: the index where to begin.
        end: the index behind the last one.
        excuses: what there may be.
    """
    for index in range(begin, end):
        at = entries + index * SIZE
        size = load_i32(at + RECORD_SIZE)
        if size == PRE_BLANK_SIZE and excuses.may_be_blank != 0:
            continue
        position = load_i64(at + POSITION)
        is_gone = 0 <= position < excuses.trimmed or is_in_range(
            excuses.ranges, excuses.range_count, position
        )
        if not is_message(size) or not is_gone:
            return index
    return NONE


@entry
def count_strays(entries: int, begin: int, end: int, excuses: Excuses) -> int:
    """How many entries `find_stray` would find there, one after the other."""
    count = 0
    index = begin
    while index < end:
        found = find_stray(entries, index, end, excuses)
        if found == NONE:
            return count
        count += 1
        index = found + 1
    return count


@entry
def count_until_zeros(entries: int, count: int) -> int:
    """How many entries there are before nothing but zeros follows."""
    while count > 0:
        entry = entries + (count - 1) * SIZE
        if load_i64(entry) != 0 or load_i64(entry + 8) != 0 or load_i32(entry + 16) != 0:
            return count
        count -= 1
    return 0
