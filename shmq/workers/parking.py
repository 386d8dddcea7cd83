"""Pulls and pops that wait for a queue to grow, for news, or for a deadline.

Kept by queue slot; one that waits for several queues is kept with each. When the dispatcher has moved, one vector
comparison finds the slots that grew past what any pull of theirs waits for; only those pulls are looked at. Deadlines
are kept in a heap; an entry whose pull was answered before is skipped when it comes up, or dropped with its like when
they are many.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar

import numpy as np

from shmq.broker.outcome import Park
from shmq.jit import Words
from shmq.store.position import NONE

_STALE_MAX: Final = 64

KeyT = TypeVar("KeyT")
ItemT = TypeVar("ItemT")


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

    @property
    def watched(self) -> list[tuple[int, int]]:
        """The slots that it waits for, each with the offset that the queue must grow past."""
        park = self.park
        return [(park.slot, park.past_offset), *park.also] if park.slot != NONE else []

    @property
    def look_ms(self) -> int:
        """When it is looked at whatever came."""
        park = self.park
        return min(park.look_ms, park.deadline_ms) if park.look_ms else park.deadline_ms


class Parking:
    """All pulls that wait in one worker."""

    def __init__(self, queue_max: Words) -> None:
        """Take the queue table's column of max offsets."""
        self._queue_max = queue_max
        self._by_slot: dict[int, list[tuple[int, Parked]]] = {}
        self._by_news: dict[str, list[Parked]] = {}
        self._by_key: Counter[str] = Counter()
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
        for slot, past_offset in parked.watched:
            self._by_slot.setdefault(slot, []).append((past_offset, parked))
        for news in park.news:
            self._by_news.setdefault(news, []).append(parked)
        self._by_key[park.key] += 1
        heapq.heappush(self._deadlines, (parked.look_ms, next(self._order), parked))
        self._is_stale = True
        return parked

    def count(self, key: str) -> int:
        """How many wait under a key, or altogether under none."""
        return self._by_key[key] if key else self._waiting

    def take_told(self, news: str) -> Iterator[Parked]:
        """Take out what listens for some news."""
        for parked in list(self._by_news.get(news, ())):
            self._remove(parked)
            yield parked

    def take_grown(self) -> Iterator[Parked]:
        """Take out the pulls whose queue has grown past what they wait for."""
        if self._is_stale:
            self._refresh()
        if not len(self._slots):
            return
        for slot in self._slots[self._queue_max[self._slots] > self._past]:
            waiting = self._by_slot.get(int(slot), [])
            newest = self._queue_max[slot]
            for parked in [parked for past_offset, parked in waiting if newest > past_offset]:
                if parked.is_waiting:  # it may have watched this slot twice
                    self._remove(parked)
                    yield parked

    def take_expired(self, now_ms: int) -> Iterator[Parked]:
        """Take out the pulls whose time is over, and those that want to be looked at."""
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            parked = heapq.heappop(self._deadlines)[2]
            if parked.is_waiting:
                self._remove(parked)
                yield parked

    def forget(self, is_gone: Callable[[Any], bool]) -> None:
        """Drop the pulls of owners that went away."""
        for _, _, parked in self._deadlines:
            if parked.is_waiting and is_gone(parked.owner):
                self._remove(parked)

    def wait_ms(self, now_ms: int, longest_ms: int) -> int:
        """How long until the next deadline."""
        if not self._deadlines:
            return longest_ms
        return max(0, min(longest_ms, self._deadlines[0][0] - now_ms))

    def _remove(self, parked: Parked) -> None:
        parked.is_waiting = False
        self._waiting -= 1
        for slot, past_offset in parked.watched:
            _drop(self._by_slot, slot, (past_offset, parked))
        for news in parked.park.news:
            _drop(self._by_news, news, parked)
        self._by_key[parked.park.key] -= 1
        if not self._by_key[parked.park.key]:
            del self._by_key[parked.park.key]
        self._is_stale = True

    def _refresh(self) -> None:
        self._is_stale = False
        self._slots = np.fromiter(self._by_slot, dtype=np.int64, count=len(self._by_slot))
        lowest = (min(past_offset for past_offset, _ in waiting) for waiting in self._by_slot.values())
        self._past = np.fromiter(lowest, dtype=np.int64, count=len(self._by_slot))


def _drop(lists: dict[KeyT, list[ItemT]], key: KeyT, item: ItemT) -> None:
    """Take an item out of one of many lists; one that is empty then goes too."""
    waiting = lists[key]
    waiting.remove(item)
    if not waiting:
        del lists[key]
