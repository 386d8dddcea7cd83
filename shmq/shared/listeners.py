"""Who waits for news of the log, to be rung at once: network workers, the conductor, the indexer, attached sessions.

A listening process states on its bell which news it wants (`doorbell.want`); it is woken for nothing else. Bells of
sessions lie in memory that strangers write, and are rung as theirs. Each of those who bring news (the dispatcher, the
flush thread) has a list of its own, in the memory of its process.

    offset  size  field        meaning
    ------  ----  -----------  -------------------------------------------------------
         0     8  bells        address of the bells' addresses, a word each
         8     8  count        how many they are
        16     8  inner_count  how many of these, the first, belong to the broker
        24
"""

from typing import Final

import numpy as np

from shmq.jit import Words, entry, kernel
from shmq.memory.atomics import load_relaxed
from shmq.memory.block import address_of
from shmq.memory.endian import load_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.ring import doorbell
from shmq.shared import plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.local_sessions import Polled

LAYOUT: Final = layout(24, bells=(0, "<i8"), count=(8, "<i8"), inner_count=(16, "<i8"))
_BELLS: Final = offset_of(LAYOUT, "bells")
_COUNT: Final = offset_of(LAYOUT, "count")
_INNER_COUNT: Final = offset_of(LAYOUT, "inner_count")


@entry
def wake_for(listeners: int, news: int) -> None:
    """Wake those who sleep and want to know of such news, which must have been stored before."""
    bells = load_native_i64(listeners + _BELLS)
    inner_count = load_native_i64(listeners + _INNER_COUNT)
    for index in range(load_native_i64(listeners + _COUNT)):
        bell = load_native_i64(bells + 8 * index)
        if index < inner_count:
            doorbell.ring_for(bell, news)
        else:
            doorbell.ring_stranger_for(bell, news)


@kernel
def is_wanted(listeners: int, news: int) -> bool:
    """Whether anybody wants to know of such news at the moment."""
    bells = load_native_i64(listeners + _BELLS)
    for index in range(load_native_i64(listeners + _COUNT)):
        if load_relaxed(load_native_i64(bells + 8 * index) + doorbell.INTEREST) & news:
            return True
    return False


class Listeners:
    """The listeners of a broker, for one thread of one process.

    Attributes:
        address: of the list, for kernels.
        changes: the count of changes of sessions that it is true for.
    """

    def __init__(self, memory: BrokerMemory) -> None:
        workers = range(memory.plan.workers)
        self._inner = [memory.bell(plan.BELL_FIRST_WORKER + worker) for worker in workers]
        self._inner += [memory.bell(plan.BELL_CONDUCTOR), memory.bell(plan.BELL_INDEXER)]
        self._sessions = memory.sessions
        self._polled = Polled(memory.sessions)
        self._bells: Words = np.zeros(0, dtype=np.int64)
        self._list = np.zeros((), dtype=LAYOUT)
        self.address = int(self._list.ctypes.data)
        self.refresh()

    @property
    def changes(self) -> int:
        """See the class."""
        return self._polled.changes

    def refresh(self) -> None:
        """Take note of sessions that came and went."""
        if self._polled.refresh():
            strangers = [self._sessions.bell(session) for session in self._polled.sessions]
            self._bells = np.array(self._inner + strangers, dtype=np.int64)
            self._list["bells"] = address_of(self._bells)
            self._list["count"] = len(self._bells)
            self._list["inner_count"] = len(self._inner)

    def wake(self, news: int) -> None:
        """Wake those who want to know of such news, those who came lately included."""
        self.refresh()
        wake_for(self.address, news)
