"""The rows of a batch while kernels fill them, and the names of all topics that a scan has met."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shmq.jit import Words
from shmq.memory.block import address_of
from shmq.store.log_scan import needed_queue
from shmq.store.name_table import NameTable, format_name_table, name_table_bytes
from shmq.store.position import NONE
from shmq.store.record_batch import RecordBatch
from shmq.store.record_rows import (
    LAST_TOPIC,
    NOTE_WORDS,
    REACHED,
    ROW_LAYOUT,
    ROWS,
    TAKEN_BYTES,
    Place,
)

_TOPICS_AT_FIRST: Final = 256


class Filling:
    """One batch after the other: a file is opened, a kernel fills rows, they are taken.

    Attributes:
        columns: those that the batches are asked for.
        start: the position of the open file's first byte.
    """

    def __init__(self, columns: tuple[str, ...], batch_messages: int, batch_bytes: int) -> None:
        self.columns = columns
        self.start = 0
        self._batch_messages = batch_messages
        self._batch_bytes = batch_bytes
        self._log: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)
        self._rows: NDArray[Any] | None = None
        self._note: Words = np.zeros(NOTE_WORDS, dtype=np.int64)
        self._note[LAST_TOPIC] = NONE
        self._names: list[str] = []
        self._table = _name_table(_TOPICS_AT_FIRST)

    @property
    def place(self) -> Place:
        """Where kernels find all of it; without an open file there is none of any size."""
        if self._rows is None:
            # No sooner: who has asked for the next batch has mostly dropped the last one, whose memory it gets.
            self._rows = np.empty(self._batch_messages, dtype=ROW_LAYOUT)
        return Place(
            file=address_of(self._log),
            start=self.start,
            file_bytes=len(self._log),
            topics=self._table.address,
            rows=address_of(self._rows),
            rows_max=self._batch_messages,
            bytes_max=self._batch_bytes,
            note=address_of(self._note),
        )

    @property
    def reached(self) -> int:
        """The position that a kernel came to, or begins at."""
        return int(self._note[REACHED])

    @reached.setter
    def reached(self, position: int) -> None:
        self._note[REACHED] = position

    def open(self, file: memoryview, start: int) -> None:
        """Read from this file of the log; the rows of another one have been taken."""
        assert self._note[ROWS] == 0, "a batch has one file"
        self._log = np.frombuffer(file, dtype=np.uint8)
        self.start = start

    def add_topic(self) -> None:
        """Give the topic of the record that a kernel came to an id."""
        name, _ = needed_queue(address_of(self._log) + self.reached - self.start)
        if self._table.count == self._table.capacity:
            larger = _name_table(2 * self._table.capacity)
            for topic_id in range(self._table.count):
                larger.add(self._table.name(topic_id))
            self._table = larger
        self._table.add(name)
        self._names.append(name.decode("utf-8", "replace"))

    def take(self) -> Iterator[RecordBatch]:
        """Give away the rows that there are, if any, and begin with new ones."""
        count = int(self._note[ROWS])
        if count == 0 or self._rows is None:
            return
        rows = self._rows[:count]
        if 2 * count > self._batch_messages:
            self._rows = None
        else:
            # A few rows must not hold the room of many. As bytes, for a copy of rows leaves out what lies between fields.
            rows = rows.view(np.uint8).copy().view(ROW_LAYOUT)
        self._note[ROWS] = self._note[TAKEN_BYTES] = 0
        yield RecordBatch(rows, self.columns, self._log, self.start, self._names)


def _name_table(capacity: int) -> NameTable:
    memory = np.zeros(name_table_bytes(capacity), dtype=np.uint8)
    format_name_table(memory, capacity)
    return NameTable(memory)
