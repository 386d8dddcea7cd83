"""Pulls that wait for their queue to grow, or for a deadline.

Kept by queue slot. When the dispatcher has moved, one vector comparison finds the slots that grew past
what any pull of theirs waits for; only those pulls are looked at. Deadlines are kept in a heap; an entry
whose pull was answered before is skipped when it comes up, or dropped with its like when they are many.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import numpy as np

from shmq.broker.outcome import Park
from shmq.jit import Words

_STALE_MAX: Final = 64


@dataclass(slots=True, eq=False)
class Parked:
    """A pull that waits.

    Attributes:
        park: what it waits for, and how to go on.
        owner: whose it is, for the worker that answers it.
    """

    park: Park
    owner: Any
    is_waiting: bool = field(default=True)


class Parking:
    """All pulls that wait in one worker."""

    def __init__(self, queue_max: Words) -> None:
        """Take the queue table's column of max offsets."""
        self._queue_max = queue_max
        self._by_slot: dict[int, list[Parked]] = {}
        self._deadlines: list[tuple[int, int, Parked]] = []
        self._order = count()
        self._waiting = 0
        self._slots = np.zeros(0, dtype=np.int64)
        self._past = np.zeros(0, dtype=np.int64)
        self._is_stale = False

    def __len__(self) -> int:
        return self._waiting

    def add(self, park: Park, owner: Any) -> Parked:
        """Let a pull wait."""
        parked = Parked(park, owner)
        self._waiting += 1
        if len(self._deadlines) > 2 * self._waiting + _STALE_MAX:
            self._deadlines = [each for each in self._deadlines if each[2].is_waiting]
            heapq.heapify(self._deadlines)
        self._by_slot.setdefault(park.slot, []).append(parked)
        heapq.heappush(self._deadlines, (park.deadline_ms, next(self._order), parked))
        self._is_stale = True
        return parked

    def take_grown(self) -> Iterator[Parked]:
        """Take out the pulls whose queue has grown past what they wait for."""
        if self._is_stale:
            self._refresh()
        if not len(self._slots):
            return
        for slot in self._slots[self._queue_max[self._slots] > self._past]:
            waiting = self._by_slot.get(int(slot), [])
            newest = self._queue_max[slot]
            for parked in [each for each in waiting if newest > each.park.past_offset]:
                self._remove(parked)
                yield parked

    def take_expired(self, now_ms: int) -> Iterator[Parked]:
        """Take out the pulls whose time is over."""
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            parked = heapq.heappop(self._deadlines)[2]
            if parked.is_waiting:
                self._remove(parked)
                yield parked

    def forget(self, is_gone: Callable[[Any], bool]) -> None:
        """Drop the pulls of owners that went away."""
        for waiting in list(self._by_slot.values()):
            for parked in [each for each in waiting if is_gone(each.owner)]:
                self._remove(parked)

    def wait_ms(self, now_ms: int, longest_ms: int) -> int:
        """How long until the next deadline."""
        if not self._deadlines:
            return longest_ms
        return max(0, min(longest_ms, self._deadlines[0][0] - now_ms))

    def _remove(self, parked: Parked) -> None:
        parked.is_waiting = False
        self._waiting -= 1
        waiting = self._by_slot[parked.park.slot]
        waiting.remove(parked)
        if not waiting:
            del self._by_slot[parked.park.slot]
        self._is_stale = True

    def _refresh(self) -> None:
        self._is_stale = False
        self._slots = np.fromiter(self._by_slot, dtype=np.int64, count=len(self._by_slot))
        lowest = (min(each.park.past_offset for each in waiting) for waiting in self._by_slot.values())
        self._past = np.fromiter(lowest, dtype=np.int64, count=len(self._by_slot))
