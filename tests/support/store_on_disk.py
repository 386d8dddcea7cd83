"""A store on disk, written record by record, and what recovery must make of it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shmq.memory.block import address_of
from shmq.memory.region import anonymous
from shmq.store import record
from shmq.store.append import fits, place_blank
from shmq.store.close_mark import write_close_mark
from shmq.store.closed_queues import closed_queues
from shmq.store.host import Host
from shmq.store.log import LogDirectory, LogReader
from shmq.store.name_table import NameTable, format_name_table, name_table_bytes
from shmq.store.queue_directory import list_queues, queue_path
from shmq.store.queue_entry import SIZE as ENTRY_BYTES
from shmq.store.queue_entry import decode, is_message
from shmq.store.queue_table import QueueTable, format_queue_table, queue_table_bytes
from shmq.store.record import NewRecord
from shmq.store.recover import Recovered, Tables, recover
from shmq.store.segment import Segment, file_name, list_starts
from shmq.store.store_files import StorePaths, StoreSizes, mark_closed, mark_open, was_left_open

LOG_BYTES = 4096
QUEUE_BYTES = 10 * ENTRY_BYTES
BASE_MS = 1_700_000_000_000
NOW_MS = BASE_MS + 10_000_000
HOST = Host(bytes([127, 0, 0, 1]), 10911)
QUEUES = [(b"A", 0), (b"A", 1), (b"B", 0)]
CAPACITY = 64


@dataclass
class Message:
    queue: tuple[bytes, int]
    offset: int
    position: int
    body: bytes
    size: int


@dataclass
class Store:
    """A log written by hand, a second between two records, and what must be in it."""

    paths: StorePaths
    sizes: StoreSizes = field(default_factory=lambda: StoreSizes(LOG_BYTES, QUEUE_BYTES))
    messages: list[Message] = field(default_factory=list)
    end: int = 0
    next: dict[tuple[bytes, int], int] = field(default_factory=dict)

    @property
    def log(self) -> LogDirectory:
        return LogDirectory(self.paths.commitlog, LOG_BYTES)

    def append(self, queue: tuple[bytes, int], body_bytes: int = 200, sys_flag: int = 0) -> Message:
        offset = self.next.get(queue, 0) if record.is_dispatched(sys_flag) else 0
        body = bytes([len(self.messages) % 251]) * body_bytes
        new = NewRecord(queue[0], queue[1], 0, sys_flag, BASE_MS, HOST, HOST, 0, 0, body, b"TAGS\x01t\x02")
        buffer = np.zeros(record.size_of(new), dtype=np.uint8)
        record.encode_into(new, memoryview(buffer), 0)
        room = LOG_BYTES - self.end % LOG_BYTES
        if not fits(len(buffer), room):
            with_blank = self.segment(self.end)
            place_blank(with_blank.address + self.end - with_blank.start, room)
            with_blank.close()
            self.end += room
        record.patch(address_of(buffer), offset, self.end, BASE_MS + 1000 * len(self.messages))
        self.write(self.end, buffer.tobytes())
        message = Message(queue, offset, self.end, body, len(buffer))
        self.messages.append(message)
        self.end += len(buffer)
        if record.is_dispatched(sys_flag):
            self.next[queue] = offset + 1
        return message

    def segment(self, position: int) -> Segment:
        start = position // LOG_BYTES * LOG_BYTES
        if not self.log.file(start).exists():
            return self.log.create(start)
        return self.log.open(start, writable=True)

    def write(self, position: int, data: bytes) -> None:
        segment = self.segment(position)
        segment.view[position - segment.start : position - segment.start + len(data)] = data
        segment.close()

    def read(self, position: int, size: int) -> bytes:
        segment = self.segment(position)
        data = bytes(segment.view[position - segment.start : position - segment.start + size])
        segment.close()
        return data

    def lose_from(self, position: int) -> list[Message]:
        """Forget messages from a position on: they are not expected any more."""
        lost = [message for message in self.messages if message.position >= position]
        self.messages = [message for message in self.messages if message.position < position]
        for message in lost:
            self.next[message.queue] = min(self.next[message.queue], message.offset)
        self.end = position
        return lost


@dataclass
class Outcome:
    recovered: Recovered
    topics: NameTable
    queues: QueueTable
    said: list[str]

    def slot(self, queue: tuple[bytes, int]) -> int:
        return self.queues.find(self.topics.find(queue[0]), queue[1])


def start(store: Store) -> Outcome:
    names = anonymous(name_table_bytes(CAPACITY)).bytes
    rows = anonymous(queue_table_bytes(CAPACITY)).bytes
    format_name_table(names, CAPACITY)
    format_queue_table(rows, CAPACITY)
    topics, queues = NameTable(names), QueueTable(rows)
    said: list[str] = []
    recovered = recover(
        store.paths,
        store.sizes,
        Tables(topics, queues, [1000, 5000]),
        not was_left_open(store.paths),
        NOW_MS,
        said.append,
    )
    return Outcome(recovered, topics, queues, said)


def check(store: Store, outcome: Outcome) -> None:
    """Every message that is expected is where its queue offset says, and nothing else is."""
    assert outcome.recovered.end == store.end
    assert was_left_open(store.paths)
    reader = LogReader(store.paths.commitlog, LOG_BYTES)
    expected = {(message.queue, message.offset): message for message in store.messages}
    found = set()
    for queue in list_queues(store.paths.consumequeue):
        slot = outcome.slot(queue)
        directory = queue_path(store.paths.consumequeue, *queue)
        starts = list_starts(directory, QUEUE_BYTES)
        units = b"".join((directory / file_name(at)).read_bytes() for at in starts)
        minimum, maximum = int(outcome.queues.min[slot]), int(outcome.queues.max[slot])
        assert outcome.queues.next[slot] == maximum == store.next.get(queue, maximum)
        first = starts[0] // ENTRY_BYTES if starts else 0
        for offset in range(minimum, maximum):
            at = (offset - first) * ENTRY_BYTES
            unit = np.frombuffer(units[at : at + ENTRY_BYTES], dtype=np.uint8)
            position, size, _ = decode(address_of(unit))
            assert is_message(size)
            stored = record.decode(reader.slice(position, size) or memoryview(b""))
            message = expected[queue, offset]
            assert (stored.topic, stored.queue_id, stored.queue_offset) == (*queue, offset)
            assert (stored.position, bytes(stored.body)) == (message.position, message.body)
            found.add((queue, offset))
        tail = (maximum - first) * ENTRY_BYTES
        assert not any(units[tail:]), "RocketMQ would count what lies behind the last unit"
        assert not starts or starts[-1] // ENTRY_BYTES < maximum, (
            "RocketMQ would count an empty file's first unit"
        )
    assert found == set(expected)
    for at in list_starts(store.paths.commitlog, LOG_BYTES):
        assert at <= store.end
        if at + LOG_BYTES > store.end:
            tail = max(store.end - at, 0)
            assert not any(store.log.file(at).read_bytes()[tail:]), "old records could come back to life"
    reader.close()


def close(store: Store, outcome: Outcome) -> None:
    """End as the supervisor does when all went well."""
    closed = closed_queues(outcome.topics, outcome.queues, store.paths.consumequeue)
    write_close_mark(store.paths.queues_checkpoint, outcome.recovered.trimmed, closed)
    mark_closed(store.paths)


def made_store(root: Path) -> Store:
    """Five files and a bit of log, its queues dispatched, closed cleanly."""
    made = Store(StorePaths(root))
    for number in range(70):
        made.append(QUEUES[number % 3])
    outcome = start(made)
    check(made, outcome)
    close(made, outcome)
    return made


def crash(store: Store) -> None:
    """End without closing the store."""
    mark_open(store.paths)


def end_cleanly(store: Store) -> None:
    """It was closed when it was made."""
    assert not was_left_open(store.paths)


def end_unmarked(store: Store) -> None:
    """It was closed by another broker, which knows no close mark."""
    store.paths.queues_checkpoint.unlink()
    assert not was_left_open(store.paths)
