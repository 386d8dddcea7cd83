"""Findings of the walk over the log, from the rows that its kernel leaves."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from shmq.inspect import log_walk
from shmq.inspect.finding import Finding, FindingKind, Mending
from shmq.inspect.log_walk import Row
from shmq.inspect.queues import Queues


def describe(row: Row, path: Path, file_bytes: int, queues: Queues, mending: Mending) -> Finding:
    """What a row says.

    Args:
        row: any but NO_ENTRY.
        path: the file of the log that holds the record.
        file_bytes: the size of that.
        queues: the queues.
        mending: what recovery does.
    """
    if row.kind == log_walk.TIME_BACK:
        text = f"it was stored at {row.found}, before the one that precedes it, at {row.wanted}"
        return Finding(FindingKind.RECORD_TIME, str(path), row.position % file_bytes, row.position, text)
    entry_path, at = queues.place(row.slot, row.offset)
    name = f"queue offset {row.offset} of {queues.names[row.slot]}"
    kind = FindingKind.ENTRY_TAG
    text = f"{name} has the tag code {row.found}, its record {row.wanted}"
    if row.kind == log_walk.OTHER_RECORD:
        kind = FindingKind.ENTRY_RECORD
        text = f"{name} is said to be {row.wanted} bytes at {row.found}, its record is at {row.position}"
    return Finding(kind, str(entry_path), at, row.position, text, mending.mends(row.position))


class _Run(NamedTuple):
    """Neighbouring offsets of a queue, none of which has an entry, and where their first record lies."""

    slot: int
    first: int
    length: int
    position: int
    is_pending: bool


class MissingEntries:
    """Gathers records without entries: neighbours in their queue are one finding."""

    def __init__(self, queues: Queues, mending: Mending) -> None:
        self._queues = queues
        self._mending = mending
        self._runs: dict[int, _Run] = {}

    def add(self, row: Row) -> Iterator[Finding]:
        """Take a row of the kind NO_ENTRY; give what it does not continue."""
        is_pending = self._mending.mends(row.position)
        run = self._runs.get(row.slot)
        if run is not None and run.first + run.length == row.offset and run.is_pending == is_pending:
            self._runs[row.slot] = run._replace(length=run.length + 1)
            return
        if run is not None:
            yield self._describe(run)
        self._runs[row.slot] = _Run(row.slot, row.offset, 1, row.position, is_pending)

    def take_all(self) -> Iterator[Finding]:
        """Give what is left."""
        for run in sorted(self._runs.values(), key=lambda run: run.position):
            yield self._describe(run)
        self._runs.clear()

    def _describe(self, run: _Run) -> Finding:
        path, at = self._queues.place(run.slot, run.first)
        queue = self._queues.names[run.slot]
        text = f"queue offset {run.first} of {queue} has no entry"
        if run.length > 1:
            text = f"the {run.length} queue offsets from {run.first} on of {queue} have no entries"
        return Finding(FindingKind.ENTRY_MISSING, str(path), at, run.position, text, run.is_pending)
