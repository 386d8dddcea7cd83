"""The broker's one shared-memory segment, mapped: made by the supervisor, seen by every role.

A supervisor finds a leftover of its own name by its header: pid and start time of a process that is gone.
It removes that and makes a new one; one whose supervisor lives stops it with a clear error. Workers are
forked from the supervisor and inherit the mapping, so they need no name; colocated clients attach by name (see
`shmq/local/attach.py`), each to a session of its own.
"""

import grp
import os
import re
import time
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shmq.config.settings import Config
from shmq.errors import ConfigError, SharedMemoryError
from shmq.memory import region
from shmq.memory.region import Region
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell, spsc
from shmq.shared import header, roster
from shmq.shared.local_sessions import LocalSessions
from shmq.shared.plan import FIRST_WORKER, Plan, plan_for
from shmq.shared.terms import Terms, write_terms
from shmq.store import name_table, offset_table, queue_table
from shmq.store.name_table import NameTable
from shmq.store.offset_table import OffsetTable
from shmq.store.queue_table import QueueTable
from shmq.store.watermarks import Watermarks

PREFIX: Final = "/shmq-"
MAKING_SECONDS_MAX: Final = 30
"""Younger than this, a segment without an owner is one that its owner has not signed yet."""


class BrokerMemory:
    """The segment and what lies in it.

    Attributes:
        plan: the regions.
        address: where the segment begins in this process.
        watermarks, topic_names, group_names, queues, offsets: the tables.
        roster: a row for each process.
        sessions: of processes that attached.
    """

    def __init__(self, memory: Region, plan: Plan, is_sync_flush: bool) -> None:
        self._region = memory
        self.plan = plan
        self.address = memory.address
        self.watermarks = Watermarks(self.place("watermarks"), is_sync_flush)
        self.topic_names = NameTable(self.bytes_of("topic_names"))
        self.group_names = NameTable(self.bytes_of("group_names"))
        self.queues = QueueTable(self.bytes_of("queues"))
        self.offsets = OffsetTable(self.bytes_of("offsets"))
        at = plan.extents["roster"].offset_bytes
        self.roster = memory.records(at, FIRST_WORKER + plan.workers, roster.LAYOUT)
        self.sessions = LocalSessions(self.place("local_sessions"), plan.local_sessions)

    @property
    def name(self) -> str:
        """The segment's POSIX name; empty in tests."""
        return self._region.name

    def place(self, name: str) -> int:
        """The address of a region."""
        return self.address + self.plan.extents[name].offset_bytes

    def bytes_of(self, name: str) -> NDArray[np.uint8]:
        """A region as bytes."""
        extent = self.plan.extents[name]
        return self._region.bytes[extent.offset_bytes : extent.offset_bytes + extent.size_bytes]

    def bell(self, number: int) -> int:
        """The address of a doorbell."""
        return self.place("bells") + doorbell.SIZE * number

    def roster_row(self, number: int) -> int:
        """The address of a process's row."""
        return self.place("roster") + roster.SIZE * number

    @property
    def state_address(self) -> int:
        """Where the state lies, for kernels."""
        return self.place("header") + header.STATE

    def read(self, address: int, size_bytes: int) -> bytes:
        """Bytes of the segment, copied."""
        at = address - self.address
        return self._region.bytes[at : at + size_bytes].tobytes()

    def writable(self, address: int, size_bytes: int) -> memoryview:
        """Bytes of the segment, to be written in place."""
        at = address - self.address
        return self._region.bytes[at : at + size_bytes].data

    @property
    def state(self) -> int:
        """STARTING, RUNNING or STOPPING."""
        return load_word(self.place("header") + header.STATE)

    @state.setter
    def state(self, value: int) -> None:
        store_word(self.place("header") + header.STATE, value)

    @property
    def shutdown(self) -> int:
        """How far a graceful stop has come."""
        return load_word(self.place("header") + header.SHUTDOWN)

    @shutdown.setter
    def shutdown(self, value: int) -> None:
        store_word(self.place("header") + header.SHUTDOWN, value)

    def protect(self, offset_bytes: int, size_bytes: int) -> None:
        """Forbid this process to write to a range of whole pages: for those that attach."""
        self._region.make_read_only(offset_bytes, size_bytes)

    def renew_ring(self, name: str) -> None:
        """Make a ring empty again, when the process at one of its ends has been replaced.

        Only while neither end is at work: the caller sees to that.
        """
        ring = self.place(name)
        spsc.give_back(ring, spsc.produced_position(ring))


def segment_name(broker_name: str) -> str:
    """The POSIX name of a broker's segment."""
    return PREFIX + re.sub(r"[^A-Za-z0-9_.-]", "_", broker_name)


def create(config: Config, broker_epoch: int) -> BrokerMemory:
    """Make, reserve and fill the segment of a broker, removing a dead one of its name.

    Raises:
        SharedMemoryError: another supervisor of that name lives, or there is no room.
    """
    name = segment_name(config.broker_name)
    owner = owner_of(name)
    if owner is not None:
        if owner > 0:
            raise SharedMemoryError(
                f"a broker named {config.broker_name!r} runs already (supervisor pid {owner}); "
                "stop it, or start this one with another --broker-name"
            )
        region.unlink(name)
    plan = plan_for(config)
    group_id = _group_id(config.shared_memory_group)
    mode = 0o660 if group_id >= 0 else 0o600
    memory = region.create(name, plan.size_bytes, mode, group_id, plan.reserved_bytes)
    return _make_up(memory, plan, config, broker_epoch)


def create_unnamed(config: Config) -> BrokerMemory:
    """A segment without a name, for tests in one process and its forks."""
    plan = plan_for(config)
    return _make_up(region.anonymous(plan.size_bytes), plan, config, 1)


def owner_of(name: str) -> int | None:
    """The living supervisor's pid; 0 where the segment is a leftover; None where there is none.

    Raises:
        SharedMemoryError: it belongs to another user, or is being made just now.
    """
    try:
        state = Path(region.FOLDER, name.lstrip("/")).stat()
    except FileNotFoundError:
        return None
    pid = started = 0
    if state.st_size >= header.SIZE:
        head = region.attach(name).records(0, 1, header.LAYOUT)[0]
        pid, started = int(head["pid"]), int(head["started"])
    if pid == 0 and time.time() - state.st_mtime < MAKING_SECONDS_MAX:
        raise SharedMemoryError(f"the shared memory {name} is being made by another supervisor")
    return pid if roster.is_alive(pid, started) else 0


def leftovers() -> list[str]:
    """The names of this user's segments whose supervisor is gone."""
    found = sorted(Path(region.FOLDER).glob(PREFIX.lstrip("/") + "*"))
    ours = [path for path in found if path.stat().st_uid == os.geteuid()]
    return [name for path in ours if _is_leftover(name := "/" + path.name)]


def _is_leftover(name: str) -> bool:
    try:
        return owner_of(name) == 0
    except SharedMemoryError:
        return False


def _make_up(memory: Region, plan: Plan, config: Config, broker_epoch: int) -> BrokerMemory:
    head = memory.records(0, 1, header.LAYOUT)[0]
    head["pid"], head["started"] = roster.own_identity()
    head["layout_version"] = header.LAYOUT_VERSION
    head["layout_hash"] = plan.layout_hash
    head["size_bytes"] = plan.size_bytes
    head["broker_epoch"] = broker_epoch
    head["workers"] = plan.workers

    def part(name: str) -> NDArray[np.uint8]:
        extent = plan.extents[name]
        return memory.bytes[extent.offset_bytes : extent.offset_bytes + extent.size_bytes]

    name_table.format_name_table(part("topic_names"), config.topics_max)
    name_table.format_name_table(part("group_names"), config.groups_max)
    queue_table.format_queue_table(part("queues"), config.queue_slots_max)
    offset_table.format_offset_table(part("offsets"), config.offset_rows_max)
    write_terms(part("terms"), Terms.of(config))
    for name, extent in plan.extents.items():
        if "/" in name and extent.offset_bytes < plan.reserved_bytes:
            spsc.initialise(memory.address + extent.offset_bytes, plan.capacity_bytes(name))
    made = BrokerMemory(memory, plan, config.flush_disk_type == "SYNC_FLUSH")
    store_word(memory.address + header.MAGIC_AT, header.MAGIC)
    return made


def _group_id(group: str) -> int:
    if not group:
        return -1
    try:
        group_id = grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ConfigError(f"shared_memory_group: there is no unix group {group!r}") from error
    if group_id not in os.getgroups() and os.geteuid() != 0:
        raise ConfigError(f"shared_memory_group: this user is not in the group {group!r}")
    return group_id
