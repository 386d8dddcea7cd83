"""Pop in order: what the last pop of a queue gave out, and whether the next one may follow.

A queue that is popped in order is blocked while any message of its last pop is neither acknowledged nor visible again,
except for the attempt that popped it, which may ask again for the same. Then the queue is popped again from the first
message that was not acknowledged. The committed offset stands at that message.
"""

from dataclasses import dataclass, replace

import orjson

from shmq.store.position import NONE


@dataclass(frozen=True, slots=True)
class Order:
    """The last pop of a queue.

    Attributes:
        pop_ms: when it was; acknowledgements name it.
        invisible_ms: for how long its messages are hidden.
        attempt_id: which attempt it was, empty where the client named none.
        taker: which request it was.
        offsets: of its messages, rising.
        acked: those that are acknowledged.
        visible_ms: when a message is visible again, where that was changed.
        counts: how often a message had been popped before, where it was.
    """

    pop_ms: int
    invisible_ms: int
    attempt_id: str
    taker: int
    offsets: tuple[int, ...]
    acked: frozenset[int] = frozenset()
    visible_ms: tuple[tuple[int, int], ...] = ()
    counts: tuple[tuple[int, int], ...] = ()

    def to_bytes(self) -> bytes:
        """Return the order as the store keeps it."""
        return orjson.dumps(
            [
                *(self.pop_ms, self.invisible_ms, self.attempt_id, self.taker, self.offsets),
                *(sorted(self.acked), self.visible_ms, self.counts),
            ]
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> "Order":
        """Return the order that `to_bytes` made this of."""
        pop_ms, invisible_ms, attempt_id, taker, offsets, acked, visible_ms, counts = orjson.loads(content)
        return cls(
            *(pop_ms, invisible_ms, attempt_id, taker, tuple(offsets), frozenset(acked)),
            tuple(map(tuple, visible_ms)),
            tuple(map(tuple, counts)),
        )

    def free_ms(self, now_ms: int) -> int | None:
        """Return when the queue is free again if nothing is acknowledged; None where it is free."""
        changed = dict(self.visible_ms)
        hidden = (
            changed.get(offset, self.pop_ms + self.invisible_ms)
            for offset in self.offsets
            if offset not in self.acked
        )
        latest_ms = max(hidden, default=now_ms)
        return latest_ms if latest_ms > now_ms else None

    def is_attempt(self, attempt_id: str) -> bool:
        """Whether this was the same attempt, which is never blocked by itself."""
        return bool(attempt_id) and self.attempt_id == attempt_id

    def acknowledge(self, offset: int) -> "Order":
        """Return the order with a message acknowledged."""
        return replace(self, acked=self.acked | {offset})

    def change(self, offset: int, visible_ms: int) -> "Order":
        """Return the order with a message that is visible again at another time."""
        changed = dict(self.visible_ms) | {offset: visible_ms}
        return replace(self, visible_ms=tuple(sorted(changed.items())))

    @property
    def next_offset(self) -> int:
        """The first message that is not acknowledged, or the one behind the last; NONE without messages."""
        for offset in self.offsets:
            if offset not in self.acked:
                return offset
        return self.offsets[-1] + 1 if self.offsets else NONE

    @property
    def least_count(self) -> int:
        """The least of how often its messages had been popped before."""
        if len(self.counts) != len(self.offsets):
            return 0
        return min((count for _, count in self.counts), default=0)


def follow(last: Order | None, new: Order) -> Order:
    """Return a new pop with how often each of its messages was popped before."""
    if last is None:
        return new
    if last.is_attempt(new.attempt_id):
        return replace(new, counts=last.counts)
    before = dict(last.counts)
    popped = set(last.offsets)
    counts = tuple((offset, before.get(offset, 0) + 1) for offset in new.offsets if offset in popped)
    return replace(new, counts=counts)
