"""Shared words for Python: the same orders as `atomics`, compiled, one call each.

`atomics` called from Python goes through ctypes, which states no order; a role's Python uses these.
"""

from shmq.jit import entry
from shmq.memory.atomics import load_acquire, store_release


@entry
def load_word(address: int) -> int:
    """Read a word; what its writer stored before it is visible from here on."""
    return load_acquire(address)


@entry
def store_word(address: int, value: int) -> None:
    """Write a word after everything stored before it."""
    store_release(address, value)
