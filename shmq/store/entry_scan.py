"""Kernel: walk the entries of a queue from an offset on, and gather where the messages of one answer lie.

Which messages go into one answer follows RocketMQ:

- the first that matches always does, however large it is;
- then as many as count, bytes, and the bounds for near or far messages allow: what lies far behind the log's end
  is taken for being on disk, and less of it is read at a time;
- no more than `filter_bytes` of entries are looked at, matching or not.

Entries that stand for no message, and those whose record is gone, are passed over. Records are not looked at: who filters
by their properties says of each entry beforehand whether it is wanted (`property_match.py`).
"""

import os
from typing import Final, NamedTuple

from shmq.jit import entry, kernel
from shmq.memory.endian import load_i32, load_i64, load_native_i64, load_u8, store_native_i64
from shmq.store.position import NONE
from shmq.store.queue_entry import EXTENSION_MAX, POSITION, RECORD_SIZE, SIZE, TAG_HASH, is_message

ANSWER_BYTES_MAX: Final = 128 << 20
"""RocketMQ's bound on one answer."""

# Words of the note that scan() writes: first what it came to, then (position, size) of each run of messages.
NEXT: Final = 0
COUNT: Final = 8
BYTES: Final = 16
MISS: Final = 24
RUNS: Final = 32
RUN_BYTES: Final = 16

# What the last entry that was not taken was.
FILTERED: Final = 0
REMOVED: Final = 1


def _near_distance_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 40 // 100


class ReadLimits(NamedTuple):
    """How much one read may take; RocketMQ's defaults.

    Attributes:
        near_count: messages of one answer that are near the log's end.
        near_bytes: and their bytes.
        far_count: messages of one answer that are far from it.
        far_bytes: and their bytes.
        near_distance_bytes: up to where a message is near: 40 % of the machine's memory.
        filter_bytes: bytes of entries looked at, or 20 for each message asked for where that is more.
        answer_bytes: of any answer.
    """

    near_count: int = 32
    near_bytes: int = 262_144
    far_count: int = 8
    far_bytes: int = 65_536
    near_distance_bytes: int = _near_distance_bytes()
    filter_bytes: int = 16_000
    answer_bytes: int = ANSWER_BYTES_MAX


class Scan(NamedTuple):
    """What scan() is asked for.

    Attributes:
        entries: where the entry of `offset` is mapped.
        offset: the first queue offset.
        entry_count: how many entries may be looked at.
        count_max: messages asked for.
        log_end: the end of the log.
        log_file_bytes: the size of its files.
        limits: bounds on one answer.
        tags: where the hashes that match lie, sorted; NONE to match all.
        tag_count: how many they are.
        gone: the starts of log files that are gone.
        gone_count: how many they are.
        picked: where a byte for each entry says whether it matches, if it has the right tag; 0: all do.
    """

    entries: int
    offset: int
    entry_count: int
    count_max: int
    log_end: int
    log_file_bytes: int
    limits: ReadLimits
    tags: int
    tag_count: int
    gone: int
    gone_count: int
    picked: int


@entry
def scan(asked: Scan, note: int) -> int:
    """Gather runs of messages for one answer into the note; return how many runs."""
    entry_max = min(asked.entry_count, entries_looked_at(asked.limits.filter_bytes, asked.count_max))
    runs = 0
    count = 0
    size_bytes = 0
    miss = FILTERED
    index = 0
    while index < entry_max:
        entry = asked.entries + index * SIZE
        position = load_i64(entry + POSITION)
        size = load_i32(entry + RECORD_SIZE)
        if is_message(size):
            if count > 0 and _is_full(asked, position, size, count, size_bytes):
                break
            if _is_gone(asked, position, size):
                miss = REMOVED
            elif not _matches(asked, entry) or (asked.picked != 0 and load_u8(asked.picked + index) == 0):
                miss = FILTERED
            else:
                run = note + RUNS + (runs - 1) * RUN_BYTES
                if runs > 0 and load_native_i64(run) + load_native_i64(run + 8) == position:
                    store_native_i64(run + 8, load_native_i64(run + 8) + size)
                else:
                    store_native_i64(run + RUN_BYTES, position)
                    store_native_i64(run + RUN_BYTES + 8, size)
                    runs += 1
                count += 1
                size_bytes += size
        index += 1
    store_native_i64(note + NEXT, asked.offset + index)
    store_native_i64(note + COUNT, count)
    store_native_i64(note + BYTES, size_bytes)
    store_native_i64(note + MISS, miss)
    return runs


@entry
def entries_looked_at(filter_bytes: int, count_max: int) -> int:
    """How many entries one read looks at, at most."""
    return -(-max(filter_bytes, count_max * SIZE) // SIZE)


@kernel
def _is_full(asked: Scan, position: int, size: int, count: int, size_bytes: int) -> bool:
    """Whether an answer that has messages already may not take this one too."""
    limits = asked.limits
    if count >= asked.count_max or size_bytes + size > limits.answer_bytes:
        return True
    if asked.log_end - position <= limits.near_distance_bytes:
        return size_bytes + size > limits.near_bytes or count >= limits.near_count
    return size_bytes + size > limits.far_bytes or count >= limits.far_count


@kernel
def _is_gone(asked: Scan, position: int, size: int) -> bool:
    """Whether a record cannot be in the log: its file is gone, or it would not fit into one."""
    at = position % asked.log_file_bytes
    if position < 0 or at + size > asked.log_file_bytes:
        return True
    for index in range(asked.gone_count):  # noqa: SIM110 - a kernel knows no generator
        if load_native_i64(asked.gone + 8 * index) == position - at:
            return True
    return False


@kernel
def _matches(asked: Scan, entry: int) -> bool:
    """Whether the low 32 bits of the entry's tag hash are among those asked for, or are no hash.

    The hash of an extended entry is in its unit: what that says is among what was picked, or its client compares tags.
    """
    if asked.tags == NONE or load_i64(entry + TAG_HASH) <= EXTENSION_MAX:
        return True
    return is_among(asked.tags, asked.tag_count, load_i32(entry + TAG_HASH + 4))


@kernel
def is_among(tags: int, count: int, wanted: int) -> bool:
    """Whether a hash is among so many, which rise."""
    low = 0
    high = count
    while low < high:
        middle = (low + high) // 2
        if load_native_i64(tags + 8 * middle) < wanted:
            low = middle + 1
        else:
            high = middle
    return low < count and load_native_i64(tags + 8 * low) == wanted
