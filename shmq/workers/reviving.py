"""Have popped messages that nobody acknowledged tried again in time, as `broker/pop/reviving.py` says.

Due flights are taken in batches, one on its way at a time. A flight is forgotten once its new record is known to be
stored, with the same commit that the conductor's round ends with; killed between the two, its successor writes the
message once more. So a message may come twice where the conductor dies within the few milliseconds between a record's
append and that commit; none is lost. What cannot be written now stays a flight, and is tried again a little later.
"""

from collections.abc import Callable
from typing import Any, Final

from shmq.broker.metadata import Metadata
from shmq.broker.outcome import Appended, PutStatus
from shmq.broker.pop.flights import Flight, FlightStoreError
from shmq.broker.pop.reviving import Revival, find_message, revive
from shmq.store.position import NONE
from shmq.store.record import size_of
from shmq.workers.appending import Appender

BATCH_COUNT_MAX: Final = 256
BATCH_BYTES_MAX: Final = 1 << 20
AGAIN_MS: Final = 1000
AGAIN_HOPELESS_MS: Final = 60_000
"""So long a message waits that cannot be written as it is: it may be another setting that helps."""
QUIET_MS: Final = 60_000


class Reviving:
    """The conductor's part in pops (a `shmq.workers.chores.Chore`)."""

    def __init__(self, state: Metadata, appender: Appender, clock_ms: Callable[[], int], log: Any) -> None:
        self._state = state
        self._appender = appender
        self._clock_ms = clock_ms
        self._log = log
        self._on_the_way = 0
        self._came_seen = -1
        self._is_done = True
        self._is_waiting = False
        self._is_stopped = False

    @property
    def is_roused(self) -> bool:
        """Whether flights came since the last look, or the batch is done after which there may be more."""
        if self._is_stopped or self._on_the_way:
            return False
        return not self._is_done or self._state.pops.came != self._came_seen

    @property
    def is_waiting(self) -> bool:
        """Whether any message is out: it will have to be tried again, whoever is there."""
        return self._is_waiting

    def look(self, now_ms: int) -> int:
        """Have tried again what is due; return after how many ms to look again, if nothing comes before."""
        if self._is_stopped or self._on_the_way:
            return QUIET_MS
        self._came_seen, self._is_done = self._state.pops.came, True
        try:
            self._revive_due(now_ms)
            next_ms = self._state.pops.store.next_due_ms()
        except FlightStoreError as error:
            self._log.error("popped messages cannot be tried again", reason=str(error))
            return AGAIN_MS
        self._is_waiting = next_ms is not None
        if self._on_the_way or next_ms is None:
            return QUIET_MS
        return min(max(next_ms - now_ms, 1), QUIET_MS)

    @property
    def needed(self) -> int:
        """Nothing of the log: a message that retention takes is gone, whoever has popped it."""
        return NONE

    def stop(self) -> None:
        """Begin nothing new."""
        self._is_stopped = True

    def close(self) -> None:
        """Let go of nothing: the store of flights is closed by its owner."""

    def _revive_due(self, now_ms: int) -> None:
        size_bytes = 0
        for flight in self._state.pops.store.due(now_ms, BATCH_COUNT_MAX):
            message = find_message(self._state, flight)
            if message is None:
                self._log.info("a popped message is gone", key=tuple(flight.key), offset=flight.offset)
                self._state.pops.remove(flight)
                continue
            revival = revive(self._state, flight, message, now_ms)
            if revival is None:
                self._log.error(
                    "a popped message cannot be written anew", key=tuple(flight.key), offset=flight.offset
                )
                self._state.pops.postpone(flight, now_ms + AGAIN_HOPELESS_MS)
                continue
            self._append(flight, revival)
            size_bytes += size_of(revival.record)
            if size_bytes > BATCH_BYTES_MAX:
                break

    def _append(self, flight: Flight, revival: Revival) -> None:
        def settle(appended: Appended) -> None:
            self._on_the_way -= 1
            self._is_done = False
            now_ms = self._clock_ms()
            try:
                if appended.status.is_stored:
                    self._state.pops.remove(flight)
                else:
                    is_hopeless = appended.status is PutStatus.MESSAGE_ILLEGAL
                    wait_ms = AGAIN_HOPELESS_MS if is_hopeless else AGAIN_MS
                    self._state.pops.postpone(flight, now_ms + wait_ms)
            except FlightStoreError as error:
                self._log.error("a popped message may come twice", offset=flight.offset, reason=str(error))

        self._on_the_way += 1
        self._appender.store(revival.slot, (revival.record,), settle, self._clock_ms())
