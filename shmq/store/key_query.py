"""Messages found by a key of theirs: the files of the key index, newest first, and the records that they name.

The files are listed at each query, and the newest stay mapped; one that is gone, or has given its name to another, is
let go of, as are those whose messages are all gone. What lies beside them and is not of their shape is passed over.

An entry knows a hash and whole seconds. Whether its record is still there, whole, and was stored in the time that is
asked for, the record itself says. That it has this key and no other with the same hash, it is not asked: RocketMQ
leaves that to the client, which compares.

Nothing is written here, so a crash leaves nothing. For one thread.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from shmq.errors import StoreError
from shmq.jit import entry
from shmq.memory.block import address_of
from shmq.memory.endian import load_i32, load_i64
from shmq.memory.pages import bring_in_singly
from shmq.store import record
from shmq.store.key_index import (
    BEGIN_TIMESTAMP,
    COUNT,
    END_POSITION,
    END_TIMESTAMP,
    FIRST_NUMBER,
    STEPS_MAX,
    Wanted,
    key_hash_of,
    select,
)
from shmq.store.key_shape import KeyIndexShape
from shmq.store.log import LogReader
from shmq.store.position import NONE
from shmq.store.properties import java_hash
from shmq.store.search import message_at
from shmq.store.segment import Segment

_MAPPINGS_MAX: Final = 32
_CANDIDATES: Final = 64
_GROWTH: Final = 8
"""A key with many records has many in one second: while those come after the time asked for, so much more is read."""


class KeyQuery(NamedTuple):
    """What is looked for.

    Attributes:
        topic: the messages' topic.
        key: one of their keys, or their unique id.
        count_max: so many of them at most, the newest.
        bytes_max: so many bytes of them at most; a first message is given whatever its size.
        begin_ms: the earliest store time, included.
        end_ms: the latest store time, included.
    """

    topic: str
    key: str
    count_max: int
    bytes_max: int
    begin_ms: int
    end_ms: int


class KeyAnswer(NamedTuple):
    """What was found, and how far the index has come.

    Attributes:
        messages: their records, in the order of the log.
        end_timestamp_ms: the store time of the last record in the newest file; 0 without a file.
        end_position: where that record lies.
    """

    messages: tuple[memoryview, ...]
    end_timestamp_ms: int
    end_position: int


@entry
def hash_of_key(text: int, size_bytes: int) -> int:
    """The hash that stands in the files for `topic#key`, given in UTF-8."""
    return key_hash_of(java_hash(text, size_bytes))


class KeyIndexReader:
    """Read-only mappings of the index files, made when needed, and the log behind them."""

    def __init__(self, directory: Path, shape: KeyIndexShape, log: LogReader) -> None:
        """Open no file yet.

        Args:
            directory: where the files are.
            shape: what every file has.
            log: the log.
        """
        self._directory = directory
        self._shape = shape
        self._log = log
        self._segments: dict[_Name, Segment] = {}

    def find(self, query: KeyQuery, log_begin: int, log_end: int) -> KeyAnswer:
        """The newest messages of a key that lie in the log between two positions."""
        wanted = Wanted(_hash_of(query.topic, query.key), query.begin_ms, query.end_ms)
        gathering = _Gathering(self._log, query, log_begin, log_end)
        newest: _Head | None = None
        for name, segment in self._newest_first():
            head = _head_of(segment)
            newest = newest or head
            if head is not newest and head.end_position < log_begin:
                self._drop(name)
                break  # it is being removed, and so are all older ones
            if head.begin_ms <= query.end_ms and query.begin_ms <= head.end_ms:
                self._search(segment, wanted, gathering)
            if gathering.is_complete or (head.next_number > FIRST_NUMBER and head.begin_ms < query.begin_ms):
                break
        if newest is None:
            return KeyAnswer((), 0, 0)
        return KeyAnswer(gathering.messages, newest.end_ms, newest.end_position)

    def forget_below(self, position: int) -> None:
        """Let go of files, never the newest, without an entry for a record at or behind a position of the log."""
        for name in sorted(self._segments)[:-1]:
            if _head_of(self._segments[name]).end_position < position:
                self._drop(name)

    def close(self) -> None:
        """Let go of all files of the index."""
        for name in list(self._segments):
            self._drop(name)

    def _newest_first(self) -> Iterator[tuple["_Name", Segment]]:
        """Every file of the index; each for use until the next is asked for."""
        names = _list_names(self._directory)
        for name in self._segments.keys() - set(names):
            self._drop(name)
        for name in sorted(names, reverse=True):
            segment = self._segments.get(name) or self._open(name)
            if segment is not None:
                yield name, segment

    def _open(self, name: "_Name") -> Segment | None:
        """Map a file, in the place of the oldest one that is mapped; None where it is gone, or has another size."""
        try:
            segment = Segment.open(self._directory / name.text, 0, self._shape.file_bytes, writable=False)
        except StoreError:
            return None
        bring_in_singly(segment.address, segment.size_bytes, True)
        if len(self._segments) >= _MAPPINGS_MAX:
            self._drop(min(self._segments))
        self._segments[name] = segment
        return segment

    def _drop(self, name: "_Name") -> None:
        self._segments.pop(name).close()

    def _search(self, segment: Segment, wanted: Wanted, gathering: "_Gathering") -> None:
        """Gather what one file names."""
        room = _CANDIDATES
        while True:
            found = np.empty(room, dtype=np.int64)
            count = select(segment.address, self._shape.slots, wanted, address_of(found), room)
            gathering.take(found[:count].tolist())
            if gathering.is_complete or count < room or room == STEPS_MAX:
                return
            room = min(_GROWTH * room, STEPS_MAX)


class _Name(NamedTuple):
    """A file: by its name as a number, which rises, and by what tells it from another one of that name."""

    number: int
    inode: int
    text: str


class _Head(NamedTuple):
    """What a file's header says."""

    begin_ms: int
    end_ms: int
    end_position: int
    next_number: int


class _Gathering:
    """The records that an answer will have, gathered from the newest to older ones.

    Attributes:
        is_complete: whether nothing is to be added, whatever else there is.
    """

    def __init__(self, log: LogReader, query: KeyQuery, log_begin: int, log_end: int) -> None:
        self._log = log
        self._query = query
        self._log_begin = log_begin
        self._log_end = log_end
        self._found: dict[int, memoryview] = {}
        self._found_bytes = 0
        self.is_complete = query.count_max <= 0

    @property
    def messages(self) -> tuple[memoryview, ...]:
        """The records, in the order of the log."""
        return tuple(message for _, message in sorted(self._found.items()))

    def take(self, positions: list[int]) -> None:
        """Gather what is wanted of the records at these positions, the newest first; one taken before counts once."""
        end_ms = self._query.end_ms
        # Store times never go back, so all that are too late come first; of those that are gone the time is NONE.
        first = bisect_left(positions, True, key=lambda position: self._read(position)[1] <= end_ms)
        for position in positions[first:]:
            if self.is_complete:
                return
            if position not in self._found:
                self._take_one(position)

    def _take_one(self, position: int) -> None:
        if position < self._log_begin:
            self.is_complete = True  # it is gone, and so are all older ones
            return
        message, store_ms = self._read(position)
        if message is None or store_ms > self._query.end_ms:
            return
        if store_ms < self._query.begin_ms or (
            self._found and self._found_bytes + len(message) > self._query.bytes_max
        ):
            self.is_complete = True
            return
        self._found[position] = message
        self._found_bytes += len(message)
        self.is_complete = len(self._found) == self._query.count_max

    def _read(self, position: int) -> tuple[memoryview | None, int]:
        """The record at a position, and its store time; None and NONE where there is none."""
        message = message_at(self._log, position, self._log_begin, self._log_end)
        if message is None:
            return None, NONE
        return message, record.store_timestamp(self._log.address_of(position)[0])


def _list_names(directory: Path) -> list[_Name]:
    """The files of a directory whose names are numbers; none where it does not exist."""
    try:
        with os.scandir(directory) as entries:
            return [
                _Name(int(each.name), each.inode(), each.name)
                for each in entries
                if each.name.isdecimal() and each.is_file()
            ]
    except FileNotFoundError:
        return []


def _head_of(segment: Segment) -> _Head:
    at = segment.address
    return _Head(
        load_i64(at + BEGIN_TIMESTAMP),
        load_i64(at + END_TIMESTAMP),
        load_i64(at + END_POSITION),
        load_i32(at + COUNT),
    )


def _hash_of(topic: str, key: str) -> int:
    text = np.frombuffer(f"{topic}#{key}".encode(), dtype=np.uint8)
    return hash_of_key(address_of(text), len(text))
