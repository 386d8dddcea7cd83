"""What lies where in the broker's shared memory, reckoned from the configuration.

    region          what                                                    written by
    --------------  ------------------------------------------------------  -----------------------------
    header          who we are, layout hash, supervisor, state              supervisor
    watermarks      how far each stage has come                             one process each
    writer          the commit writer's page: its intent                    writer
    roster          a row for each process                                  supervisor and that process
    bells           a doorbell for each role that sleeps                    sleeper and waker
    topic_names     name -> topic id                                        conductor
    group_names     name -> group id                                        conductor
    queues          (topic id, queue id) -> slot, and its columns           conductor; one writer a column
    offsets         (group id, slot) -> committed offset                    conductor adds, workers store
    submit/i        sender i -> writer                                      sender i; cursor: writer
    completions/i   writer -> sender i                                      writer; cursor: sender i
    up/i            network worker i -> conductor                           worker i; cursor: conductor
    down/i          conductor -> network worker i                           conductor; cursor: worker i

Senders are the network workers, in order, and then the conductor. Each region begins on a page.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from shmq.config.settings import Config
from shmq.memory.layout import round_up
from shmq.ring import doorbell, spsc
from shmq.shared import commit, header, roster
from shmq.store import name_table, offset_table, queue_table, watermarks

PAGE_BYTES: Final = 4096

SUPERVISOR: Final = 0
WRITER: Final = 1
DISPATCHER: Final = 2
CONDUCTOR: Final = 3
REGISTRAR: Final = 4
FIRST_WORKER: Final = 5
"""Rows of the roster; the network workers' begin at FIRST_WORKER."""

BELL_WRITER: Final = 0
BELL_FLUSHER: Final = 1
BELL_DISPATCHER: Final = 2
BELL_CONDUCTOR: Final = 3
BELL_FIRST_WORKER: Final = 4


@dataclass(frozen=True, slots=True)
class Extent:
    """A region: where it begins in the segment, and how long it is."""

    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The regions of one broker's segment.

    Attributes:
        workers: how many network workers there are.
        extents: each region by name.
        size_bytes: the whole segment.
        layout_hash: differs where anything lies elsewhere or has another size.
    """

    workers: int
    extents: dict[str, Extent]
    size_bytes: int
    layout_hash: int

    @property
    def senders(self) -> int:
        """How many rings lead to the writer: the workers' and the conductor's."""
        return self.workers + 1

    @property
    def conductor_sender(self) -> int:
        """The conductor's number among the senders."""
        return self.workers


def plan_for(config: Config) -> Plan:
    """Reckon the regions that a configuration needs."""
    workers = config.network_workers
    submit = spsc.ring_bytes(config.submit_ring_bytes)
    completions = spsc.ring_bytes(config.completion_ring_bytes)
    letters = spsc.ring_bytes(config.letter_ring_bytes)
    sizes = {
        "header": header.SIZE,
        "watermarks": watermarks.SIZE,
        "writer": commit.PAGE_SIZE,
        "roster": roster.SIZE * (FIRST_WORKER + workers),
        "bells": doorbell.SIZE * (BELL_FIRST_WORKER + workers),
        "topic_names": name_table.name_table_bytes(config.topics_max),
        "group_names": name_table.name_table_bytes(config.groups_max),
        "queues": queue_table.queue_table_bytes(config.queue_slots_max),
        "offsets": offset_table.offset_table_bytes(config.offset_rows_max),
    }
    for sender in range(workers + 1):
        sizes[f"submit/{sender}"] = submit
        sizes[f"completions/{sender}"] = completions
    for worker in range(workers):
        sizes[f"up/{worker}"] = letters
        sizes[f"down/{worker}"] = letters
    extents: dict[str, Extent] = {}
    end = 0
    for name, size_bytes in sizes.items():
        extents[name] = Extent(end, size_bytes)
        end = round_up(end + size_bytes, PAGE_BYTES)
    text = repr([(name, extent.offset_bytes, extent.size_bytes) for name, extent in extents.items()])
    digest = hashlib.sha256(f"{header.LAYOUT_VERSION} {text}".encode()).digest()
    return Plan(workers, extents, end, int.from_bytes(digest[:7], "big"))
