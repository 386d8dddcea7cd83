"""Layout: each process of the broker: who it is, whether it lives, how often it was started.

    offset  size  field       meaning                                                  written by
    ------  ----  ----------  -------------------------------------------------------  -----------
         0     8  pid         0 where nobody is                                        supervisor
         8     8  started     its start time in ticks since boot                       supervisor
        16     8  epoch       how often it was started; its letters carry it           supervisor
       128     8  state       STARTING, READY or STOPPING                              the process
       136     8  beat_ns     its monotonic clock when it last went round              the process
       144    56  counters    seven words, what they count is the role's to say        the process
       256

A pid alone may be another's by now: pid and start time together are a process.
"""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np

from shmq.memory.layout import layout, offset_of

LAYOUT: Final = layout(
    256,
    pid=(0, "<i8"),
    started=(8, "<i8"),
    epoch=(16, "<i8"),
    state=(128, "<i8"),
    beat_ns=(136, "<i8"),
    counters=(144, "(7,)<i8"),
)
SIZE: Final = LAYOUT.itemsize
EPOCH: Final = offset_of(LAYOUT, "epoch")
STATE: Final = offset_of(LAYOUT, "state")
BEAT_NS: Final = offset_of(LAYOUT, "beat_ns")
COUNTERS: Final = offset_of(LAYOUT, "counters")

STARTING: Final = 0
READY: Final = 1
STOPPING: Final = 2

_LIFE_SHIFT: Final = 40


def serials(epoch: int) -> Iterator[int]:
    """Numbers that no other life of a process gives: what is addressed to a predecessor is nobody's."""
    return count((epoch << _LIFE_SHIFT) + 1)


def start_time_of(pid: int) -> int:
    """A process's start time in clock ticks since boot; 0 where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = text.rpartition(")")[2].split()
    if fields[0] == "Z":  # dead, and its parent has not looked yet
        return 0
    return int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether this very process, and not a later one of the same pid, still runs."""
    return pid > 0 and started > 0 and start_time_of(pid) == started


def note_start(row: np.void, pid: int) -> None:
    """Enter a process that has just been forked (the supervisor's half of the row)."""
    row["started"] = start_time_of(pid)
    row["pid"] = pid


def own_identity() -> tuple[int, int]:
    """This process's pid and start time."""
    pid = os.getpid()
    return pid, start_time_of(pid)
