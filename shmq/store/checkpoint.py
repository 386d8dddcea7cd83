"""The file that says where recovery may start: store times up to which all is known to be on disk.

    offset  size  field                     set by
    ------  ----  ------------------------  ----------------------------------------------------
         0     8  log_timestamp             flush thread: store time of a record that is flushed
         8     8  queues_timestamp          store time covered by a flush of the queues
        16     8  index_timestamp           store time of the last full index file
        24     8  master_flushed_position   HA
        32     8  confirmed_position        recovery, HA
      4096

Big-endian: RocketMQ's checkpoint, byte for byte; zeros behind the fields. Written by the flush thread alone, in
place, in one write within one sector. Times that are too old are always safe, they only lengthen the scan; times
that cannot be are not believed (`believed`).
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shmq.errors import StoreError
from shmq.memory.layout import layout

LAYOUT: Final = layout(
    4096,
    log_timestamp=(0, ">i8"),
    queues_timestamp=(8, ">i8"),
    index_timestamp=(16, ">i8"),
    master_flushed_position=(24, ">i8"),
    confirmed_position=(32, ">i8"),
)

_FIELDS: Final = struct.Struct(">5q")
_SAFETY_MS: Final = 3000
"""RocketMQ's allowance for a clock that is not quite steady."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the file says."""

    log_timestamp_ms: int = 0
    queues_timestamp_ms: int = 0
    index_timestamp_ms: int = 0
    master_flushed_position: int = 0
    confirmed_position: int = 0

    @property
    def safe_timestamp_ms(self) -> int:
        """A file whose first record is not younger may be where recovery starts."""
        return max(0, min(self.log_timestamp_ms, self.queues_timestamp_ms) - _SAFETY_MS)

    def believed(self, newest_ms: int, now_ms: int) -> "Checkpoint":
        """This, or nothing at all where a time lies beyond the newest record's or the clock."""
        limit_ms = min(newest_ms, now_ms)
        times = (self.log_timestamp_ms, self.queues_timestamp_ms)
        return self if all(0 <= time <= limit_ms for time in times) else Checkpoint()


class CheckpointFile:
    """The file, created when missing.

    Raises:
        StoreError: it cannot be opened or made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if os.fstat(self._descriptor).st_size < LAYOUT.itemsize:
                os.ftruncate(self._descriptor, LAYOUT.itemsize)
                os.fsync(self._descriptor)
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error

    def read(self) -> Checkpoint:
        """What the file says now."""
        return Checkpoint(*_FIELDS.unpack(os.pread(self._descriptor, _FIELDS.size, 0)))

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace what it says, durably.

        Raises:
            StoreError: the disk refuses.
        """
        fields = _FIELDS.pack(
            checkpoint.log_timestamp_ms,
            checkpoint.queues_timestamp_ms,
            checkpoint.index_timestamp_ms,
            checkpoint.master_flushed_position,
            checkpoint.confirmed_position,
        )
        try:
            os.pwrite(self._descriptor, fields, 0)
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_checkpoint(path: Path) -> Checkpoint:
    """What a checkpoint file says, changing nothing; zeros where it is missing or cut short."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Checkpoint()
    if len(text) < _FIELDS.size:
        return Checkpoint()
    return Checkpoint(*_FIELDS.unpack_from(text))
