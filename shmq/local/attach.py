"""Find a running broker's shared memory by the broker's name, check it, and take a session in it.

Nothing is known of the broker but its name. What it is made of follows from the settings that its supervisor
left in the segment, and is compared with the layout's hash there, so a broker of another version is told apart
before anything else is read. All that a session has no business to write is made read-only in this process: a
stray store through a wrong address cannot reach the broker's tables or another producer's ring.

A session is taken under the lock on the segment's file. A process that dies with the lock loses it; one that
dies later leaves a row that the conductor finds (`shmq/shared/local_sessions.py`).
"""

import os
import time
from pathlib import Path
from typing import Final

from shmq.errors import (
    BrokerAbsentError,
    BrokerNotReadyError,
    LayoutMismatchError,
    NoRoomError,
    NotOursError,
    SharedMemoryError,
)
from shmq.local.waiting import locked_within, pause
from shmq.memory import region
from shmq.memory.region import Region, RegionFile
from shmq.memory.words import store_word
from shmq.ring import doorbell, spsc
from shmq.shared import header, local_sessions, plan, roster
from shmq.shared.broker_memory import BrokerMemory, segment_name
from shmq.shared.local_sessions import ATTACHED, DRAINED, FREE, TAKEN
from shmq.shared.plan import PAGE_BYTES, Plan, plan_for
from shmq.shared.terms import SIZE as TERMS_SIZE
from shmq.shared.terms import Terms, read_terms

LOCK_SECONDS: Final = 5.0
TAKE_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.01


class Attachment:
    """One session in one life of a broker.

    Attributes:
        terms: the broker's settings.
        memory: its segment.
        session: which session is ours.
        bell: where this process sleeps.
    """

    def __init__(self, broker: str, what: str) -> None:
        """Attach to the broker of that name.

        Raises:
            BrokerAbsentError: none runs on this host.
            BrokerNotReadyError: it is starting or stopping.
            LayoutMismatchError: it is of another version.
            NotOursError: it belongs to another user.
            NoRoomError: there is no session left, or no memory for one.
        """
        name = segment_name(broker)
        self._file = _open(name, broker)
        try:
            self.terms, self.memory = _map(self._file, name, broker)
            self._supervisor = _owner(self.memory)
            _check_state(self.memory, self._supervisor, broker)
            self.session = self._take(what)
            self._protect()
        except BaseException:
            self._file.close()
            raise
        self._pid = os.getpid()
        self.epoch = self.memory.sessions.epoch(self.session)
        self.bell = self.memory.sessions.bell(self.session)

    @property
    def is_running(self) -> bool:
        """Whether the broker serves, as far as its state says."""
        return self.memory.state == header.RUNNING

    @property
    def is_alive(self) -> bool:
        """Whether its supervisor still runs; asks the system."""
        return self.is_running and roster.is_alive(*self._supervisor)

    def capacity_bytes(self, ring: int) -> int:
        """The capacity of one of the session's rings: submit, completions, up, down."""
        return self.memory.plan.capacity_bytes(self.memory.plan.session_rings(self.session)[ring])

    def place(self, ring: int) -> int:
        """The address of one of the session's rings."""
        return self.memory.place(self.memory.plan.session_rings(self.session)[ring])

    def leave(self) -> None:
        """Let the session go; what was published is committed. In a fork of the owner it does nothing."""
        if self._file.descriptor < 0:
            return
        sessions = self.memory.sessions
        if os.getpid() == self._pid and self.is_running:
            with locked_within(self._file, LOCK_SECONDS) as is_held:
                ours = sessions.state(self.session) == ATTACHED and sessions.epoch(self.session) == self.epoch
                if is_held and ours:
                    sessions.change(self.session, local_sessions.LEAVING)
            doorbell.ring_bell(self.memory.bell(plan.BELL_WRITER))
            doorbell.ring_bell(self.memory.bell(plan.BELL_LOCAL))
        self._file.close()

    def _take(self, what: str) -> int:
        """Take a free session; where there is none, have those freed whose owner is dead."""
        sessions = self.memory.sessions
        deadline = time.monotonic() + TAKE_SECONDS
        while True:
            with locked_within(self._file, LOCK_SECONDS) as is_held:
                if not is_held:
                    raise NoRoomError("another process is taking a session and does not come to an end")
                free = sessions.in_state((FREE,))
                if free:
                    self._make_ours(free[0], what)
                    return free[0]
            waits = sessions.count > 0 and time.monotonic() < deadline and self._are_some_coming_free()
            if not waits:
                raise NoRoomError(
                    f"all {sessions.count} local sessions of the broker are taken; "
                    "raise its local_sessions_max, or close some"
                )
            doorbell.ring_bell(self.memory.bell(plan.BELL_LOCAL))
            pause(_RETRY_SECONDS)

    def _are_some_coming_free(self) -> bool:
        sessions = self.memory.sessions
        return any(
            sessions.state(each) not in {TAKEN, ATTACHED} or not sessions.is_owned(each)
            for each in range(sessions.count)
        )

    def _make_ours(self, session: int, what: str) -> None:
        """With the lock held: reserve the rings, make them up, be entered."""
        sessions, made = self.memory.sessions, self.memory.plan
        row = sessions.row(session)
        pid, started = roster.own_identity()
        store_word(row + local_sessions.STARTED, started)
        store_word(row + local_sessions.PID, pid)
        sessions.change(session, TAKEN)
        extent = made.session_extent(session)
        try:
            self._file.reserve(extent.offset_bytes, extent.size_bytes)
        except SharedMemoryError as error:
            sessions.change(session, DRAINED)
            raise NoRoomError(str(error)) from error
        for ring in made.session_rings(session):
            spsc.initialise(self.memory.place(ring), made.capacity_bytes(ring))
        bell = sessions.bell(session)
        for word in range(0, doorbell.SIZE, 8):
            store_word(bell + word, 0)
        doorbell.initialise(bell)
        sessions.set_label(session, what)
        store_word(row + local_sessions.EPOCH, sessions.epoch(session) + 1)
        sessions.change(session, ATTACHED)

    def _protect(self) -> None:
        """Leave writable what a session writes to: the bells, committed offsets, its row, its rings.

        The table's head stays writable too: it is the one word that leaving must move.
        """
        made = self.memory.plan
        sessions = self.memory.place("local_sessions") - self.memory.address
        row = self.memory.sessions.row(self.session) - self.memory.address
        rings = made.session_extent(self.session)
        open_parts = [
            (made.extents["bells"].offset_bytes, made.extents["bells"].size_bytes),
            (made.extents["offsets"].offset_bytes, made.extents["offsets"].size_bytes),
            (sessions, local_sessions.HEAD_SIZE),
            (row, local_sessions.ROW_SIZE),
            (rings.offset_bytes, rings.size_bytes),
        ]
        at = 0
        for offset_bytes, size_bytes in open_parts:
            if offset_bytes > at:
                self.memory.protect(at, offset_bytes - at)
            at = -(-(offset_bytes + size_bytes) // PAGE_BYTES) * PAGE_BYTES
        if made.size_bytes > at:
            self.memory.protect(at, made.size_bytes - at)


def _open(name: str, broker: str) -> RegionFile:
    path = Path(region.FOLDER + name)
    try:
        return RegionFile(name)
    except SharedMemoryError as error:
        if path.exists():
            raise NotOursError(
                f"the shared memory of the broker {broker!r} belongs to the user {path.stat().st_uid} "
                "and is not open to us; its setting shared_memory_group can open it to a group"
            ) from error
        raise BrokerAbsentError(
            f"no broker named {broker!r} runs on this host ({path} is not there)"
        ) from error


def _map(file: RegionFile, name: str, broker: str) -> tuple[Terms, BrokerMemory]:
    size_bytes = os.fstat(file.descriptor).st_size
    if size_bytes < header.SIZE + TERMS_SIZE:
        raise BrokerNotReadyError(f"the broker {broker!r} is just starting")
    mapped = Region(file.map(), name)
    head = mapped.records(0, 1, header.LAYOUT)[0]
    if int(head["magic"]) != header.MAGIC:
        raise BrokerNotReadyError(f"the broker {broker!r} is just starting")
    version = int(head["layout_version"])
    if version != header.LAYOUT_VERSION:
        raise LayoutMismatchError(
            f"the broker {broker!r} lays its shared memory out by version {version}, "
            f"this program by version {header.LAYOUT_VERSION}: use the same shmq for both"
        )
    terms = read_terms(mapped.bytes[header.SIZE : header.SIZE + TERMS_SIZE])
    made = plan_for(terms)
    _check_layout(broker, int(head["layout_hash"]), made, size_bytes)
    return terms, BrokerMemory(mapped, made, terms.is_sync_flush)


def _check_layout(broker: str, found: int, made: Plan, size_bytes: int) -> None:
    if found != made.layout_hash or size_bytes != made.size_bytes:
        raise LayoutMismatchError(
            f"the broker {broker!r} has the layout {found:014x} of {size_bytes} bytes, this program reckons "
            f"{made.layout_hash:014x} of {made.size_bytes}: use the same shmq for both"
        )


def _owner(memory: BrokerMemory) -> tuple[int, int]:
    head = memory.bytes_of("header").view(header.LAYOUT)[0]
    return int(head["pid"]), int(head["started"])


def _check_state(memory: BrokerMemory, supervisor: tuple[int, int], broker: str) -> None:
    if not roster.is_alive(*supervisor):
        raise BrokerAbsentError(
            f"no broker named {broker!r} runs on this host: its shared memory is a leftover of process {supervisor[0]}"
        )
    if memory.state == header.STARTING:
        raise BrokerNotReadyError(f"the broker {broker!r} is just starting")
    if memory.state != header.RUNNING:
        raise BrokerNotReadyError(f"the broker {broker!r} is stopping")
