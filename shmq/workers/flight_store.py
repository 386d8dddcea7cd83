"""Flights, cursors and orders of popped messages, in one SQLite file of the conductor's.

    table    a row is                  key
    -------  ------------------------  ---------------------------------------------------------------
    queues   a queue as a group pops it  id; group, topic and queue number are unique
    flights  a delivery of a message     queue id and offset; an index orders them by when they are due
    meta     a word about the file       name

All that is done between two commits is one transaction in the write-ahead log, so that a cursor is never there without
the flights of what it has passed. A commit outlives every process; `sync`, which moves the write-ahead log into the
file, makes it outlive the host. What a loss of power takes is then the newest, of cursors and flights alike: those
messages are popped again. Nobody else opens the file while a broker runs, but for looking at it.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from shmq.broker.pop.flights import Cursor, Delivery, Flight, FlightStoreError, Key
from shmq.errors import StoreError

SCHEMA_VERSION: Final = 1

_MAGIC: Final = b"SQLite format 3\0"
_HEAD_BYTES: Final = 100
_VERSION_AT: Final = 60
"""Where SQLite keeps the version in a file's head, big-endian."""

_SCHEMA: Final = """
CREATE TABLE queues (
    id INTEGER PRIMARY KEY, consumer_group TEXT NOT NULL, topic TEXT NOT NULL, queue INTEGER NOT NULL,
    cursor INTEGER, told INTEGER, ordered BLOB, UNIQUE (consumer_group, topic, queue)
);
CREATE TABLE flights (
    queue_id INTEGER NOT NULL, offset INTEGER NOT NULL, position INTEGER NOT NULL, pop_ms INTEGER NOT NULL,
    invisible_ms INTEGER NOT NULL, visible_ms INTEGER NOT NULL, taker INTEGER NOT NULL,
    PRIMARY KEY (queue_id, offset)
) WITHOUT ROWID;
CREATE INDEX due ON flights (visible_ms);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('closed', 1);
"""
_AUTOCHECKPOINT_PAGES: Final = 4000  # `sync` comes earlier, unless very much is popped
_FLIGHT: Final = "consumer_group, topic, queue, offset, position, pop_ms, invisible_ms, visible_ms, taker"


def check_flights(path: Path) -> None:
    """Look whether the file may be one of ours, if there is one; nothing is changed, nor anything of SQLite's begun.

    Raises:
        StoreError: it is not; the message says what to do.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refusal(path, error) from error
    if not head:
        return  # the host went down as it was made
    if not head.startswith(_MAGIC) or len(head) < _HEAD_BYTES:
        raise _refusal(path, "it is no file of SQLite")
    version = int.from_bytes(head[_VERSION_AT : _VERSION_AT + 4], "big")
    if version not in (0, SCHEMA_VERSION):  # 0: what is in the write-ahead log may say more
        raise _refusal(path, f"it is of version {version}, and not of {SCHEMA_VERSION}")


class SqliteFlightStore:
    """A `shmq.broker.pop.flights.FlightStore`; for one thread.

    Attributes:
        was_closed: whether the conductor before this one came to its end in good order.
    """

    def __init__(self, path: Path | str) -> None:
        """Open the file, made where there is none.

        Raises:
            FlightStoreError: it cannot be used.
        """
        self._path = path
        self._ids: dict[Key, int] = {}
        self._is_unsynced = False
        try:
            self._database = _connect(path)
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from error
        try:
            (closed,) = self._execute("SELECT value FROM meta WHERE name = 'closed'").fetchone()
            self.was_closed = bool(closed)
            self._change("UPDATE meta SET value = 0 WHERE name = 'closed'")
            self.commit()
        except FlightStoreError:
            self.abandon()
            raise

    def close(self) -> None:
        """End in good order: all offsets that were told are saved."""
        self._change("UPDATE meta SET value = 1 WHERE name = 'closed'")
        self.commit()
        self.sync()
        self._database.close()

    def abandon(self) -> None:
        """End as a process does that is killed."""
        self._database.close()

    # Cursors.

    def cursor(self, key: Key) -> Cursor | None:
        """Return a queue's cursor; None where it was never popped."""
        found = self._execute(
            "SELECT cursor, told FROM queues WHERE consumer_group = ? AND topic = ? AND queue = ?", key
        ).fetchone()
        return None if found is None or found[0] is None else Cursor(*found)

    def set_cursor(self, key: Key, cursor: Cursor) -> None:
        """Move a queue's cursor."""
        self._change("UPDATE queues SET cursor = ?, told = ? WHERE id = ?", (*cursor, self._id(key)))

    def cursors(self) -> list[tuple[Key, Cursor]]:
        """Return all cursors."""
        rows = self._execute(
            "SELECT consumer_group, topic, queue, cursor, told FROM queues WHERE cursor IS NOT NULL"
        )
        return [(Key(*row[:3]), Cursor(*row[3:])) for row in rows]

    # Flights.

    def put(self, flights: Sequence[Flight]) -> None:
        """Keep flights of one queue, in the place of earlier ones of the same messages."""
        if not flights:
            return
        queue_id = self._id(flights[0].key)
        self._begin()
        try:
            self._database.executemany(
                "INSERT OR REPLACE INTO flights VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(queue_id, *flight[1:]) for flight in flights],
            )
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def flight(self, key: Key, offset: int) -> Flight | None:
        """Return a message's flight."""
        found = self._execute(
            "SELECT position, pop_ms, invisible_ms, visible_ms, taker FROM flights WHERE queue_id = ? AND offset = ?",
            (self._known_id(key), offset),
        ).fetchone()
        return None if found is None else Flight(key, offset, *found)

    def remove(self, key: Key, delivery: Delivery) -> bool:
        """Forget a flight; False where there is none like this, or no longer."""
        removed = self._change(
            "DELETE FROM flights WHERE queue_id = ? AND offset = ? AND pop_ms = ? AND invisible_ms = ?",
            (self._known_id(key), *delivery),
        )
        return removed > 0

    def remove_from(self, key: Key, offset: int) -> None:
        """Forget all flights of a queue from an offset on."""
        self._change("DELETE FROM flights WHERE queue_id = ? AND offset >= ?", (self._known_id(key), offset))

    def postpone(self, flight: Flight, visible_ms: int) -> None:
        """Have a flight tried again later, if it is still there; its receipt stays good."""
        self._change(
            "UPDATE flights SET visible_ms = ? WHERE queue_id = ? AND offset = ? AND pop_ms = ? AND invisible_ms = ?",
            (visible_ms, self._known_id(flight.key), flight.offset, flight.pop_ms, flight.invisible_ms),
        )

    def due(self, now_ms: int, count_max: int) -> list[Flight]:
        """Return flights that are to be tried again, those that waited longest first."""
        rows = self._execute(
            f"SELECT {_FLIGHT} FROM flights JOIN queues ON queues.id = queue_id"  # noqa: S608 - names of ours
            " WHERE visible_ms <= ? ORDER BY visible_ms LIMIT ?",
            (now_ms, count_max),
        )
        return [Flight(Key(*row[:3]), *row[3:]) for row in rows]

    def next_due_ms(self) -> int | None:
        """Return when the next flight is to be tried again; None where there is none."""
        (earliest_ms,) = self._execute("SELECT MIN(visible_ms) FROM flights").fetchone()
        return None if earliest_ms is None else int(earliest_ms)

    def count(self, key: Key) -> int:
        """Return how many flights of a queue there are."""
        (counted,) = self._execute(
            "SELECT COUNT(*) FROM flights WHERE queue_id = ?", (self._known_id(key),)
        ).fetchone()
        return int(counted)

    # Orders.

    def order(self, key: Key) -> bytes | None:
        """Return what is kept of a queue that is popped in order."""
        found = self._execute("SELECT ordered FROM queues WHERE id = ?", (self._known_id(key),)).fetchone()
        return None if found is None else found[0]

    def set_order(self, key: Key, content: bytes) -> None:
        """Keep something of a queue that is popped in order."""
        self._change("UPDATE queues SET ordered = ? WHERE id = ?", (content, self._id(key)))

    def remove_order(self, key: Key) -> None:
        """Forget what is kept of a queue that is popped in order."""
        self._change("UPDATE queues SET ordered = NULL WHERE id = ?", (self._known_id(key),))

    # All of it.

    def forget(self, keys: Iterable[Key]) -> None:
        """Forget cursors, flights and orders of queues."""
        for key in keys:
            queue_id = self._known_id(key)
            self._change("DELETE FROM flights WHERE queue_id = ?", (queue_id,))
            self._change("DELETE FROM queues WHERE id = ?", (queue_id,))
            self._ids.pop(key, None)

    def commit(self) -> bool:
        """Make what was done last; return whether there was anything."""
        if not self._database.in_transaction:
            return False
        self._execute("COMMIT")
        self._is_unsynced = True
        return True

    def roll_back(self) -> None:
        """Undo what was done since the last commit."""
        self._ids.clear()
        if self._database.in_transaction:
            self._execute("ROLLBACK")

    def sync(self) -> None:
        """Have all that was committed survive the loss of power."""
        if self._is_unsynced:
            self._execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._is_unsynced = False

    # How.

    def _id(self, key: Key) -> int:
        """The number of a queue, made where it has none."""
        found = self._known_id(key)
        if found is not None:
            return found
        self._change("INSERT INTO queues (consumer_group, topic, queue) VALUES (?, ?, ?)", key)
        made = self._known_id(key)
        assert made is not None, "it was just made"
        return made

    def _known_id(self, key: Key) -> int | None:
        found = self._ids.get(key)
        if found is None:
            row = self._execute(
                "SELECT id FROM queues WHERE consumer_group = ? AND topic = ? AND queue = ?", key
            ).fetchone()
            if row is not None:
                found = self._ids[key] = int(row[0])
        return found

    def _begin(self) -> None:
        if not self._database.in_transaction:
            self._execute("BEGIN IMMEDIATE")

    def _change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Change rows within the transaction; return how many."""
        self._begin()
        return self._execute(statement, values).rowcount

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> FlightStoreError:
        return FlightStoreError(f"the popped messages in {self._path} cannot be kept: {error}")


def _connect(path: Path | str) -> sqlite3.Connection:
    """Open the file, made where there is none."""
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in (
            "journal_mode = WAL",
            "synchronous = NORMAL",
            f"wal_autocheckpoint = {_AUTOCHECKPOINT_PAGES}",
        ):
            database.execute(f"PRAGMA {pragma}").close()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            database.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
        _check_version(database)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _check_version(database: sqlite3.Connection) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"it is of version {version}, and not of {SCHEMA_VERSION}")


def _refusal(path: Path, reason: object) -> StoreError:
    return StoreError(
        f"the popped messages in {path} cannot be read: {reason}. Put back a copy; where the file is moved away, what was "
        "popped and not acknowledged does not come again"
    )
