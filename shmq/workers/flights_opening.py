"""Opens the file of popped messages, or, while that cannot be, tries again and again.

A disk that is full must not keep a broker from serving. Until the file is open, whoever pops or acknowledges is
refused with the reason, nothing is tried again, and everything else goes on.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from shmq.broker.pop.flights import Cursor, Delivery, Flight, FlightStoreError, Key
from shmq.broker.pop.pops import Pops
from shmq.store.position import NONE
from shmq.workers.flight_store import SqliteFlightStore

AGAIN_MS: Final = 1000
QUIET_MS: Final = 60_000


class UnopenedFlightStore:
    """A `shmq.broker.pop.flights.FlightStore` that has nothing and takes nothing."""

    def __init__(self, reason: FlightStoreError) -> None:
        self._reason = reason

    def cursors(self) -> list[tuple[Key, Cursor]]:
        """Know of none."""
        return []

    def due(self, _now_ms: int, _count_max: int) -> list[Flight]:
        """Know of none."""
        return []

    def next_due_ms(self) -> int | None:
        """Know of none."""
        return None

    def commit(self) -> bool:
        """Have nothing to make last."""
        return False

    def roll_back(self) -> None:
        """Have nothing to undo."""

    def sync(self) -> None:
        """Have nothing to sync."""

    def close(self) -> None:
        """Have nothing to close."""

    def cursor(self, _key: Key) -> Cursor | None:
        """Refuse, as all that follows."""
        raise self._reason

    def set_cursor(self, _key: Key, _cursor: Cursor) -> None:
        """Refuse."""
        raise self._reason

    def put(self, _flights: Sequence[Flight]) -> None:
        """Refuse."""
        raise self._reason

    def flight(self, _key: Key, _offset: int) -> Flight | None:
        """Refuse."""
        raise self._reason

    def remove(self, _key: Key, _delivery: Delivery) -> bool:
        """Refuse."""
        raise self._reason

    def remove_from(self, _key: Key, _offset: int) -> None:
        """Refuse."""
        raise self._reason

    def postpone(self, _flight: Flight, _visible_ms: int) -> None:
        """Refuse."""
        raise self._reason

    def count(self, _key: Key) -> int:
        """Refuse."""
        raise self._reason

    def order(self, _key: Key) -> bytes | None:
        """Refuse."""
        raise self._reason

    def set_order(self, _key: Key, _content: bytes) -> None:
        """Refuse."""
        raise self._reason

    def remove_order(self, _key: Key) -> None:
        """Refuse."""
        raise self._reason

    def forget(self, _keys: Iterable[Key]) -> None:
        """Refuse."""
        raise self._reason


class FlightsOpening:
    """The conductor's part in it (a `shmq.workers.chores.Chore`)."""

    def __init__(self, pops: Pops, path: Path, log: Any) -> None:
        self._pops = pops
        self._path = path
        self._log = log
        self._is_open = False

    def begin(self, *, is_table_new: bool) -> None:
        """Open the file, or note that it cannot be opened yet.

        Args:
            is_table_new: whether the committed offsets were just restored from their document.
        """
        try:
            self._open(is_table_new=is_table_new)
        except FlightStoreError as error:
            self._log.error("nothing can be popped for now", reason=str(error))
            self._pops.use(UnopenedFlightStore(error), is_table_new=False, was_closed=False)

    @property
    def is_roused(self) -> bool:
        """It is never: a disk tells nobody that it has room again."""
        return False

    @property
    def is_waiting(self) -> bool:
        """Nothing comes of it by itself."""
        return False

    @property
    def needed(self) -> int:
        """Nothing of the log."""
        return NONE

    def look(self, _now_ms: int) -> int:
        """Try again where the file is not open; return after how many ms to look again."""
        if self._is_open:
            return QUIET_MS
        try:
            # Whatever was committed since the start counts: a cursor of the file that differs gives way to it.
            self._open(is_table_new=False)
        except FlightStoreError:
            return AGAIN_MS
        self._log.info("messages can be popped again")
        return QUIET_MS

    def stop(self) -> None:
        """Begin nothing: the file stays as it is."""
        self._is_open = True

    def close(self) -> None:
        """Let go of nothing: the store of flights is closed by its owner."""

    def _open(self, *, is_table_new: bool) -> None:
        store = SqliteFlightStore(self._path)
        self._pops.use(store, is_table_new=is_table_new, was_closed=store.was_closed)
        self._is_open = True
