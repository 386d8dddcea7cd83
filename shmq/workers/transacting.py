"""Transactions, as the conductor looks after them: recovery at its start, operations, rounds.

Recovery waits for nobody but the writer and the dispatcher: what a dead conductor had submitted must be in the log
and in the queues before they tell the whole truth. Requests to end a transaction wait for it; no other request does.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from shmq.broker.metadata import Metadata
from shmq.broker.outcome import Appended
from shmq.broker.transactions.decisions import Operation
from shmq.broker.transactions.recovery import TransactionRecovery
from shmq.broker.transactions.rounds import Batch
from shmq.broker.transactions.table import RETRY_MS, SETTLE_MS
from shmq.errors import StoreError
from shmq.store.position import NONE
from shmq.store.store_files import StoreSizes
from shmq.workers.appending import Appender
from shmq.workers.predecessor import Predecessor

RECOVER_MS: Final = 5
SCAN_MESSAGES: Final = 4096  # at a time, so that the conductor comes to other things
COMMIT_MS: Final = 500
QUIET_MS: Final = 60_000


class Marks(Protocol):
    """What must be known of the log: both of `store/watermarks.py`."""

    @property
    def flushed(self) -> int:
        """The end of what is on disk."""

    @property
    def trimmed(self) -> int:
        """The beginning of the log."""


class Transacting:
    """The chore (see `workers/chores.py`)."""

    def __init__(
        self,
        state: Metadata,
        appender: Appender,
        predecessor: Predecessor,
        marks: Marks,
        clock_ms: Callable[[], int],
        log: Any,
    ) -> None:
        self._state = state
        self._table = state.transactions
        self._rounds = state.rounds
        self._appender = appender
        self._predecessor = predecessor
        self._marks = marks
        self._clock_ms = clock_ms
        self._log = log
        self._recovery: TransactionRecovery | None = None
        self._finals: Iterator[list[tuple[int, int]]] | None = None
        self._is_quiet = False
        self._is_stopped = False
        self._round_due_ms = 0
        self._settle_due_ms = 0

    @property
    def is_roused(self) -> bool:
        """Whether a decision is to be written down, or half messages have come since there were none."""
        if not self._table.is_ready:
            return False
        if self._table.has_operation:
            return True
        if self._is_stopped:
            return False
        return self._rounds.can_go_on or (self._is_quiet and self._rounds.is_anything_open)

    @property
    def is_waiting(self) -> bool:
        """Whether any transaction is open."""
        return self._rounds.is_anything_open or not self._table.is_settled

    def look(self, now_ms: int) -> int:
        """Do what is due; return after how many ms to look again, if nothing rouses it before."""
        if not self._table.is_ready and not self._recover():
            return RECOVER_MS
        self._write_operation(now_ms)
        if now_ms >= self._settle_due_ms:
            self._table.settle()
            self._table.forget_expired(self._marks.trimmed)
            self._settle_due_ms = now_ms + SETTLE_MS
        next_ms = QUIET_MS if self._table.settled == NONE else self._settle_due_ms - now_ms
        if not self._table.commit_offsets(self._marks.flushed):
            next_ms = min(next_ms, COMMIT_MS)
        if self._table.is_resting:
            next_ms = min(next_ms, RETRY_MS)
        return min(next_ms, self._go_round(now_ms))

    def stop(self) -> None:
        """Begin no more rounds; decisions that are made are written down."""
        self._is_stopped = True
        self._table.settle()

    @property
    def needed(self) -> int:
        """No position of the log: what is open for long is written anew, round by round."""
        return NONE

    def close(self) -> None:
        """There is nothing to let go of."""

    # Recovery.

    def _recover(self) -> bool:
        """Go on with recovery; return whether it is done."""
        if self._finals is not None:
            return self._take_finals(self._finals)
        if self._recovery is None:
            if not self._predecessor.is_settled:
                return False
            state = self._state
            tables = state.tables
            self._recovery = TransactionRecovery(self._table, tables.queues, state.offsets, state.reader)
        if not self._recovery.read_some():
            return False
        if self._table.settled == NONE:
            self._table.get_ready()
            return True
        sizes = StoreSizes.of(self._state.settings)
        self._finals = self._predecessor.finals(self._table.settled, sizes)
        return False

    def _take_finals(self, finals: Iterator[list[tuple[int, int]]]) -> bool:
        """Look at some more final records; return whether that were all."""
        assert self._recovery is not None, "the queues are read first"
        try:
            found = next(finals, None)
        except StoreError as error:
            self._log.error("final records cannot be looked for", reason=str(error))
            found = None
        if found is None:
            self._table.get_ready()
            return True
        for position, half_position in found:
            self._recovery.take_final(position, half_position)
        return False

    # Operations.

    def _write_operation(self, now_ms: int) -> None:
        operation = self._table.next_operation(now_ms)
        if operation is None:
            return
        due: Operation = operation

        def settle(appended: Appended) -> None:
            self._table.settle_operation(due, appended, self._clock_ms())
            if self._is_stopped:
                self._table.settle()

        self._appender.store(due.slot, (due.record,), settle, now_ms)

    # Rounds.

    def _go_round(self, now_ms: int) -> int:
        """Begin a round if one is due, go on with one that is under way; return after how many ms to look again."""
        if self._is_stopped:
            return QUIET_MS
        if self._rounds.is_over and now_ms >= self._round_due_ms:
            self._round_due_ms = now_ms + self._state.settings.transaction_check_interval_ms
            self._rounds.begin(now_ms)
        batch = self._rounds.next_batch(now_ms)
        if batch is not None:
            self._store(batch, now_ms)
        self._is_quiet = self._rounds.is_over and not self._rounds.is_anything_open
        if self._is_quiet:
            return QUIET_MS
        return RETRY_MS if self._rounds.is_resting else max(self._round_due_ms - now_ms, 1)

    def _store(self, batch: Batch, now_ms: int) -> None:
        def settle(appended: Appended) -> None:
            self._rounds.settle(batch, appended, self._clock_ms())

        self._appender.store(batch.slot, batch.records, settle, now_ms)
