"""A conductor's state for tests, over a small store that it really reads, with the other processes' parts in hand."""

import struct

import numpy as np

from shmq.broker.effects import Publish, Push
from shmq.broker.metadata import Metadata
from shmq.broker.offsets import Tables
from shmq.broker.outcome import Append, Appended, Channel, Peer, PutStatus
from shmq.broker.store_reader import StoreReader
from shmq.config.settings import Config
from shmq.store import record
from shmq.store.dispatch import Dispatch
from shmq.store.host import Host
from shmq.store.name_table import NameTable, format_name_table, name_table_bytes
from shmq.store.offset_table import OffsetTable, format_offset_table, offset_table_bytes
from shmq.store.queue_files import QueueFiles
from shmq.store.queue_table import QueueTable, format_queue_table, queue_table_bytes
from shmq.store.read import QueueReader
from shmq.store.store_files import StoreSizes
from shmq.wire.command import Command
from shmq.workers.flight_store import SqliteFlightStore
from tests.support.small_store import SmallStore

PEER = Peer(Host(b"\x7f\x00\x00\x01", 50000), Host(b"\x7f\x00\x00\x01", 10911))
CHANNEL = Channel(0, 1, 7)
NOW_MS = 1_700_000_000_000
LOG_FILE_BYTES = 1 << 18
QUEUE_FILE_BYTES = 400
SETTINGS = {
    "broker_name": "b",
    "cluster_name": "c",
    "commit_log_file_bytes": LOG_FILE_BYTES,
    "consume_queue_file_bytes": QUEUE_FILE_BYTES,
    "message_bytes_max": LOG_FILE_BYTES - (1 << 17),
}
NAMES = 64
QUEUES = 2048


def new_tables(names=NAMES, queues=QUEUES, offsets=QUEUES):
    """Empty tables in memory of their own."""

    def memory(size_bytes, format_table, capacity):
        made = np.zeros(size_bytes(capacity), dtype=np.uint8)
        format_table(made, capacity)
        return made

    return Tables(
        NameTable(memory(name_table_bytes, format_name_table, names)),
        NameTable(memory(name_table_bytes, format_name_table, names)),
        QueueTable(memory(queue_table_bytes, format_queue_table, queues)),
        OffsetTable(memory(offset_table_bytes, format_offset_table, offsets)),
    )


class SmallMetadata:
    """A Metadata, and what else a test of control handlers needs.

    Attributes:
        state: what handlers get.
        store: the log, the queues and their tables.
    """

    def __init__(self, root, documents=None, tables=None, **settings):
        self.root = root
        self.settings = Config(store_root=str(root), **(SETTINGS | settings))
        self.tables = tables or new_tables()
        self.store = SmallStore(root, LOG_FILE_BYTES, QUEUE_FILE_BYTES)
        self.store.topics, self.store.queues = self.tables.topics, self.tables.queues
        self.store.files = QueueFiles(self.store.consumequeue, QUEUE_FILE_BYTES, QUEUES, 8)
        self.store.dispatch = Dispatch(
            self.tables.topics,
            self.tables.queues,
            self.store.log,
            self.store.files,
            self.settings.delay_levels_ms,
            self.store.add_queue,
        )
        self.queues_reader = QueueReader(
            self.store.consumequeue,
            StoreSizes(LOG_FILE_BYTES, QUEUE_FILE_BYTES),
            self.tables.queues,
            self.store.log,
        )
        self.state = Metadata(
            self.settings, self.tables, documents or {}, StoreReader(self.queues_reader), NOW_MS
        )
        self.state.pops.use(SqliteFlightStore(":memory:"), is_table_new=True, was_closed=True)

    def again(self, **settings):
        """The state that a start after this one makes of what was saved, in tables that are empty."""
        documents = self.state.documents(NOW_MS)
        return SmallMetadata(self.root, documents, new_tables(), **settings)

    def call(self, handler, code, fields=None, body=b"", *, channel=CHANNEL, now_ms=NOW_MS, **command):
        """What a handler makes of a request."""
        texts = {name: str(value) for name, value in (fields or {}).items() if value is not None}
        request = Command(code=code, opaque=7, fields=texts, body=body, **command)
        return handler(self.state, request, channel, PEER, now_ms)

    def put(self, new, store_ms=NOW_MS):
        """Store a record, as commit writer and dispatcher do; return where it lies."""
        store = self.store
        buffer = bytearray(record.size_of(new))
        record.encode_into(new, memoryview(buffer), 0)
        left = store.log_file_bytes - store.end % store.log_file_bytes
        if len(buffer) + record.BLANK_BYTES_MIN > left:
            store.write(store.end, struct.pack(">ii", left, record.BLANK_MAGIC))
            store.end += left
        offset = store.next.get((new.topic, new.queue_id), 0)
        store.next[new.topic, new.queue_id] = offset + 1
        struct.pack_into(">qq", buffer, record.QUEUE_OFFSET, offset, store.end)
        struct.pack_into(">q", buffer, record.STORE_TIMESTAMP, store_ms)
        store.write(store.end, bytes(buffer))
        position, store.end = store.end, store.end + len(buffer)
        self.dispatch()
        return position

    def append(self, topic, queue_id=0, **given):
        """Store a message; return where it lies."""
        position, _ = self.store.append(topic.encode(), queue_id, **given)
        self.dispatch()
        return position

    def dispatch(self):
        result = self.store.run()
        assert not result.problem

    def stored(self, topic, queue_id=0):
        """The messages of a queue, as they lie in the log."""
        entries = self.store.entries(topic.encode(), queue_id)
        return [self.state.reader.message(position) for position, _, _ in entries]

    def commit(self, outcome, status=PutStatus.PUT_OK):
        """Do what an Append wants; return the next outcome."""
        assert isinstance(outcome, Append)
        positions = tuple(self.put(new) for new in outcome.records) if status == PutStatus.PUT_OK else ()
        return outcome.then(Appended(status, 0, positions, NOW_MS))

    def published(self):
        """The updates among the effects, which are forgotten."""
        return [effect.update for effect in self.state.drain() if isinstance(effect, Publish)]

    def pushed(self):
        """The (channel, command) pairs among the effects, which are forgotten."""
        return [(each.channel, each.command) for each in self.state.drain() if isinstance(each, Push)]
