"""The head of the segment: what it is, of which layout, and whose.

    offset  size  field           meaning
    ------  ----  --------------  ------------------------------------------------------------------
         0     8  magic           "shmqSEG1"; stored last, when everything else is made up
         8     8  layout_version  changes when a region changes its meaning
        16     8  layout_hash     of every region's place and size
        24     8  size_bytes      the whole segment
        32     8  broker_epoch    wall clock at the start, ns: tells two lives of a broker apart
        40     8  pid             the supervisor
        48     8  started         its start time in ticks since boot
        56     8  state           STARTING, RUNNING or STOPPING; workers stop when they see STOPPING
        64     8  workers         how many network workers there are
        72     8  shutdown        how far a graceful stop has come (see the supervisor)
      4096

Written by the supervisor alone. A segment whose supervisor is gone is a leftover, and may be removed.
"""

from typing import Final

from shmq.memory.layout import layout, offset_of

LAYOUT_VERSION: Final = 3
MAGIC: Final = int.from_bytes(b"shmqSEG1", "little")

LAYOUT: Final = layout(
    4096,
    magic=(0, "<i8"),
    layout_version=(8, "<i8"),
    layout_hash=(16, "<i8"),
    size_bytes=(24, "<i8"),
    broker_epoch=(32, "<i8"),
    pid=(40, "<i8"),
    started=(48, "<i8"),
    state=(56, "<i8"),
    workers=(64, "<i8"),
    shutdown=(72, "<i8"),
)
SIZE: Final = LAYOUT.itemsize
MAGIC_AT: Final = offset_of(LAYOUT, "magic")
STATE: Final = offset_of(LAYOUT, "state")
SHUTDOWN: Final = offset_of(LAYOUT, "shutdown")

STARTING: Final = 0
RUNNING: Final = 1
STOPPING: Final = 2
