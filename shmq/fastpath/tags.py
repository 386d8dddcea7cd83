"""Kernels: the hashes of the tags that an expression such as `TagA || TagB` asks for; twin of `broker/filters.py`.

A filter is an array of distinct hashes, sorted, as `store/entry_scan.py` takes it, or ALL. The hash is Java's, so what
is compared is a number: clients compare the tags themselves once more.
"""

from typing import Final

from shmq.jit import kernel
from shmq.memory.endian import load_native_i64, load_u8, store_native_i64
from shmq.store.position import NONE
from shmq.store.properties import java_hash

TAGS_MAX: Final = 64
"""An expression of more is Python's."""

ALL: Final = NONE
"""The number of tags of a filter that lets every message pass."""
UNREADABLE: Final = -2
"""The number of tags of an expression that is for Python: it is none, or a long one."""

_STAR: Final = ord("*")
_BAR: Final = ord("|")
_BLANK: Final = 0x20  # and all below: what Java's trim() takes off


@kernel
def parse_tags(expression: int, size_bytes: int, tags: int) -> int:
    """Write the filter that an expression means; return how many tags it has, ALL, or UNREADABLE.

    Args:
        expression: where its UTF-8 lies.
        size_bytes: how long it is; nothing means ALL.
        tags: room for TAGS_MAX words.
    """
    if size_bytes <= 0 or (size_bytes == 1 and load_u8(expression) == _STAR):
        return ALL
    count = 0
    begin = 0
    is_something = False
    while begin <= size_bytes:
        end = begin
        while end < size_bytes and not _is_separator(expression, end, size_bytes):
            end += 1
        is_something = is_something or end > begin
        first = begin
        last = end
        while first < last and load_u8(expression + first) <= _BLANK:
            first += 1
        while last > first and load_u8(expression + last - 1) <= _BLANK:
            last -= 1
        if last > first:
            count = _insert(tags, count, java_hash(expression + first, last - first))
            if count > TAGS_MAX:
                return UNREADABLE
        begin = end + 2
    return count if is_something else UNREADABLE


@kernel
def is_same_filter(tags: int, count: int, other_tags: int, other_count: int) -> bool:
    """Whether two filters let the same messages pass."""
    if count != other_count:
        return False
    for index in range(count):
        if load_native_i64(tags + 8 * index) != load_native_i64(other_tags + 8 * index):
            return False
    return True


@kernel
def _is_separator(expression: int, at: int, size_bytes: int) -> bool:
    return at + 1 < size_bytes and load_u8(expression + at) == _BAR and load_u8(expression + at + 1) == _BAR


@kernel
def _insert(tags: int, count: int, tag_hash: int) -> int:
    """Put a hash in its place unless it is there; return how many there are, TAGS_MAX + 1 where there is no room."""
    place = 0
    while place < count and load_native_i64(tags + 8 * place) < tag_hash:
        place += 1
    if place < count and load_native_i64(tags + 8 * place) == tag_hash:
        return count
    if count == TAGS_MAX:
        return TAGS_MAX + 1
    index = count
    while index > place:
        store_native_i64(tags + 8 * index, load_native_i64(tags + 8 * (index - 1)))
        index -= 1
    store_native_i64(tags + 8 * place, tag_hash)
    return count + 1
