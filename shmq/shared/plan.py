"""What lies where in the broker's shared memory, reckoned from the configuration.

    region          what                                                    written by
    --------------  ------------------------------------------------------  -----------------------------
    header          who we are, layout hash, supervisor, state              supervisor
    terms           what who attaches must know of the configuration        supervisor
    watermarks      how far each stage has come                             one process each
    writer          the commit writer's page: its intent                    writer
    gates           why messages are refused; how often files went          one process a word
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
    local_sessions  producers and consumers in other processes              see shared/local_sessions.py
    local_up/j      session j -> conductor                                  its owner; cursor: conductor
    local_down/j    conductor -> session j                                  conductor; cursor: its owner

Senders are the network workers, in order, then the conductor, then the local sessions. Each region begins on a
page. The rings of local sessions come last: they have memory only while somebody is attached.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from shmq.config.settings import Config
from shmq.memory.layout import round_up
from shmq.ring import doorbell, spsc
from shmq.shared import commit, gates, header, local_sessions, roster, terms
from shmq.shared.terms import Terms
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
BELL_INDEXER: Final = 3
BELL_CONDUCTOR: Final = 4
BELL_LOCAL: Final = 5
"""The conductor's second bell, a futex, since a process that was not forked from ours has no eventfd of it."""
BELL_FIRST_WORKER: Final = 6

LOCAL_LETTER_RING_BYTES: Final = 64 * 1024


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
        local_sessions: how many processes can attach.
        extents: each region by name.
        size_bytes: the whole segment.
        reserved_bytes: the part of it that always has memory, from its beginning.
        layout_hash: differs where anything lies elsewhere or has another size.
    """

    workers: int
    local_sessions: int
    extents: dict[str, Extent]
    size_bytes: int
    reserved_bytes: int
    layout_hash: int

    @property
    def senders(self) -> int:
        """How many rings lead to the writer: the workers', the conductor's and the local sessions'."""
        return self.workers + 1 + self.local_sessions

    @property
    def inner_senders(self) -> int:
        """How many of them belong to processes of the broker; they come first."""
        return self.workers + 1

    def session_sender(self, session: int) -> int:
        """A local session's number among the senders."""
        return self.workers + 1 + session

    def session_rings(self, session: int) -> tuple[str, ...]:
        """The rings of a local session; they lie behind each other."""
        sender = self.session_sender(session)
        return f"submit/{sender}", f"completions/{sender}", f"local_up/{session}", f"local_down/{session}"

    def session_extent(self, session: int) -> Extent:
        """Where the rings of a local session lie: whole pages, which have memory only while it is taken."""
        first, *_, last = (self.extents[name] for name in self.session_rings(session))
        end = round_up(last.offset_bytes + last.size_bytes, PAGE_BYTES)
        return Extent(first.offset_bytes, end - first.offset_bytes)

    def capacity_bytes(self, ring: str) -> int:
        """The capacity of a ring, which is not to be read from where a process that attached can write."""
        return self.extents[ring].size_bytes - spsc.ring_bytes(0)

    @property
    def conductor_sender(self) -> int:
        """The conductor's number among the senders."""
        return self.workers


def plan_for(sizes: Config | Terms) -> Plan:
    """Reckon the regions that a configuration needs."""
    extents: dict[str, Extent] = {}
    reserved_bytes = _lay_out(extents, 0, _inner_sizes(sizes))
    end = _lay_out(extents, reserved_bytes, _local_sizes(sizes))
    text = repr([(name, extent.offset_bytes, extent.size_bytes) for name, extent in extents.items()])
    digest = hashlib.sha256(f"{header.LAYOUT_VERSION} {text}".encode()).digest()
    layout_hash = int.from_bytes(digest[:7], "big")
    return Plan(sizes.network_workers, sizes.local_sessions_max, extents, end, reserved_bytes, layout_hash)


def _inner_sizes(sizes: Config | Terms) -> dict[str, int]:
    """What always has memory."""
    workers = sizes.network_workers
    submit = spsc.ring_bytes(sizes.submit_ring_bytes)
    completions = spsc.ring_bytes(sizes.completion_ring_bytes)
    letters = spsc.ring_bytes(sizes.letter_ring_bytes)
    made = {
        "header": header.SIZE,
        "terms": terms.SIZE,
        "watermarks": watermarks.SIZE,
        "writer": commit.PAGE_SIZE,
        "gates": gates.SIZE,
        "roster": roster.SIZE * (FIRST_WORKER + workers),
        "bells": doorbell.SIZE * (BELL_FIRST_WORKER + workers),
        "topic_names": name_table.name_table_bytes(sizes.topics_max),
        "group_names": name_table.name_table_bytes(sizes.groups_max),
        "queues": queue_table.queue_table_bytes(sizes.queue_slots_max),
        "offsets": offset_table.offset_table_bytes(sizes.offset_rows_max),
        "local_sessions": local_sessions.HEAD_SIZE + local_sessions.ROW_SIZE * sizes.local_sessions_max,
    }
    for sender in range(workers + 1):
        made[f"submit/{sender}"] = submit
        made[f"completions/{sender}"] = completions
    for worker in range(workers):
        made[f"up/{worker}"] = letters
        made[f"down/{worker}"] = letters
    return made


def _local_sizes(sizes: Config | Terms) -> dict[str, int]:
    """What has memory while a session is taken."""
    made: dict[str, int] = {}
    for session in range(sizes.local_sessions_max):
        sender = sizes.network_workers + 1 + session
        made[f"submit/{sender}"] = spsc.ring_bytes(sizes.local_submit_ring_bytes)
        made[f"completions/{sender}"] = spsc.ring_bytes(sizes.local_completion_ring_bytes)
        made[f"local_up/{session}"] = spsc.ring_bytes(LOCAL_LETTER_RING_BYTES)
        made[f"local_down/{session}"] = spsc.ring_bytes(LOCAL_LETTER_RING_BYTES)
    return made


def _lay_out(extents: dict[str, Extent], begin: int, sizes: dict[str, int]) -> int:
    """Place regions behind each other, each on a page; return where the last one ends."""
    end = begin
    for name, size_bytes in sizes.items():
        extents[name] = Extent(end, size_bytes)
        end = round_up(end + size_bytes, PAGE_BYTES)
    return end
