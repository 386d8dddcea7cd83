"""How the store fares, as the names and values that RocketMQ's runtime information has for it."""

import os
from math import log
from typing import Final

from shmq.broker.store_reader import StoreReader
from shmq.shared import gates
from shmq.shared.broker_memory import BrokerMemory
from shmq.store.position import NONE
from shmq.store.store_files import StorePaths
from shmq.workers.sweeping import used_percent

_NOT_WRITEABLE: Final = 1 << 1
_DISK_FULL: Final = 1 << 4
"""RocketMQ's running flags."""
_UNIT: Final = 1024


def measure(memory: BrokerMemory, paths: StorePaths, reader: StoreReader) -> dict[str, str]:
    """Look at watermarks, gates and disks."""
    marks = memory.watermarks
    log_ratio = _ratio(used_percent(paths.commitlog))
    first = reader.message(marks.trimmed)
    disk = os.statvfs(paths.root)
    total, free = disk.f_blocks * disk.f_frsize, disk.f_bfree * disk.f_frsize
    reasons = gates.Closed(gates.closed(memory.place("gates")))
    return {
        "commitLogDirCapacity": f"Total : {_bytes_text(total)}, Free : {_bytes_text(free)}.",
        "commitLogDiskRatio": log_ratio,
        f"commitLogDiskRatio_{paths.commitlog}": log_ratio,
        "commitLogMaxOffset": str(marks.appended),
        "commitLogMinOffset": str(marks.trimmed),
        "consumeQueueDiskRatio": _ratio(used_percent(paths.consumequeue)),
        "dispatchBehindBytes": str(marks.confirmed - marks.dispatched),
        "earliestMessageTimeStamp": str(NONE if first is None else first.store_timestamp_ms),
        "messagesRefusedBecause": ", ".join(str(each.name) for each in reasons),
        "remainHowManyDataToFlush": _bytes_text(marks.appended - marks.flushed),
        "runningFlags": str(_running_flags(reasons)),
    }


def _running_flags(reasons: gates.Closed) -> int:
    """Why the log is closed, as far as RocketMQ has a flag for it."""
    flags = _DISK_FULL if gates.Closed.DISK_FULL in reasons else 0
    return flags | (_NOT_WRITEABLE if reasons & ~gates.Closed.DISK_FULL else 0)


def _ratio(percent: int) -> str:
    """A share of 1, as Java writes it; -1.0 where nobody can say."""
    return str(percent / 100) if percent != NONE else "-1.0"


def _bytes_text(size_bytes: int) -> str:
    if size_bytes < _UNIT:
        return f"{max(size_bytes, 0)} B"
    power = int(log(size_bytes) / log(_UNIT))
    return f"{size_bytes / _UNIT**power:.1f} {'KMGTPE'[power - 1]}iB"
