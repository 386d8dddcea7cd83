"""Layout: the sessions of producers and consumers in other processes, and who may take or free one.

The head, on a page of its own:

    offset  size  field     meaning                                              written by
    ------  ----  --------  ---------------------------------------------------  -------------------------
         0     8  changes   counts every change of a row's state                 whoever holds the lock
       128     8  heeded    the `changes` up to which the writer has acted       writer
       256     8  metadata  counts every change of a topic or group              conductor
      4096

A row for each session, on a page of its own, which alone of all rows its owner can write to:

         0     8  state     FREE, TAKEN, ATTACHED, LEAVING, DRAINED              whoever holds the lock
         8     8  pid       the owner                                            its owner
        16     8  started   its start time in ticks since boot                   its owner
        24     8  epoch     how often the session was taken                      its owner
       128   128  bell      where the owner sleeps, always by futex              sleeper sets, waker clears
       256    64  label     what it is, for people                               its owner
      4096

The lock is flock() on the segment's file: it dies with its holder. A session's rings have no memory while it
is free. It goes round like this:

    FREE      nobody's; its rings are holes in the segment's file
    TAKEN     somebody is reserving the rings; dies he, the conductor goes on with DRAINED
    ATTACHED  the owner sends and receives; the writer polls its ring
    LEAVING   the owner has let go, or is dead: what it published is committed, nobody reads the answers
    DRAINED   nothing is left in the ring; once the writer has heeded that and polls it no more, the
              conductor gives the rings' memory back and makes the row FREE

The owner takes the row and lets it go; everything else is the conductor's. Killed anywhere, either leaves a
state from which the next look goes on. The writer learns of it all by one word, `changes`, so its round costs
the same with one session attached as with all of them free.
"""

import os
import time
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from shmq.memory.block import view
from shmq.memory.layout import layout, offset_of
from shmq.memory.words import load_word, store_word
from shmq.shared import roster

HEAD_LAYOUT: Final = layout(4096, changes=(0, "<i8"), heeded=(128, "<i8"), metadata=(256, "<i8"))
HEAD_SIZE: Final = HEAD_LAYOUT.itemsize
CHANGES: Final = offset_of(HEAD_LAYOUT, "changes")
HEEDED: Final = offset_of(HEAD_LAYOUT, "heeded")
METADATA: Final = offset_of(HEAD_LAYOUT, "metadata")

ROW_LAYOUT: Final = layout(
    4096,
    state=(0, "<i8"),
    pid=(8, "<i8"),
    started=(16, "<i8"),
    epoch=(24, "<i8"),
    bell=(128, "(16,)<i8"),
    label=(256, "S64"),
)
ROW_SIZE: Final = ROW_LAYOUT.itemsize
STATE: Final = offset_of(ROW_LAYOUT, "state")
PID: Final = offset_of(ROW_LAYOUT, "pid")
STARTED: Final = offset_of(ROW_LAYOUT, "started")
EPOCH: Final = offset_of(ROW_LAYOUT, "epoch")
BELL: Final = offset_of(ROW_LAYOUT, "bell")
LABEL: Final = offset_of(ROW_LAYOUT, "label")
LABEL_BYTES: Final = 64

FREE: Final = 0
TAKEN: Final = 1
ATTACHED: Final = 2
LEAVING: Final = 3
DRAINED: Final = 4

_POLLED: Final = (ATTACHED, LEAVING)


class LocalSessions:
    """The table, as everybody sees it who has the segment mapped.

    Attributes:
        count: how many sessions there can be.
    """

    def __init__(self, address: int, count: int) -> None:
        self._address = address
        self.count = count

    @property
    def changes(self) -> int:
        """Moves whenever a session changes its state."""
        return load_word(self._address + CHANGES)

    @property
    def changes_address(self) -> int:
        """Where that count lies, for kernels."""
        return self._address + CHANGES

    @property
    def heeded(self) -> int:
        """The changes that the writer has acted on."""
        return load_word(self._address + HEEDED)

    @property
    def metadata_address(self) -> int:
        """Where the count of changes of topics and groups lies."""
        return self._address + METADATA

    def heed(self, changes: int) -> None:
        """Let the conductor know up to where the writer has acted; the writer's alone."""
        store_word(self._address + HEEDED, changes)

    def note_metadata(self) -> None:
        """Let everybody look at topics and groups again; the conductor's alone."""
        store_word(self.metadata_address, load_word(self.metadata_address) + 1)

    def row(self, session: int) -> int:
        """The address of a session's row."""
        return self._address + HEAD_SIZE + ROW_SIZE * session

    def bell(self, session: int) -> int:
        """The address of the bell on which its owner sleeps."""
        return self.row(session) + BELL

    def state(self, session: int) -> int:
        """FREE, TAKEN, ATTACHED, LEAVING or DRAINED."""
        return load_word(self.row(session) + STATE)

    def epoch(self, session: int) -> int:
        """How often it was taken."""
        return load_word(self.row(session) + EPOCH)

    def is_owned(self, session: int) -> bool:
        """Whether the process that took it still runs."""
        row = self.row(session)
        return roster.is_alive(load_word(row + PID), load_word(row + STARTED))

    def set_label(self, session: int, what: str) -> None:
        """Say for people what is attached, where and since when."""
        text = f"{what} pid {os.getpid()} since {time.strftime('%H:%M:%S')}".encode()
        label = view(self.row(session) + LABEL, LABEL_BYTES)
        label[:] = np.frombuffer(text[:LABEL_BYTES].ljust(LABEL_BYTES, b"\0"), dtype=np.uint8)

    def change(self, session: int, state: int) -> None:
        """Move a session on; only with the lock held."""
        store_word(self.row(session) + STATE, state)
        store_word(self._address + CHANGES, self.changes + 1)

    def in_state(self, states: Iterable[int]) -> list[int]:
        """The sessions that are in one of these states."""
        wanted = frozenset(states)
        return [session for session in range(self.count) if self.state(session) in wanted]


class Polled:
    """The sessions that somebody of the broker's attends to, looked up again only when one has changed.

    Attributes:
        sessions: those whose rings may hold something, or whose owner may sleep.
    """

    def __init__(self, table: LocalSessions) -> None:
        self._table = table
        self._changes = -1
        self.sessions: list[int] = []

    @property
    def has_changed(self) -> bool:
        """Whether `refresh` would find other states than the last time."""
        return self._table.changes != self._changes

    def refresh(self) -> bool:
        """Look again if anything has changed; whether it had."""
        if not self.has_changed:
            return False
        self._changes = (
            self._table.changes
        )  # before the states are read: what changes later is seen next time
        self.sessions = self._table.in_state(_POLLED)
        return True

    @property
    def changes(self) -> int:
        """The count of changes that `sessions` is true for."""
        return self._changes


def tend(table: LocalSessions, is_drained: Callable[[int], bool], free: Callable[[int], None]) -> list[int]:
    """Move sessions on whose owner is gone; only with the lock held.

    Args:
        table: the sessions.
        is_drained: whether all that a session published is committed.
        free: gives the memory of its rings back.

    Returns:
        The sessions whose owner was found dead.
    """
    dead: list[int] = []
    heeded = table.heeded
    everything_heeded = heeded == table.changes
    for session in range(table.count):
        state = table.state(session)
        if state in {TAKEN, ATTACHED} and not table.is_owned(session):
            dead.append(session)
            table.change(session, LEAVING if state == ATTACHED else DRAINED)
        elif state == LEAVING and is_drained(session):
            table.change(session, DRAINED)
        elif state == DRAINED and everything_heeded:
            free(session)
            table.change(session, FREE)
    return dead
