"""What a consumer of the C++ client has received of one run: each body compared, each number counted."""

import base64
import collections
import threading
import time
from typing import Final

import numpy as np
from rocketmq.client import RecvMessage

from tests.support.body import PROPERTY, body_of, head_of, keys_of, property_of, tag_of

DUE_PROPERTY: Final = "due_ms"
"""When a message is to come at the earliest, in ms since 1970: where it has none, whenever it likes."""

_FAULTS_KEPT: Final = 20


class Tally:
    """Counts the deliveries of one run; those of other runs are foreign, no more."""

    def __init__(self, options: dict[str, str]) -> None:
        self._run = options["run"]
        self._topic = options["topic"]
        self._shards = int(options.get("shards", "0"))
        self._lock = threading.Lock()  # the client calls from several threads of its own
        self._seen: set[int] = set()
        self._offsets: dict[int, set[int]] = collections.defaultdict(set)
        self._last_of_shard: dict[int, int] = {}
        self._doubled: list[int] = []
        self._faults: list[str] = []
        self._received = self._foreign = self._inversions = 0

    def accept(self, message: RecvMessage) -> None:
        """Count one delivery."""
        body = message.body
        with self._lock:
            try:
                run, number = head_of(body)
            except ValueError:
                self._faults.append(f"a body that is none of ours: {body[:80]!r}")
                return
            if message.reconsume_times == 0:
                self._offsets[message.queue_id].add(message.queue_offset)
            if run != self._run:
                self._foreign += 1
                return
            self._compare(message, body, number)
            self._received += 1
            if number in self._seen:
                self._doubled.append(number)
            self._seen.add(number)
            if self._shards:
                shard = number % self._shards
                self._inversions += self._last_of_shard.get(shard, -1) >= number
                self._last_of_shard[shard] = number

    @property
    def is_clean(self) -> bool:
        """True where all was as sent and in the order promised."""
        return not self._faults and not self._inversions

    def progress(self) -> dict[str, object]:
        """Return the counts, and which numbers were seen as a little-endian bit set."""
        with self._lock:
            bits = np.zeros(max(self._seen, default=-1) + 1, dtype=np.uint8)
            bits[list(self._seen)] = 1
            seen = base64.b64encode(np.packbits(bits, bitorder="little").tobytes()).decode()
            return {"received": self._received, "distinct": len(self._seen), "seen": seen}

    def result(self) -> dict[str, object]:
        """Return all that was counted."""
        queues = {
            str(queue): {"first": min(offsets), "last": max(offsets), "distinct": len(offsets)}
            for queue, offsets in sorted(self._offsets.items())
        }
        return {
            **self.progress(),
            "doubled": self._doubled,
            "foreign": self._foreign,
            "fault_count": len(self._faults),
            "faults": self._faults[:_FAULTS_KEPT],
            "inversions": self._inversions,
            "queues": queues,
        }

    def _compare(self, message: RecvMessage, body: bytes, number: int) -> None:
        pairs = (
            ("body", body_of(self._run, number, binary=False), body),
            ("topic", self._topic, message.topic),
            ("keys", keys_of(number).encode(), message.keys),
            ("tags", tag_of(number).encode(), message.tags),
            ("property", property_of(number).encode(), message.get_property(PROPERTY)),
        )
        for what, sent, got in pairs:
            if sent != got:
                self._faults.append(f"{what} of {number} is {got!r}, not {sent!r}")
        early_ms = int(message.get_property(DUE_PROPERTY) or b"0") - time.time_ns() // 1_000_000
        if early_ms > 0:
            self._faults.append(f"{number} came {early_ms} ms too early")
