"""Kernels: a heap of deadlines: which of many waits ends first.

An entry is two words, a deadline and the address of what waits, which keeps the index of its entry in a word of its
own, so that it can be taken out wherever it stands. Private to one process.
"""

from typing import Final

from shmq.jit import kernel
from shmq.memory.endian import load_native_i64, store_native_i64

ENTRY_BYTES: Final = 16


@kernel
def _put(heap: int, index: int, deadline_ms: int, waiter: int, index_word: int) -> None:
    store_native_i64(heap + ENTRY_BYTES * index, deadline_ms)
    store_native_i64(heap + ENTRY_BYTES * index + 8, waiter)
    store_native_i64(waiter + index_word, index)


@kernel
def _rise(heap: int, index: int, deadline_ms: int, waiter: int, index_word: int) -> None:
    """Put an entry where it belongs, at an index or nearer to the top."""
    while index > 0:
        above = (index - 1) // 2
        above_ms = load_native_i64(heap + ENTRY_BYTES * above)
        if above_ms <= deadline_ms:
            break
        _put(heap, index, above_ms, load_native_i64(heap + ENTRY_BYTES * above + 8), index_word)
        index = above
    _put(heap, index, deadline_ms, waiter, index_word)


@kernel
def add_deadline(heap: int, count: int, deadline_ms: int, waiter: int, index_word: int) -> None:
    """Add an entry to a heap of `count`, which has room.

    Args:
        heap: where the entries lie.
        count: how many there are.
        deadline_ms: when the wait ends.
        waiter: who waits.
        index_word: where, from a waiter's address on, its index is kept.
    """
    _rise(heap, count, deadline_ms, waiter, index_word)


@kernel
def remove_deadline(heap: int, count: int, waiter: int, index_word: int) -> None:
    """Take the entry of a waiter out of a heap of `count`; the last one fills the gap."""
    index = load_native_i64(waiter + index_word)
    last = count - 1
    deadline_ms = load_native_i64(heap + ENTRY_BYTES * last)
    moved = load_native_i64(heap + ENTRY_BYTES * last + 8)
    if index == last:
        return
    while True:
        below = 2 * index + 1
        if below >= last:
            break
        if below + 1 < last and load_native_i64(heap + ENTRY_BYTES * (below + 1)) < load_native_i64(
            heap + ENTRY_BYTES * below
        ):
            below += 1
        below_ms = load_native_i64(heap + ENTRY_BYTES * below)
        if below_ms >= deadline_ms:
            break
        _put(heap, index, below_ms, load_native_i64(heap + ENTRY_BYTES * below + 8), index_word)
        index = below
    _rise(heap, index, deadline_ms, moved, index_word)


@kernel
def first_deadline_ms(heap: int) -> int:
    """When the first wait of a heap that is not empty ends."""
    return load_native_i64(heap)


@kernel
def first_waiter(heap: int) -> int:
    """Who waits for the first deadline of a heap that is not empty."""
    return load_native_i64(heap + 8)
