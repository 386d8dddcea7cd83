"""The timer wheel: of each moment, the units of the timer log that belong to it.

    offset  size  field  meaning
    ------  ----  -----  ---------------------------------------------------------------
         0     8  tick   the slot's time, in units of the precision
         8     8  first  position of its first unit in the timer log
        16     8  last   and of its last one, from which `previous` leads to all
        24     4  count  how many messages wait in it: what is taken back counts as one less
        28     4  magic  0
        32

Big-endian: RocketMQ's `timerwheel`, byte for byte: 14 days of slots. A tick has the slot of its number modulo
SLOTS, which is its own only while `tick` says so: what another turn of the wheel left there is not looked at.

Written by the conductor alone. After a kill it may lag behind the timer log by what was under way, and is brought up
to it by a walk of the log's end; a power cut may leave any part of what was not synced, and then it is made anew.
"""

import mmap
import os
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shmq.config.timer_settings import WHEEL_SLOTS
from shmq.errors import StoreError
from shmq.jit import entry, kernel
from shmq.memory.endian import load_i32, load_i64, store_i32, store_i64
from shmq.memory.layout import layout, offset_of
from shmq.memory.syscalls import preallocate
from shmq.store.new_file import make_file
from shmq.store.position import NONE
from shmq.store.store_files import sync_directory

LAYOUT: Final = layout(
    32, tick=(0, ">i8"), first=(8, ">i8"), last=(16, ">i8"), count=(24, ">i4"), magic=(28, ">i4")
)

SIZE: Final = LAYOUT.itemsize
TICK: Final = offset_of(LAYOUT, "tick")
FIRST: Final = offset_of(LAYOUT, "first")
LAST: Final = offset_of(LAYOUT, "last")
COUNT: Final = offset_of(LAYOUT, "count")
SLOT_MAGIC: Final = offset_of(LAYOUT, "magic")

SLOTS: Final = 2 * WHEEL_SLOTS
WHEEL_BYTES: Final = SLOTS * SIZE
_FIRST_STEP: Final = 256
_STEP: Final = 1 << 16


@kernel
def slot_of(wheel: int, tick: int) -> int:
    """Where the slot of a tick lies."""
    return wheel + SIZE * (tick % SLOTS)


@entry
def last_of(wheel: int, tick: int) -> int:
    """The last unit of a tick, or NONE."""
    slot = slot_of(wheel, tick)
    return load_i64(slot + LAST) if load_i64(slot + TICK) == tick else NONE


@kernel
def put(wheel: int, tick: int, unit: int, change: int) -> None:
    """Note that a unit is the last one of a tick, which then has `change` messages more."""
    slot = slot_of(wheel, tick)
    if load_i64(slot + TICK) == tick and load_i64(slot + LAST) != NONE:
        store_i64(slot + LAST, unit)
        store_i32(slot + COUNT, load_i32(slot + COUNT) + change)
        return
    store_i64(slot + FIRST, unit)
    store_i64(slot + LAST, unit)
    store_i32(slot + COUNT, change)
    store_i32(slot + SLOT_MAGIC, 0)
    store_i64(slot + TICK, tick)  # last: until then the slot is another turn's, or nobody's


class TimerWheel:
    """The file, mapped; made where there is none.

    Attributes:
        address: where it is mapped.
        was_made: whether it was not there before.
    """

    def __init__(self, path: Path) -> None:
        """Map it.

        Raises:
            StoreError: it has another size, or cannot be made.
        """
        self._path = path
        try:
            self.was_made = not path.exists() or path.stat().st_size == 0
            if self.was_made:
                path.unlink(missing_ok=True)
                self._descriptor = make_file(path, lambda made: preallocate(made, 0, WHEEL_BYTES))
                sync_directory(path.parent)
            else:
                self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error
        found_bytes = os.fstat(self._descriptor).st_size
        if found_bytes != WHEEL_BYTES:
            os.close(self._descriptor)
            raise StoreError(f"{path} has {found_bytes} bytes where a timer wheel has {WHEEL_BYTES}")
        self._mapping = mmap.mmap(self._descriptor, WHEEL_BYTES)
        self._slots = np.frombuffer(self._mapping, dtype=LAYOUT)
        self.address = int(self._slots.ctypes.data)

    def last_of(self, tick: int) -> int:
        """The last unit of a tick, or NONE."""
        return last_of(self.address, tick)

    def next_tick(self, begin: int, end: int) -> int:
        """The first tick with units, from one on and below another at most a turn later; NONE without."""
        tick = begin
        step = _FIRST_STEP
        while tick < end:
            index = tick % SLOTS
            count = min(step, end - tick, SLOTS - index)
            slots = self._slots[index : index + count]
            found = np.flatnonzero((slots["tick"] == np.arange(tick, tick + count)) & (slots["last"] != NONE))
            if len(found):
                return tick + int(found[0])
            tick += count
            step = _STEP
        return NONE

    def count_from(self, begin: int) -> int:
        """How many messages wait in ticks of the turn that begins with one."""
        return int(self._slots["count"][self._turn(begin)].sum())

    def first_from(self, begin: int) -> int:
        """The first unit that belongs to any tick of the turn that begins with one; NONE without."""
        firsts = self._slots["first"][self._turn(begin)]
        return int(firsts.min()) if len(firsts) else NONE

    def reaches_beyond(self, begin: int, end: int) -> bool:
        """Whether a tick of the turn that begins with one names a unit at or behind a position of the timer log."""
        return bool((self._slots["last"][self._turn(begin)] >= end).any())

    def clear_from(self, begin: int) -> None:
        """Forget all units of the turn that begins with a tick."""
        turn = self._turn(begin)
        for field, value in (("last", NONE), ("first", NONE), ("count", 0)):
            self._slots[field][turn] = value

    def sync(self) -> None:
        """Make it durable; for any thread.

        Raises:
            OSError: the disk failed.
        """
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let go of the file; its mapping ends with this object."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _turn(self, begin: int) -> NDArray[np.bool_]:
        """Which slots hold units of the turn that begins with a tick."""
        ticks = self._slots["tick"]
        turn: NDArray[np.bool_] = (ticks >= begin) & (ticks < begin + SLOTS) & (self._slots["last"] != NONE)
        return turn
