"""Transactions: which half messages are open, and how each is decided once.

A transaction is open or closed. It is known by its root (`half_messages.py`), and what is kept of it is little:

    open    its root is at or behind `half_offset` and not among the `decided`; or it has a copy in `copies`
    closed  otherwise: committed, rolled back, or asked for too often

`half_offset` moves over the half queue in rounds (`rounds.py`): what is open there gets a copy at the
queue's end or is given up, so it never waits for anybody. Both it and `operation_offset`, from where on operations
name what lies behind it, are committed as offsets of RocketMQ's group, and from them everything here is found again
in the two queues (`recovery.py`).

The first decision stands, whatever comes later or again:

- While anything is under way for a transaction (its final record, its operation, a copy) whoever else wants something
  of it waits until that is over.
- A commit is its final record; the operation that follows only says so to who reads the queues. A conductor that
  dies in between leaves a final record without operation. All of these lie behind `settled`, a position of the log
  that is noted on disk before the first of them is stored; a successor looks there, when what its predecessor had
  submitted has come through (`recovery.py`). While that note cannot be written, commits wait.
- A rollback is its operation: before that is stored nothing is decided.
- One that was given up may be decided later all the same: `expired` remembers which those are.

Nothing here may run ahead of the disk: offsets are committed only when the log up to where they were reached is
flushed, or a power cut could take the copies and leave the offset that passed over their originals.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from shmq.broker.documents import reading
from shmq.broker.effects import DocumentName, Effect, Persist
from shmq.broker.names import TRANSACTION_GROUP
from shmq.broker.offsets import Offsets
from shmq.broker.outcome import Appended
from shmq.broker.transactions.decisions import Decision, Operation
from shmq.broker.transactions.half_messages import operation
from shmq.store.host import Host
from shmq.store.position import NONE
from shmq.wire.members import as_integer, as_object, integer_of, object_of

RETRY_MS: Final = 1000  # how long is waited after an append has failed
SETTLE_MS: Final = 5000  # how often the position behind which final records may lack their operation moves on
OPERATION_BYTES_MAX: Final = 4096  # as RocketMQ's transactionOpMsgMaxSize
EXPIRED_MAX: Final = 65_536


Wake = Callable[[], None]
_SETTLED: Final = "settledPosition"
_EXPIRED: Final = "expired"


class Places(NamedTuple):
    """The queues of transactions, by their slots."""

    half_slot: int
    operation_slot: int


@dataclass(slots=True)
class _Named:
    """An operation that was stored: its queue offset, and the greatest offset that it names."""

    queue_offset: int
    greatest: int


@dataclass(slots=True)
class _UnderWay:
    """What is under way for a transaction: where the log ended when it began, and who waits for its end."""

    since: int
    waiters: list[Wake] = field(default_factory=list)


class Transactions:
    """All transactions that are open.

    Attributes:
        half_offset: of the half queue: what lies before is closed, or has a copy.
        operation_offset: of the operation queue: what lies before names nothing at or behind `half_offset`.
        decided: offsets at or behind `half_offset` that are closed, copies of closed ones included.
        copies: the newest copy of each open transaction that has any, by its root.
        expired: where the half message lies of each that was given up, by its root.
        settled: the position behind which a final record may lack its operation; NONE: nowhere.
        is_ready: whether all of this is known.
        is_noted: whether `transactions.json` says on disk all that a successor must know.
        is_resting: whether operations wait after an append that failed.
    """

    def __init__(
        self, places: Places, offsets: Offsets, effects: list[Effect], log_end: Callable[[], int]
    ) -> None:
        """Know nothing yet.

        Args:
            places: the queues.
            offsets: where those of the two queues are committed.
            effects: what is to be done.
            log_end: tells a position that no record which is submitted from then on lies below.
        """
        self.places = places
        self.half_offset = 0
        self.operation_offset = 0
        self.decided: set[int] = set()
        self.copies: dict[int, int] = {}
        self.expired: dict[int, int] = {}
        self.settled = NONE
        self.is_ready = False
        self.is_noted = True
        self._offsets = offsets
        self._effects = effects
        self._log_end = log_end
        self._under_way: dict[int, _UnderWay] = {}
        self._waiting: list[Wake] = []  # until all is known
        self._unnoted: list[Wake] = []  # until it is noted
        self._pending: deque[Decision] = deque()
        self._operation: Operation | None = None
        self._resume_ms = 0
        self.is_resting = False
        self._named: deque[_Named] = deque()
        self._uncommitted: tuple[int, int, int] | None = None  # half offset, operation offset, end of the log

    # The document.

    def load(self, document: Any) -> None:
        """Take what `transactions.json` holds.

        Raises:
            StoreError: the document is not what it must be.
        """
        if document is None:
            return
        with reading(DocumentName.TRANSACTIONS):
            read = as_object(document, "the document")
            self.settled = integer_of(read, _SETTLED)
            for root, position in object_of(read, _EXPIRED).items():
                self.expired[int(root)] = as_integer(position, _EXPIRED)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `transactions.json`."""
        return {_SETTLED: self.settled, _EXPIRED: {str(root): at for root, at in self.expired.items()}}

    # What is open.

    def is_open(self, root: int) -> bool:
        """Whether a transaction is open."""
        return root in self.copies or (root >= self.half_offset and root not in self.decided)

    def may_be_decided(self, root: int) -> bool:
        """Whether a decision still counts: it is open, or was given up."""
        return self.is_open(root) or root in self.expired

    def is_live(self, root: int, offset: int) -> bool:
        """Whether the half message or copy at an offset stands for an open transaction."""
        copy = self.copies.get(root)
        return offset == copy if copy is not None else offset == root and self.is_open(root)

    def is_under_way(self, root: int) -> bool:
        """Whether something is under way for a transaction."""
        return root in self._under_way

    def when_ready(self, wake: Wake) -> None:
        """Call it once all is known."""
        self._waiting.append(wake)

    def when_free(self, root: int, wake: Wake) -> None:
        """Call it once nothing is under way for a transaction; something is."""
        self._under_way[root].waiters.append(wake)

    def get_ready(self) -> None:
        """Note that all is known."""
        self.is_ready = True
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    # What a successor must know.

    def when_noted(self, wake: Wake) -> None:
        """Call it once the document says on disk all that a successor must know; at once where it does."""
        if self.is_noted:
            wake()
        else:
            self._unnoted.append(wake)

    def note_saved(self) -> None:
        """Note that the document is on disk as it would be rendered now."""
        self.is_noted = True
        waiting, self._unnoted = self._unnoted, []
        for wake in waiting:
            wake()

    def _note(self) -> None:
        self.is_noted = False
        self._effects.append(Persist(DocumentName.TRANSACTIONS))

    # What is under way.

    def begin(self, root: int) -> None:
        """Note that something is under way for a transaction: a copy, or a decision that is not made yet."""
        assert root not in self._under_way, "one thing at a time"
        self._under_way[root] = _UnderWay(self._log_end())

    def begin_commit(self, root: int) -> None:
        """As begin; a final record is to be submitted when that is noted, so that a successor finds it."""
        self.begin(root)
        if self.settled == NONE:
            self.settled = self._under_way[root].since
            self._note()

    def begin_again(self, root: int) -> None:
        """As begin, of a commit that a predecessor has begun: until it is over, `settled` stays where it is."""
        self.begin(root)
        self._under_way[root].since = self.settled

    def end(self, root: int) -> None:
        """Note that it is over, whatever came of it."""
        for wake in self._under_way.pop(root).waiters:
            wake()

    # Deciding.

    def close(self, root: int, offset: int, host: Host) -> None:
        """Note a decision that is made: a final record is stored. Its operation follows, and ends what is under way.

        Args:
            root: of the transaction, for which this is under way.
            offset: of the half message that was decided.
            host: the broker's.
        """
        decision = Decision(root, self._offsets_of(root, offset), host, is_closed=True)
        self._close(decision)
        self._forget_expired(root)
        self._pending.append(decision)

    def close_expired(self, root: int, offset: int, host: Host) -> None:
        """As close, of one that was given up: its expired record is stored."""
        decision = Decision(root, self._offsets_of(root, offset), host, is_closed=True)
        self._close(decision)
        self._pending.append(decision)

    def roll_back(self, root: int, offset: int, host: Host) -> Decision:
        """Have an operation stored that rolls back; when it is over the decision tells whether it was.

        One that had been given up is forgotten first, so that no crash can leave it to be committed.
        """
        position = self.expired.get(root, NONE)
        self._forget_expired(root)
        offsets = self._offsets_of(root, offset)
        decision = Decision(root, offsets, host, is_closed=False, expired_position=position)
        self._pending.append(decision)
        return decision

    def reopen(self, root: int, copy: int) -> None:
        """Note that a copy was stored, which stands for the transaction from now on."""
        self.copies[root] = copy
        self._forget_expired(root)

    def give_up(self, root: int, position: int) -> None:
        """Remember where the half message lies of a transaction that is about to expire."""
        while len(self.expired) >= EXPIRED_MAX:
            del self.expired[next(iter(self.expired))]
        self.expired[root] = position
        self._note()

    @property
    def has_operation(self) -> bool:
        """Whether an operation is to be stored at once."""
        return self._operation is None and bool(self._pending) and not self.is_resting and self.is_noted

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way and not self._pending and self._operation is None

    def next_operation(self, now_ms: int) -> Operation | None:
        """Return an operation that is to be stored now; all that wait go into one, as far as they fit."""
        if self._operation is not None or not self._pending or now_ms < self._resume_ms or not self.is_noted:
            return None
        self.is_resting = False
        offsets: list[int] = []
        decisions: list[Decision] = []
        size_bytes = 0
        while self._pending and size_bytes < OPERATION_BYTES_MAX:
            decision = self._pending.popleft()
            decisions.append(decision)
            offsets += decision.offsets
            size_bytes += sum(len(str(offset)) + 1 for offset in decision.offsets)
        record = operation(offsets, decisions[0].host, now_ms)
        self._operation = Operation(self.places.operation_slot, record, tuple(decisions))
        return self._operation

    def settle_operation(self, stored: Operation, appended: Appended, now_ms: int) -> None:
        """Note how the append of an operation ended."""
        assert stored is self._operation, "there is one at a time"
        self._operation = None
        is_stored = appended.status.is_stored
        if is_stored:
            greatest = max(max(decision.offsets) for decision in stored.decisions)
            self.note_operation(appended.queue_offset, greatest)
        else:
            self._resume_ms = now_ms + RETRY_MS
            self.is_resting = True
        for decision in reversed(stored.decisions):
            decision.is_stored = is_stored
            if not is_stored and decision.is_closed:
                self._pending.appendleft(decision)
        for decision in stored.decisions:
            if is_stored and not decision.is_closed:
                self._close(decision)
            elif decision.expired_position != NONE:
                self.give_up(decision.root, decision.expired_position)
            if is_stored or not decision.is_closed:
                self.end(decision.root)

    def note_operation(self, queue_offset: int, greatest: int) -> None:
        """Note that an operation lies in its queue, and the greatest offset that it names."""
        if greatest >= self.half_offset:
            self._named.append(_Named(queue_offset, greatest))
        elif not self._named:
            self.operation_offset = queue_offset + 1

    # Moving on.

    def move(self, half_offset: int) -> None:
        """Note that every half message before an offset is closed, or has a copy."""
        if half_offset - self.half_offset > len(self.decided):
            self.decided = {offset for offset in self.decided if offset >= half_offset}
        else:
            self.decided.difference_update(range(self.half_offset, half_offset))
        self.half_offset = half_offset
        while self._named and self._named[0].greatest < half_offset:
            self.operation_offset = self._named.popleft().queue_offset + 1
        self._uncommitted = half_offset, self.operation_offset, self._log_end()

    def commit_offsets(self, flushed: int) -> bool:
        """Commit the offsets if the log is on disk up to where they were reached; return whether they are."""
        if self._uncommitted is None:
            return True
        half_offset, operation_offset, end = self._uncommitted
        if flushed < end:
            return False
        self._offsets.commit(TRANSACTION_GROUP, self.places.half_slot, half_offset)
        self._offsets.commit(TRANSACTION_GROUP, self.places.operation_slot, operation_offset)
        self._uncommitted = None
        return True

    def settle(self) -> None:
        """Move the position on behind which final records may lack their operation."""
        if self.settled == NONE:
            return
        since = min((each.since for each in self._under_way.values()), default=NONE)
        if since != self.settled:
            self.settled = since
            self._effects.append(Persist(DocumentName.TRANSACTIONS))

    def forget_expired(self, trimmed: int) -> None:
        """Forget those whose half message is gone: nothing can become of them."""
        gone = [root for root, position in self.expired.items() if position < trimmed]
        for root in gone:
            del self.expired[root]
        if gone:
            self._effects.append(Persist(DocumentName.TRANSACTIONS))

    def _offsets_of(self, root: int, offset: int) -> tuple[int, ...]:
        return tuple(sorted({root, offset, self.copies.get(root, offset)}))

    def _close(self, decision: Decision) -> None:
        """Close the transaction of a decision that is made."""
        self.mark_decided(decision.offsets)
        self.copies.pop(decision.root, None)

    def _forget_expired(self, root: int) -> None:
        if self.expired.pop(root, None) is not None:
            self._note()

    def mark_decided(self, offsets: Iterable[int]) -> None:
        """Note that half messages are closed."""
        self.decided.update(offset for offset in offsets if offset >= self.half_offset)
