"""What is kept of popped messages: a row for each until it is acknowledged or tried again, and a cursor for each queue.

A *flight* is one delivery of one message to one group. It says when it was popped and for how long it is hidden; both
are in the receipt that the client holds, so that a receipt of an earlier delivery means no flight. It says where the
record lies, so that no other message can be taken for it, whatever became of the queue meanwhile.

All of it lies in a store that keeps what is done between two `commit`s together: a cursor never passes a message that
has no flight, wherever the host stopped.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from shmq.errors import StoreError


class Key(NamedTuple):
    """A queue as a group pops it; a retry topic is a topic of its own."""

    group: str
    topic: str
    queue_id: int


class Cursor(NamedTuple):
    """How far a queue has been popped.

    Attributes:
        offset: of the next message that nobody has.
        told: what the table of committed offsets held when the cursor was moved.
    """

    offset: int
    told: int


class Delivery(NamedTuple):
    """A receipt, as a flight is found by it."""

    offset: int
    pop_ms: int
    invisible_ms: int


class Flight(NamedTuple):
    """One delivery of one message.

    Attributes:
        key: its queue.
        offset: its number in the queue.
        position: where its record lies in the log.
        pop_ms: when it was popped, or when its invisible time was last changed.
        invisible_ms: for how long it is hidden since then.
        visible_ms: when it is to be tried again.
        taker: which request took it.
    """

    key: Key
    offset: int
    position: int
    pop_ms: int
    invisible_ms: int
    visible_ms: int
    taker: int


class FlightStoreError(StoreError):
    """What was done since the last commit is undone: the disk is full, or the file cannot be used."""


class FlightStore(Protocol):
    """Where flights, cursors and orders are kept. Every method may raise a FlightStoreError."""

    def cursor(self, key: Key) -> Cursor | None:
        """Return a queue's cursor; None where it was never popped."""

    def set_cursor(self, key: Key, cursor: Cursor) -> None:
        """Move a queue's cursor."""

    def cursors(self) -> list[tuple[Key, Cursor]]:
        """Return all cursors."""

    def put(self, flights: Sequence[Flight]) -> None:
        """Keep flights of one queue, in the place of earlier ones of the same messages."""

    def flight(self, key: Key, offset: int) -> Flight | None:
        """Return a message's flight."""

    def remove(self, key: Key, delivery: Delivery) -> bool:
        """Forget a flight; False where there is none like this, or no longer."""

    def remove_from(self, key: Key, offset: int) -> None:
        """Forget all flights of a queue from an offset on."""

    def postpone(self, flight: Flight, visible_ms: int) -> None:
        """Have a flight tried again later, if it is still there; its receipt stays good."""

    def due(self, now_ms: int, count_max: int) -> list[Flight]:
        """Return flights that are to be tried again, those that waited longest first."""

    def next_due_ms(self) -> int | None:
        """Return when the next flight is to be tried again; None where there is none."""

    def count(self, key: Key) -> int:
        """Return how many flights of a queue there are."""

    def order(self, key: Key) -> bytes | None:
        """Return what is kept of a queue that is popped in order."""

    def set_order(self, key: Key, content: bytes) -> None:
        """Keep something of a queue that is popped in order."""

    def remove_order(self, key: Key) -> None:
        """Forget what is kept of a queue that is popped in order."""

    def forget(self, keys: Iterable[Key]) -> None:
        """Forget cursors, flights and orders of queues."""

    def commit(self) -> bool:
        """Make what was done last; return whether there was anything."""

    def roll_back(self) -> None:
        """Undo what was done since the last commit."""

    def sync(self) -> None:
        """Have all that was committed survive the loss of power."""

    def close(self) -> None:
        """End in good order."""
