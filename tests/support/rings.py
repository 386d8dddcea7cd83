"""A ring in memory of its own, and its two ends as a test plays them."""

import ctypes

import numpy as np

from shmq.memory.block import address_of
from shmq.ring import spsc


class SmallRing:
    """A ring, its producer and its consumer.

    Attributes:
        address: of the ring.
        capacity_bytes: of its data.
    """

    def __init__(self, capacity_bytes=128):
        self._memory = np.zeros(spsc.ring_bytes(capacity_bytes), dtype=np.uint8)
        self.address = address_of(self._memory)
        self.capacity_bytes = capacity_bytes
        spsc.initialise(self.address, capacity_bytes)

    def offer(self, payload, kind=1, tag=0):
        """Publish a record; False where there is no room."""
        position = self.fill(payload, kind, tag)
        if position < 0:
            return False
        spsc.publish(self.address, position)
        return True

    def fill(self, payload, kind=1, tag=0, after=None):
        """Claim and fill a record, publishing nothing; return the position after it, or NONE."""
        if after is None:
            position = spsc.claim(self.address, len(payload))
        else:
            position = spsc.claim_after(self.address, after, len(payload))
        if position < 0:
            return position
        ctypes.memmove(spsc.payload_address(self.address, position), payload, len(payload))
        return spsc.fill_head(self.address, position, len(payload), kind, tag)

    def peek(self, after=None):
        """The oldest record, or the one behind a position, with its payload: (record, bytes)."""
        begin = spsc.consumed_position(self.address) if after is None else after
        found = spsc.peek(self.address, begin)
        if found.position < 0:
            return found, b""
        return found, ctypes.string_at(found.address, found.size_bytes)

    def take(self):
        """Take the oldest record out; None where there is none."""
        found, payload = self.peek()
        if found.position < 0:
            return None
        spsc.give_back(self.address, found.position + spsc.space_of(found.size_bytes))
        return payload

    @property
    def is_empty(self):
        return spsc.is_empty(self.address)
