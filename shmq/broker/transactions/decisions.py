"""Decisions on transactions, and the operations that write them down."""

from dataclasses import dataclass

from shmq.store.host import Host
from shmq.store.position import NONE
from shmq.store.record import NewRecord


@dataclass(slots=True, eq=False)
class Decision:
    """A transaction that is decided, until its operation is stored.

    Attributes:
        root: of the transaction.
        offsets: of its half messages that the operation must name.
        host: the broker's, for the record.
        is_closed: whether it is decided whatever becomes of the operation: not so for a rollback.
        expired_position: where the half message lies of one that had been given up.
        is_stored: whether the operation is.
    """

    root: int
    offsets: tuple[int, ...]
    host: Host
    is_closed: bool
    expired_position: int = NONE
    is_stored: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """An operation that is to be stored; it must be settled in the end."""

    slot: int
    record: NewRecord
    decisions: tuple[Decision, ...]
