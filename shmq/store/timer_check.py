"""The file that says how far timers have come: up to when delivered, and what of the timer log is on disk.

    offset  size  field                meaning
    ------  ----  -------------------  ------------------------------------------------------------
         0     8  read_ms              every slot of the wheel before this time has been delivered
         8     8  log_flushed          every unit of the timer log below this position is on disk
        16     8  queue_offset         the next message of the timer topic that has no unit yet
        24     8  master_queue_offset  the same, where there is no replica
        32     8  state_version        of a data version, as documents have it
        40     8  version_ms
        48     8  version_counter
      4096

Big-endian: RocketMQ's `config/timercheck`, byte for byte; its first 56 bytes are the answer to GET_TIMER_CHECK_POINT.
Written by the conductor's process alone, in one write within a sector. What it says is always true: `read_ms` moves
only once what was delivered before it is on disk as well, so after a power cut nothing is believed delivered that is
gone. That it says too little costs only a second look at units that know themselves what became of them.
"""

import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

from shmq.errors import StoreError
from shmq.memory.layout import layout

LAYOUT: Final = layout(
    4096,
    read_ms=(0, ">i8"),
    log_flushed=(8, ">i8"),
    queue_offset=(16, ">i8"),
    master_queue_offset=(24, ">i8"),
    state_version=(32, ">i8"),
    version_ms=(40, ">i8"),
    version_counter=(48, ">i8"),
)
_FIELDS: Final = struct.Struct(">7q")


class TimerCheck(NamedTuple):
    """What the file says; all 0 where there is none."""

    read_ms: int = 0
    log_flushed: int = 0
    queue_offset: int = 0
    master_queue_offset: int = 0
    state_version: int = 0
    version_ms: int = 0
    version_counter: int = 0

    def to_bytes(self) -> bytes:
        """The 56 bytes of the fields."""
        return _FIELDS.pack(*self)


def read_timer_check(path: Path) -> TimerCheck:
    """What the file says, changing nothing; a file that is cut short says nothing."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return TimerCheck()
    return TimerCheck(*_FIELDS.unpack_from(text)) if len(text) >= _FIELDS.size else TimerCheck()


def write_timer_check(path: Path, check: TimerCheck, *, is_durable: bool) -> None:
    """Replace what the file says; it is made where there is none.

    Raises:
        StoreError: the disk refuses.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if os.fstat(descriptor).st_size < LAYOUT.itemsize:
                os.ftruncate(descriptor, LAYOUT.itemsize)
            os.pwrite(descriptor, check.to_bytes(), 0)
            if is_durable:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
