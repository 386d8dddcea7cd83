"""Extending: the dispatcher's work for queues with extensions, between reading records ahead and entering them.

Each record that is to get an entry first gets a unit, and its entry the unit's address in place of the tag's hash.
Where a unit cannot be written the entry holds the hash, as without extensions.

A record whose entry has to wait, for a window or for room on the disk, is met again: it keeps the unit that it has.
That unit may have been made before an expression became known; the record then lies before that one's `live_from`, as
it was confirmed already (see `bit_marks.py`).
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.store import record
from shmq.store.extension_files import ExtensionFiles
from shmq.store.log import LogReader
from shmq.store.name_table import NameTable
from shmq.store.position import NONE
from shmq.store.property_match import Picker, PropertyFilter
from shmq.store.queue_entry import LAYOUT
from shmq.store.queue_extension import encode_unit
from shmq.store.queue_table import QueueTable

_BIT_ORDER: Final = "little"
"""Bit n of a bit map is bit n % 8 of its byte n // 8."""


class Expression(NamedTuple):
    """An expression for a topic, and the positions that it sets in bit maps."""

    wanted: PropertyFilter
    bits: tuple[int, ...]


class BitMapSource(Protocol):
    """Knows the expressions of consumers.

    Attributes:
        bit_map_bytes: the length of a bit map.
    """

    bit_map_bytes: int

    def expressions(self, topic: bytes) -> Sequence[Expression]:
        """Those for a topic; none where bit maps of its messages must not be made."""


class NoBitMaps:
    """Knows no expressions."""

    bit_map_bytes: int = 0

    def expressions(self, topic: bytes) -> Sequence[Expression]:  # noqa: ARG002 - there are none for any
        """None."""
        return ()


class _Row(NamedTuple):
    """A record that is to have a unit."""

    number: int
    position: int
    size: int
    tag_code: int
    store_ms: int


class Extending:
    """Owned by one `Dispatch`.

    Attributes:
        files: where units are written.
        problem: why units could not be written the last time, or nothing.
    """

    def __init__(
        self,
        found: NDArray[Any],
        queues: QueueTable,
        topics: NameTable,
        log: LogReader,
        files: ExtensionFiles,
    ) -> None:
        """Take what is read ahead into `found`; without `source`, units have no bit map."""
        self.files = files
        self.source: BitMapSource = NoBitMaps()
        self.problem = ""
        self._found = found
        self._queues = queues
        self._topics = topics
        self._log = log
        self._picker = Picker()
        self._waiting: dict[int, dict[int, int]] = {}  # slot -> position -> address

    def extend(self, count: int, address: int, position: int) -> None:
        """Give units to the records that were found at a position of the log, which is mapped at an address."""
        by_slot = self._rows(count, address, position)
        known = {each for slot in by_slot for each in self._waiting.get(slot, ())}
        if any(row.position not in known for rows in by_slot.values() for row in rows):
            self.problem = ""  # what is said from here on is said of something new
        for slot, rows in by_slot.items():
            waiting = self._waiting.setdefault(slot, {})
            fresh = [row for row in rows if row.position not in known]
            topic_id, queue_id = self._queues.topic_and_queue(slot)
            topic = self._topics.name(topic_id)
            maps = self._bit_maps(topic, fresh)
            units = [
                encode_unit(row.tag_code, row.store_ms, each) for row, each in zip(fresh, maps, strict=True)
            ]
            try:
                addresses = self.files.put(slot, (topic, queue_id), int(self._queues.max[slot]), units)
            except StoreError as error:
                self.problem = str(error)
                self.forget(slot)  # other units may come to lie where those of before were
                continue
            waiting.update(zip((row.position for row in fresh), addresses, strict=True))
            for row in rows:
                if waiting[row.position] != NONE:
                    self._found["tag_hash"][row.number] = waiting[row.position]

    def entered(self, reached: int) -> None:
        """Note that all records before a position of the log have their entries."""
        for slot, waiting in list(self._waiting.items()):
            left = {position: address for position, address in waiting.items() if position >= reached}
            if left:
                self._waiting[slot] = left
            else:
                del self._waiting[slot]

    def forget(self, slot: int) -> None:
        """Give up what is known of a queue, before others change its files."""
        self._waiting.pop(slot, None)
        self.files.forget(slot)

    def _rows(self, count: int, address: int, position: int) -> dict[int, list[_Row]]:
        """What is to get an entry, by slot; the rule is that of `dispatch_walk`."""
        rows: dict[int, list[_Row]] = {}
        ends: dict[int, tuple[int, int]] = {}
        at = 0
        for number, (size, slot, offset, tag_code, _) in enumerate(self._found[:count].tolist()):
            if slot >= 0:
                if slot not in ends:
                    ends[slot] = int(self._queues.end_position[slot]), int(self._queues.max[slot])
                    rows[slot] = []
                end_position, max_offset = ends[slot]
                if position + at + size > end_position and offset >= max_offset:
                    store_ms = record.store_timestamp(address + at)
                    rows[slot].append(_Row(number, position + at, size, tag_code, store_ms))
            at += size
        return {slot: of_slot for slot, of_slot in rows.items() if of_slot}

    def _bit_maps(self, topic: bytes, rows: Sequence[_Row]) -> list[bytes]:
        """The bit map of each record, empty where the topic has no expression."""
        expressions = self.source.expressions(topic)
        if not expressions or not rows:
            return [b""] * len(rows)
        entries = np.zeros(len(rows), dtype=LAYOUT)
        entries["position"] = [row.position for row in rows]
        entries["record_size"] = [row.size for row in rows]
        maps = [0] * len(rows)
        part = range(len(rows))
        for wanted, bits in expressions:
            mask = sum(1 << bit for bit in set(bits))
            try:
                self._picker.pick(wanted, address_of(entries), part, self._log)
            except Exception as error:  # noqa: BLE001 - an expression must not end the dispatcher: nothing is said of these
                self.problem = f"an expression for {topic!r} failed: {error!r}"
                return [b""] * len(rows)
            for number in np.flatnonzero(self._picker.picked(part)).tolist():
                maps[number] |= mask
        return [each.to_bytes(self.source.bit_map_bytes, _BIT_ORDER) for each in maps]
