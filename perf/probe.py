"""How far apart two threads run right now: the time of a flag's way to the other core and back.

Virtual CPUs float over a host's cores. Two that share a core answer in some 50 ns, two that share a cache in
100 to 130, two that share neither in some 500, and a ring between them differs as much; it changes within
seconds. So a figure of two cores means something only beside this one, taken before and after.
"""

import statistics
import threading
import time
from typing import Final

import numpy as np

from shmq.jit import Words, kernel
from shmq.memory.atomics import load_acquire, store_release
from shmq.memory.block import address_of

BURSTS: Final = 10
ROUND_TRIPS: Final = 500

_APART_BYTES: Final = 128


def round_trip_ns() -> float:
    """The median over bursts of the time of one way to another thread and back."""
    words = np.zeros(64, dtype=np.int64)
    other = threading.Thread(target=_return, args=(words, BURSTS * ROUND_TRIPS))
    other.start()
    found: list[float] = []
    for burst in range(BURSTS):
        begin_ns = time.perf_counter_ns()
        _send(words, burst * ROUND_TRIPS, ROUND_TRIPS)
        found.append((time.perf_counter_ns() - begin_ns) / ROUND_TRIPS)
    other.join()
    return statistics.median(found)


@kernel
def _send(words: Words, begin: int, count: int) -> None:
    ours = address_of(words)
    for number in range(begin + 1, begin + count + 1):
        store_release(ours, number)  # pairs with _return
        while load_acquire(ours + _APART_BYTES) != number:  # pairs with _return
            pass


@kernel
def _return(words: Words, count: int) -> None:
    theirs = address_of(words)
    for number in range(1, count + 1):
        while load_acquire(theirs) != number:  # pairs with _send
            pass
        store_release(theirs + _APART_BYTES, number)  # pairs with _send
