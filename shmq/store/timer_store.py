"""TimerStore: the messages of one topic that wait for a moment of their own, over timer log, wheel and check file.

What comes into the topic's queue is given units (`enqueue`); the units of a slot are read as rows (`rows`), and each
is told what became of its message (`note`). Memory does not grow with the messages that wait, but by some 50 bytes for
each of the one slot that is being delivered.

After a kill the wheel is brought up to the timer log, and the queue is taken up behind the record of the last unit. Of
a power cut, units whose records are gone are cut off, and a wheel that names what is not there is made anew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shmq.errors import StoreError
from shmq.jit import Words
from shmq.memory.block import address_of, view
from shmq.store import queue_entry, record, timer_enqueue, timer_log, timer_slots, timer_wheel
from shmq.store.position import NONE
from shmq.store.read import QueueReader
from shmq.store.search import message_at
from shmq.store.store_files import StorePaths
from shmq.store.timer_check import TimerCheck, read_timer_check
from shmq.store.timer_enqueue import Enqueuing
from shmq.store.timer_log import TimerLog, Unit
from shmq.store.timer_slots import ROW, Files
from shmq.store.timer_wheel import TimerWheel

Rows = NDArray[Any]
"""Rows of `timer_slots.ROW`."""

_POSITION_MAX: Final = (1 << 63) - 1
_WALK_MAX: Final = 1 << 15
_FOUND_MAX: Final = 1 << 12
_READ_BACK_SLOTS: Final = timer_wheel.SLOTS // 2 - 60
_AHEAD_SLOTS: Final = timer_wheel.SLOTS // 2
"""No unit is written for a slot that is further away, whatever the roll window."""


@dataclass(frozen=True, slots=True)
class TimerSizes:
    """What no file states: all who open the store must agree on it.

    Attributes:
        precision_ms: how long a slot is.
        roll_ms: what is further away is stored anew on the way.
        file_bytes: the size of a file of the timer log.
    """

    precision_ms: int = 1000
    roll_ms: int = 172_800_000
    file_bytes: int = 100 << 20


class Enqueued(NamedTuple):
    """What one step gave units to.

    Attributes:
        entries: of the queue that are done.
        units: that were written.
        begin: the position of the first of them; they follow each other.
        is_all: whether nothing is left in the queue.
    """

    entries: int
    units: int
    begin: int
    is_all: bool


class TimerStore:
    """For the conductor, one thread.

    Attributes:
        queue_offset: of the first message without a unit.
        read_ms: the slot that is being delivered; all before it are over.
        check: what the check file said at the start.
    """

    def __init__(
        self, paths: StorePaths, sizes: TimerSizes, queues: QueueReader, slot: int, queue: tuple[bytes, int]
    ) -> None:
        """Map what is there; make what is not.

        Args:
            paths: where the store lies.
            sizes: what its files do not state.
            queues: the queues, and the log behind them.
            slot: of the topic's queue.
            queue: its topic and queue id.

        Raises:
            StoreError: a file cannot be used.
        """
        self._sizes = sizes
        self._queues = queues
        self._slot = slot
        self._queue = queue
        self.check: TimerCheck = read_timer_check(paths.timer_check)
        self.log = TimerLog(paths.timer_log, sizes.file_bytes)
        self.wheel = TimerWheel(paths.timer_wheel)
        self.queue_offset = 0
        self.read_ms = 0
        self._note: Words = np.zeros(timer_enqueue.NOTE.itemsize // 8, dtype=np.int64)
        self._positions: Words = np.zeros(_WALK_MAX, dtype=np.int64)
        self._next: int | None = None  # the first tick with units, where it is known

    @property
    def precision_ms(self) -> int:
        """How long a slot is."""
        return self._sizes.precision_ms

    @property
    def behind(self) -> int:
        """How many messages of the queue have no unit yet."""
        return max(0, self._queues.bounds(self._slot)[1] - self.queue_offset)

    @property
    def waiting(self) -> int:
        """How many messages wait; an estimate, by the slots."""
        return max(0, self.wheel.count_from(self._tick(self.read_ms)))

    def recover(self, now_ms: int, trimmed: int) -> None:
        """Make log, wheel and queue offset agree, whatever was under way when they were left."""
        precision_ms = self.precision_ms
        floor_ms = now_ms // precision_ms * precision_ms
        self.read_ms = self.check.read_ms // precision_ms * precision_ms
        if not self.log.starts:
            self.read_ms = floor_ms
        # Whatever is older was written over by the next turn of the wheel, or is about to be.
        self.read_ms = max(self.read_ms, floor_ms - _READ_BACK_SLOTS * precision_ms)
        flushed = self.check.log_flushed - self.log.file_bytes
        self._replay(0 if self.wheel.was_made else flushed)
        self._cut_unborne(trimmed)
        if self.wheel.reaches_beyond(self._tick(self.read_ms), self.log.end):
            self.wheel.clear_from(self._tick(self.read_ms))
            self._replay(0)
        self.queue_offset = self._offset_after_last()

    def enqueue(self, clock_ms: Callable[[], int], count_max: int) -> Enqueued:
        """Give units to the next messages of the queue, as far as they lie in one of its files.

        The clock is read once it is known which messages there are: a unit that is older than its message's record
        would be taken for one whose record a power cut has taken.

        Raises:
            StoreError: no file can be made for them.
        """
        least, most = self._queues.bounds(self._slot)
        self.queue_offset = min(max(self.queue_offset, least), most)
        count = min(self._queues.entries_until(self.queue_offset, most), count_max)
        if count <= 0:
            return Enqueued(0, 0, self.log.end, is_all=True)
        entries = self._queues.entries_at(self._slot, self._queue, self.queue_offset)
        if entries == NONE:
            raise StoreError(
                f"the queue of {self._queue[0]!r} has no file for its offset {self.queue_offset}"
            )
        if self.log.room_bytes < timer_log.SIZE + timer_log.BLANK_BYTES_MIN:
            self.log.grow()
        status = timer_enqueue.enqueue(self._enqueuing(entries, count, clock_ms()))
        done, units, _, needed, earliest = self._note.tolist()
        if status == timer_enqueue.NEEDS_RECORD and self._queues.log.address_of(needed)[0] == NONE:
            done += 1  # its part of the log is gone
        begin = self.log.end
        self.log.end += units * timer_log.SIZE
        self.queue_offset += done
        if earliest != NONE and self._next is not None:
            self._next = min(self._next, earliest) if self._next != NONE else earliest
        return Enqueued(done, units, begin, is_all=self.queue_offset >= most)

    def units(self, begin: int, count: int) -> NDArray[Any]:
        """So many units from a position on, which lie in one file, as an array; for use before the next call."""
        address = self.log.address_of(begin)
        size_bytes = timer_log.SIZE * count
        return np.frombuffer(view(address, size_bytes), dtype=timer_log.LAYOUT)

    def next_ms(self, now_ms: int) -> int:
        """The time of the first slot with units, from the one being delivered on; NONE without."""
        begin = self._tick(self.read_ms)
        if self._next is None or (self._next != NONE and self._next < begin):
            end = max(begin, self._tick(now_ms)) + _AHEAD_SLOTS
            self._next = self.wheel.next_tick(begin, min(end, begin + timer_wheel.SLOTS))
        return NONE if self._next == NONE else self._next * self.precision_ms

    def move(self, read_ms: int) -> None:
        """Begin with a later slot: all before it are over."""
        self.read_ms = read_ms

    def last_unit(self) -> int:
        """The last unit of the slot that is being delivered, or NONE."""
        return self.wheel.last_of(self._tick(self.read_ms))

    def rows(self, last: int, until: int, trimmed: int) -> Rows:
        """Rows of a slot's units, in the order in which they were written: those behind one, up to the last."""
        pieces: list[Words] = []
        position = last
        while True:
            status = timer_slots.walk_back(
                self._unit_files(),
                position,
                until,
                address_of(self._positions),
                _WALK_MAX,
                address_of(self._note),
            )
            count, position, needed = self._note[:3].tolist()
            pieces.append(self._positions[:count].copy())
            if status == timer_slots.DONE:
                break
            if status == timer_slots.NEEDS_UNIT and self.log.address_of(needed) == NONE:
                break  # a file that was full of what is over
        found = np.concatenate(pieces)[::-1]
        rows: Rows = np.zeros(len(found), dtype=ROW)
        rows["unit"] = found
        self._describe(rows, trimmed)
        return rows

    def note(self, unit: int, delivered: int) -> None:
        """Write into a unit what became of its message."""
        address = self.log.address_of(unit)
        if address != NONE:
            timer_log.note_delivered(address, delivered)

    def deliveries(self, begin: int, end: int) -> list[int]:
        """The positions of all records of a range of the commit log that were made by a delivery."""
        found: list[int] = []
        position = begin
        while position < end:
            address, left_bytes = self._queues.log.address_of(position)
            if address == NONE:
                break
            status = timer_slots.find_deliveries(
                address,
                min(left_bytes, end - position),
                position,
                address_of(self._positions),
                _FOUND_MAX,
                address_of(self._note),
            )
            count, reached, _ = self._note[:3].tolist()
            found += self._positions[:count].tolist()
            position = reached if status == timer_slots.FULL else position + left_bytes
        return found

    def needed(self) -> int:
        """The position from which on messages that wait, or have no unit yet, need the commit log; NONE without any."""
        first = self.wheel.first_from(self._tick(self.read_ms))
        address = self.log.address_of(max(first, self.log.begin)) if first != NONE else NONE
        positions = [timer_log.read_unit(address).position] if address != NONE else []
        if self.behind:
            entries = self._queues.entries_at(self._slot, self._queue, self.queue_offset)
            if entries != NONE:
                positions.append(queue_entry.decode(entries).position)
        return min(positions, default=NONE)

    def trim(self, trimmed: int) -> bool:
        """Delete the first file of the timer log where all its messages are gone; return whether there was one."""
        starts = self.log.starts
        if len(starts) < 2:
            return False
        address = self.log.address_of(self.log.last_unit_of(starts[0]))
        unit = timer_log.read_unit(address)
        if unit.position >= trimmed:
            return False
        self.log.remove_first()
        return True

    def close(self) -> None:
        """Let go of all files."""
        self.log.close()
        self.wheel.close()

    def _tick(self, time_ms: int) -> int:
        return time_ms // self.precision_ms

    def _unit_files(self) -> Files:
        return Files(self.log.mappings.address, self.log.file_bytes, self.log.begin)

    def _enqueuing(self, entries: int, count: int, now_ms: int) -> Enqueuing:
        log = self._queues.log
        return Enqueuing(
            entries=entries,
            entry_count=count,
            files=log.mappings.address,
            file_bytes=log.file_bytes,
            unit=self.log.address_of(self.log.end),
            unit_position=self.log.end,
            room_bytes=self.log.room_bytes,
            wheel=self.wheel.address,
            precision_ms=self.precision_ms,
            now_ms=now_ms // self.precision_ms * self.precision_ms,
            read_ms=self.read_ms,
            roll_ms=self._sizes.roll_ms,
            note=address_of(self._note),
        )

    def _describe(self, rows: Rows, trimmed: int) -> None:
        done = 0
        log = self._queues.log
        while done < len(rows):
            records = Files(log.mappings.address, log.file_bytes, trimmed)
            status = timer_slots.describe(
                self._unit_files(),
                records,
                address_of(rows[done:]),
                len(rows) - done,
                self.precision_ms,
                address_of(self._note),
            )
            count, _, needed = self._note[:3].tolist()
            done += count
            if status == timer_slots.NEEDS_UNIT:
                self.log.address_of(needed)
            elif status == timer_slots.NEEDS_RECORD and log.address_of(needed)[0] == NONE:
                if needed == int(rows["result"][done]):
                    self.note(int(rows["unit"][done]), 0)  # a power cut has taken what it became
                else:
                    done += 1  # and that it has no message, its row says already

    def _replay(self, position: int) -> None:
        """Find the end of the timer log from the file of a position on, and put into the wheel what it lacks."""
        self.log.end = self.log.begin
        starts = self.log.starts
        for start in (
            starts[-1:]
            if starts and position >= starts[-1]
            else [start for start in starts if start + self.log.file_bytes > position]
        ):
            units_bytes = timer_slots.replay(
                self.log.address_of(start),
                start,
                self.log.file_bytes,
                self._tick(self.read_ms),
                self.wheel.address,
                self.precision_ms,
            )
            self.log.end = start + units_bytes
            if self.log.end <= self.log.last_unit_of(start):
                break
        self._next = None

    def _cut_unborne(self, trimmed: int) -> None:
        """Cut off units at the end whose records a power cut has taken; what follows in files is nobody's."""
        end = self.log.end
        while end > self.log.begin:
            last = self._before(end)
            unit = timer_log.read_unit(self.log.address_of(last))
            if unit.position < trimmed or self._is_borne_out(unit):
                break
            end = last
        self.log.cut(end)

    def _before(self, end: int) -> int:
        """The position of the unit that ends before one, maybe in the file before."""
        start = (end - 1) // self.log.file_bytes * self.log.file_bytes
        return min(end - timer_log.SIZE, self.log.last_unit_of(start))

    def _is_borne_out(self, unit: Unit) -> bool:
        """Whether the record of a unit is there, and not another one that took its place after a power cut."""
        found = self._record_of(unit)
        if found is None or found.total_size != unit.record_size or found.topic != self._queue[0]:
            return False
        return found.store_timestamp_ms < unit.enqueued_ms + self.precision_ms

    def _record_of(self, unit: Unit) -> record.StoredRecord | None:
        found = message_at(self._queues.log, unit.position, 0, _POSITION_MAX)
        return None if found is None else record.decode(found)

    def _offset_after_last(self) -> int:
        """The queue offset behind the last message with a unit."""
        if self.log.end > self.log.begin:
            found = self._record_of(timer_log.read_unit(self.log.address_of(self._before(self.log.end))))
            if found is not None:
                return found.queue_offset + 1
        return self.check.queue_offset
