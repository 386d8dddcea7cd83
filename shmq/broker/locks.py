"""Locks: which client holds which queue of a group, so that the group consumes the queue in order.

A lock lives for a minute after it was last asked for, unless it is set otherwise; clients ask every 20 s and trust what they hold for 30 s.
Locks are kept in memory only, as in RocketMQ: after a restart of the conductor the first who asks gets a queue.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shmq.wire.bodies import MessageQueue

LOCK_LIFE_MS: Final = 60_000


@dataclass(slots=True)
class _Lock:
    client_id: str
    asked_ms: int

    def is_held(self, since_ms: int) -> bool:
        """Whether its holder asked for it at that time or later."""
        return self.asked_ms >= since_ms


class QueueLocks:
    """All locks, by group and queue."""

    def __init__(self, life_ms: int = LOCK_LIFE_MS) -> None:
        self._life_ms = life_ms
        self._groups: dict[str, dict[MessageQueue, _Lock]] = {}

    def take(
        self, group: str, client_id: str, queues: Iterable[MessageQueue], now_ms: int
    ) -> tuple[MessageQueue, ...]:
        """Lock what is free, renew what the client holds already; return both."""
        locks = self._groups.setdefault(group, {})
        taken: list[MessageQueue] = []
        for queue in dict.fromkeys(queues):
            lock = locks.get(queue)
            if lock is None or lock.client_id == client_id or not lock.is_held(now_ms - self._life_ms):
                locks[queue] = _Lock(client_id, now_ms)
                taken.append(queue)
        return tuple(taken)

    def give_back(self, group: str, client_id: str, queues: Iterable[MessageQueue]) -> None:
        """Unlock those of the queues that the client holds."""
        locks = self._groups.get(group)
        if locks is None:
            return
        for queue in queues:
            lock = locks.get(queue)
            if lock is not None and lock.client_id == client_id:
                del locks[queue]
        if not locks:
            del self._groups[group]

    def is_any_held(self, group: str, now_ms: int) -> bool:
        """Whether a client of the group holds a queue, which means that the group consumes in order."""
        return any(lock.is_held(now_ms - self._life_ms) for lock in self._groups.get(group, {}).values())

    def expire(self, now_ms: int) -> None:
        """Forget the locks that nobody holds any longer."""
        for group, locks in list(self._groups.items()):
            kept = {queue: lock for queue, lock in locks.items() if lock.is_held(now_ms - self._life_ms)}
            if kept:
                self._groups[group] = kept
            else:
                del self._groups[group]
