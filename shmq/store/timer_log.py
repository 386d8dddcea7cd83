"""The timer log: one unit for each message that waits for a moment of its own, linked backwards within its slot.

    offset  size  field        meaning
    ------  ----  -----------  ------------------------------------------------------------------------
         0     4  size         52
         4     8  previous     the unit before this one in its slot of the wheel, NONE at the first
        12     4  magic        1; with 2: to be stored anew, not delivered; with 4: takes another one back
        16     8  enqueued_ms  when the unit was written
        24     4  delay_ms     from there to the time of its slot
        28     8  position     of the message's record in the commit log
        36     4  record_size  its length
        40     4  topic_hash   Java's hash of the topic that it is bound for
        44     8  delivered    0: not delivered; > 0: the position of what it became; < 0: see below
        52

Big-endian: RocketMQ's unit, byte for byte, in files of `timer_log_file_bytes`; where no unit fits any more, a file ends
with its unused size, 8 zeros and BLANK_MAGIC. RocketMQ keeps `delivered` at 0 and does not look at it. Here it is
what makes a delivery happen once: before the message is sent to the commit writer it becomes -1 less the end of the
log, and once that has stored it, its new position. So who finds it below 0 knows from where on to look whether
it was stored, and who finds it above knows where to make sure.

Written by the conductor alone. A unit's size is stored last, so one that was begun when the process was killed is
none; a power cut may leave any part of what was not synced, and units are believed only with their records.
"""

import struct
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from shmq.errors import StoreError
from shmq.jit import entry, kernel
from shmq.memory.atomics import release_fence
from shmq.memory.endian import load_i32, load_i64, store_i32, store_i64
from shmq.memory.layout import layout, offset_of
from shmq.store.log import LogDirectory
from shmq.store.mapping_table import MappingTable
from shmq.store.position import NONE
from shmq.store.segment import Segment

LAYOUT: Final = layout(
    52,
    size=(0, ">i4"),
    previous=(4, ">i8"),
    magic=(12, ">i4"),
    enqueued_ms=(16, ">i8"),
    delay_ms=(24, ">i4"),
    position=(28, ">i8"),
    record_size=(36, ">i4"),
    topic_hash=(40, ">i4"),
    delivered=(44, ">i8"),
)

SIZE: Final = LAYOUT.itemsize
UNIT_SIZE: Final = offset_of(LAYOUT, "size")
PREVIOUS: Final = offset_of(LAYOUT, "previous")
MAGIC: Final = offset_of(LAYOUT, "magic")
ENQUEUED_MS: Final = offset_of(LAYOUT, "enqueued_ms")
DELAY_MS: Final = offset_of(LAYOUT, "delay_ms")
POSITION: Final = offset_of(LAYOUT, "position")
RECORD_SIZE: Final = offset_of(LAYOUT, "record_size")
TOPIC_HASH: Final = offset_of(LAYOUT, "topic_hash")
DELIVERED: Final = offset_of(LAYOUT, "delivered")

WAITS: Final = 1
ROLLS: Final = 2
RECALLS: Final = 4
_MAGICS: Final = 0xF

BLANK_MAGIC: Final = 0xCBD43194 - (1 << 32)
BLANK_BYTES_MIN: Final = 16
_BLANK: Final = struct.Struct(">iqi")
_MAPPED_MAX: Final = 32


class Unit(NamedTuple):
    """A unit's values."""

    previous: int
    magic: int
    enqueued_ms: int
    delay_ms: int
    position: int
    record_size: int
    topic_hash: int
    delivered: int


@kernel
def encode(address: int, unit: Unit) -> None:
    """Write a unit, its size last."""
    store_i64(address + PREVIOUS, unit.previous)
    store_i32(address + MAGIC, unit.magic)
    store_i64(address + ENQUEUED_MS, unit.enqueued_ms)
    store_i32(address + DELAY_MS, unit.delay_ms)
    store_i64(address + POSITION, unit.position)
    store_i32(address + RECORD_SIZE, unit.record_size)
    store_i32(address + TOPIC_HASH, unit.topic_hash)
    store_i64(address + DELIVERED, unit.delivered)
    release_fence()  # pairs with nobody at work: with a successor, who takes a unit with its size for whole
    store_i32(address + UNIT_SIZE, SIZE)


@kernel
def decode(address: int) -> Unit:
    """Read a unit."""
    return Unit(
        load_i64(address + PREVIOUS),
        load_i32(address + MAGIC),
        load_i64(address + ENQUEUED_MS),
        load_i32(address + DELAY_MS),
        load_i64(address + POSITION),
        load_i32(address + RECORD_SIZE),
        load_i32(address + TOPIC_HASH),
        load_i64(address + DELIVERED),
    )


@kernel
def is_unit(address: int) -> bool:
    """Whether a unit lies here, by RocketMQ's rule."""
    return load_i32(address + UNIT_SIZE) == SIZE and load_i32(address + MAGIC) | _MAGICS == _MAGICS


@kernel
def time_of(unit: Unit) -> int:
    """The time of the slot that a unit belongs to, ms."""
    return unit.enqueued_ms + unit.delay_ms


@entry
def note_delivered(address: int, delivered: int) -> None:
    """Write what became of a unit's message."""
    store_i64(address + DELIVERED, delivered)


@entry
def read_unit(address: int) -> Unit:
    """Read a unit, for Python."""
    return decode(address)


class TimerLog:
    """The files of the log, mapped when needed; for the conductor.

    Attributes:
        file_bytes: the size of a file.
        begin: the position of the first unit that is there.
        end: the position behind the last one.
        mappings: (start of a file, 0) -> where it is mapped, for kernels.
    """

    def __init__(self, path: Path, file_bytes: int) -> None:
        """List the files; `end` is not known before somebody has looked for it.

        Raises:
            StoreError: a file is foreign, of another size, or missing in the middle.
        """
        self.file_bytes = file_bytes
        self._directory = LogDirectory(path, file_bytes)
        self._starts = self._directory.repair()
        self._segments: dict[int, Segment] = {}
        self.mappings = MappingTable(_MAPPED_MAX)
        self.begin = self._starts[0] if self._starts else 0
        self.end = self.begin

    @property
    def starts(self) -> list[int]:
        """Where the files begin."""
        return list(self._starts)

    @property
    def room_bytes(self) -> int:
        """How much can be written at `end`, in the file that is there."""
        if not self._starts:
            return 0
        return max(0, self._starts[-1] + self.file_bytes - self.end)

    def address_of(self, position: int) -> int:
        """Where a position is mapped, or NONE where no file holds it; for use before the next call.

        Raises:
            StoreError: the file is there and cannot be mapped.
        """
        start = position // self.file_bytes * self.file_bytes
        address = self.mappings.find(start, 0)
        if address == NONE:
            if start not in self._starts:
                return NONE
            if len(self._segments) >= _MAPPED_MAX:
                self._drop(self.mappings.oldest()[0])
            segment = self._directory.open(start, writable=True)
            self._enter(segment)
            address = segment.address
        return address + position - start

    def grow(self) -> None:
        """Make the next file, and say in the last one that it ends.

        Raises:
            StoreError: there is no room for it.
        """
        start = self._starts[-1] + self.file_bytes if self._starts else 0
        segment = self._directory.create(start)
        if self._starts and self.end < start:
            self.address_of(self.end)
            before = self._segments[self._starts[-1]]
            at = self.end - before.start
            _BLANK.pack_into(before.view, at, before.size_bytes - at, 0, BLANK_MAGIC)
        if len(self._segments) >= _MAPPED_MAX:
            self._drop(self.mappings.oldest()[0])
        self._starts.append(start)
        self._enter(segment)
        self.end = start

    def cut(self, end: int) -> None:
        """Take what lies at and behind a position for nothing: zero it in its file, remove the files behind."""
        for start in [start for start in self._starts if start > end]:
            self._remove(start)
        if self._starts:
            self.address_of(self._starts[-1])
            segment = self._segments[self._starts[-1]]
            at = max(0, end - segment.start)
            left = np.frombuffer(segment.view, dtype=np.uint8)[at:]
            if left.any():  # units behind a hole would come back to life once the hole is filled
                left[:] = 0
        self.end = end

    def remove_first(self) -> None:
        """Delete the first file; there must be another one."""
        assert len(self._starts) > 1, "the last file stays"
        self._remove(self._starts[0])
        self.begin = self._starts[0]

    def last_unit_of(self, start: int) -> int:
        """The position of the last unit of a full file."""
        fitting = (self.file_bytes - SIZE - BLANK_BYTES_MIN) // SIZE
        return start + fitting * SIZE

    def sync(self, begin: int, end: int) -> None:
        """Make a range durable; for any thread, on files of its own.

        Raises:
            OSError: the disk failed.
        """
        for start in [start for start in self.starts if start < end and start + self.file_bytes > begin]:
            try:
                segment = self._directory.open(start, writable=True)
            except StoreError:
                if self._directory.file(start).exists():
                    raise
                continue  # it has been removed since
            try:
                segment.sync(0, segment.size_bytes)
            finally:
                segment.close()

    def close(self) -> None:
        """Let go of all files."""
        for start in list(self._segments):
            self._drop(start)

    def _enter(self, segment: Segment) -> None:
        self._segments[segment.start] = segment
        self.mappings.enter(segment.start, 0, segment.address)

    def _drop(self, start: int) -> None:
        self.mappings.remove(start, 0)
        self._segments.pop(start).close()

    def _remove(self, start: int) -> None:
        if start in self._segments:
            self._drop(start)
        self._starts.remove(start)
        self._directory.file(start).unlink(missing_ok=True)
