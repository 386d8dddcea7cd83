"""The conductor's side of local sessions: their questions answered, and those whose owner is gone freed.

A process that attached asks the conductor what no table in shared memory says, by a pair of rings as network
workers do, but only ASK and ANSWERED (`workers/letters.py`). What comes from it is not believed: a letter that
cannot be is dropped, a question that cannot be is answered with an error.

It wakes the conductor by a futex, since no eventfd of ours is open in it. A thread sleeps there and passes the
knock on to the eventfd in the conductor's epoll. Killed with the conductor, nothing is lost: questions that
were not answered are asked again, and a successor finds each session in the state in which it was left.
"""

import os
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from shmq.memory.region import RegionFile
from shmq.ring import doorbell, spsc
from shmq.shared import plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.local_sessions import ATTACHED, FREE, Polled, tend
from shmq.workers.letters import Inbox, Kind, Outbox

LETTERS_PER_ROUND: Final = 16
TEND_MS: Final = 500
TEND_SOON_MS: Final = 5
TEND_SELDOM_MS: Final = 30_000
FULL_RING_WAIT_MS: Final = 20  # a stranger may read its answers late, or never
LISTEN_NS: Final = 60_000_000_000


class _Desk(NamedTuple):
    """One attached session's letters, in one life of it."""

    epoch: int
    inbox: Inbox
    outbox: Outbox


class LocalDesks:
    """All sessions, as the conductor attends to them."""

    def __init__(
        self, memory: BrokerMemory, bell_descriptor: int, answer: Callable[[bytes], bytes], log: Any
    ) -> None:
        """Take the eventfd that wakes the conductor, and what gives the answer to a question."""
        self._memory = memory
        self._table = memory.sessions
        self._bell = memory.bell(plan.BELL_LOCAL)
        self._bell_descriptor = bell_descriptor
        self._answer = answer
        self._log = log
        self._attached = Polled(memory.sessions)
        self._desks: dict[int, _Desk] = {}
        self._file: RegionFile | None = None
        self._tend_at_ms = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._listen, name="local-bell", daemon=True)

    def start(self) -> None:
        """Open the segment's file, for its lock, and listen for knocks."""
        if self._table.count and self._memory.name:
            self._file = RegionFile(self._memory.name)
            self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether `poll` would find no letter."""
        if self._attached.has_changed:
            return False
        return all(desk.inbox.is_empty for desk in self._desks.values())

    @property
    def is_anybody_attached(self) -> bool:
        """Whether a process has a session."""
        return bool(self._desks)

    def wait_ms(self, now_ms: int, timeout_ms: int) -> int:
        """How long the conductor may sleep, at most a time."""
        if self._file is None:
            return timeout_ms
        if any(desk.outbox.backlog for desk in self._desks.values()):
            timeout_ms = min(timeout_ms, FULL_RING_WAIT_MS)
        return max(0, min(timeout_ms, self._tend_at_ms - now_ms))

    def poll(self, now_ms: int) -> int:
        """Answer letters, see after those who are gone; return how many letters there were."""
        if self._attached.has_changed:
            self._attached.refresh()
            self._open_desks()
            self._tend_at_ms = now_ms
        read = 0
        for session, desk in self._desks.items():
            for letter in desk.inbox.letters(LETTERS_PER_ROUND):
                read += 1
                if letter.kind == Kind.ASK:
                    desk.outbox.post(Kind.ANSWERED, letter.tag, [self._answer(letter.payload)])
                else:
                    self._log.warning("a local session wrote no question", session=session, kind=letter.kind)
            desk.outbox.flush()
        if self._file is not None and now_ms >= self._tend_at_ms:
            self._tend_at_ms = now_ms + self._tend(self._file)
        return read

    def close(self) -> None:
        """End the thread, let go of the file."""
        if self._file is not None:
            self._is_closing = True
            doorbell.ring_bell(self._bell)
            self._thread.join()
            self._file.close()
            self._file = None

    def _open_desks(self) -> None:
        """Have a desk for each session that is attached; a new one for a new life."""
        sessions = [each for each in self._attached.sessions if self._table.state(each) == ATTACHED]
        kept = {each: desk for each in sessions if (desk := self._desks.get(each)) is not None}
        self._desks = {
            each: kept[each]
            if each in kept and kept[each].epoch == self._table.epoch(each)
            else self._desk(each)
            for each in sessions
        }

    def _desk(self, session: int) -> _Desk:
        memory, table = self._memory, self._table
        up, down = f"local_up/{session}", f"local_down/{session}"
        capacity_bytes = memory.plan.capacity_bytes(up)
        bell = table.bell(session)
        inbox = Inbox(memory.bytes_of(up), memory.place(up), capacity_bytes)
        outbox = Outbox(
            memory.bytes_of(down), memory.place(down), capacity_bytes, bell, ring=doorbell.ring_stranger
        )
        return _Desk(table.epoch(session), inbox, outbox)

    def _tend(self, file: RegionFile) -> int:
        """Free what is nobody's any more; return after how many ms to look again."""
        with file.locked() as is_held:
            if not is_held:
                return TEND_SOON_MS
            for session in tend(self._table, self._is_drained, self._free):
                self._log.warning("a local session's process is gone", session=session)
            if self._table.heeded != self._table.changes:
                # Before the writer has heeded that, nothing is freed.
                doorbell.ring_bell(self._memory.bell(plan.BELL_WRITER))
        free = len(self._table.in_state((FREE,)))
        if free == self._table.count:
            return TEND_SELDOM_MS  # whoever comes changes that, and is seen
        settled = free + len(self._table.in_state((ATTACHED,)))
        return TEND_MS if settled == self._table.count else TEND_SOON_MS

    def _is_drained(self, session: int) -> bool:
        sender = self._memory.plan.session_sender(session)
        return spsc.is_empty(self._memory.place(f"submit/{sender}"))

    def _free(self, session: int) -> None:
        assert self._file is not None
        extent = self._memory.plan.session_extent(session)
        self._file.give_back(extent.offset_bytes, extent.size_bytes)

    def _listen(self) -> None:
        """The thread: pass knocks on."""
        while True:
            doorbell.will_sleep(self._bell)
            if self._is_closing:  # looked at behind the announcement: its ring may have come before
                return
            os.eventfd_write(
                self._bell_descriptor, 1
            )  # from here on a knock is seen: have everything looked at
            doorbell.sleep(self._bell, LISTEN_NS)
