"""A small store for tests: a log that is written record by record, and the tables and files beside it."""

import os
import struct

import numpy as np

from shmq.store import record
from shmq.store.dispatch import Dispatch
from shmq.store.host import Host
from shmq.store.log import LogReader
from shmq.store.name_table import NameTable, format_name_table, name_table_bytes
from shmq.store.queue_files import QueueFiles
from shmq.store.queue_table import QueueTable, format_queue_table, queue_table_bytes
from shmq.store.record import NewRecord
from shmq.store.segment import file_name

SLOTS = 64
DELAYS_MS = (1000, 5000, 10_000)


class SmallStore:
    """Log, tables, queue files and dispatcher below one directory."""

    def __init__(self, root, log_file_bytes=4096, queue_file_bytes=200, windows_max=8):
        self.root = root
        self.log_file_bytes = log_file_bytes
        self.queue_file_bytes = queue_file_bytes
        self.windows_max = windows_max
        self.end = 0
        self.records = []  # (position, size, topic, queue_id, queue_offset, store_ms, bytes)
        self.next = {}
        self.topics, self.queues = new_topics(), new_queues()
        (root / "commitlog").mkdir(parents=True, exist_ok=True)
        (root / "consumequeue").mkdir(exist_ok=True)
        self.start_dispatcher()

    @property
    def consumequeue(self):
        return self.root / "consumequeue"

    def start_dispatcher(self):
        """A new dispatcher over the same tables and files."""
        self.log = LogReader(self.root / "commitlog", self.log_file_bytes)
        self.files = QueueFiles(self.consumequeue, self.queue_file_bytes, SLOTS, self.windows_max)
        self.dispatch = Dispatch(self.topics, self.queues, self.log, self.files, DELAYS_MS, self.add_queue)

    def forget_tables(self):
        """Tables as after a start of the broker, with the names that were there."""
        self.topics, self.queues = new_topics(), new_queues()
        self.start_dispatcher()

    def add_queue(self, topic, queue_id):
        return self.queues.add(self.topics.add(topic), queue_id)

    def slot(self, topic, queue_id=0):
        return self.queues.find(self.topics.find(topic), queue_id)

    def append(
        self,
        topic=b"T",
        queue_id=0,
        *,
        tag="",
        queue_offset=None,
        store_ms=1000,
        sys_flag=0,
        body=b"x",
        properties=None,
    ):
        """Write a record at the log's end; return (position, size)."""
        if properties is None:
            properties = b"TAGS\x01" + tag.encode() + b"\x02" if tag else b""
        host = Host(b"\x7f\x00\x00\x01", 10911)
        new = NewRecord(topic, queue_id, 0, sys_flag, 900, host, host, 0, 0, body, properties)
        size = record.size_of(new)
        left = self.log_file_bytes - self.end % self.log_file_bytes
        if size + record.BLANK_BYTES_MIN > left:
            self.write(self.end, struct.pack(">ii", left, record.BLANK_MAGIC))
            self.end += left
        counts = sys_flag & record.TRANSACTION_MASK in (record.TRANSACTION_NONE, record.TRANSACTION_COMMIT)
        if queue_offset is None:
            queue_offset = self.next.get((topic, queue_id), 0) if counts else 0
        if counts:
            self.next[topic, queue_id] = queue_offset + 1
        buffer = bytearray(size)
        record.encode_into(new, memoryview(buffer), 0)
        struct.pack_into(">qq", buffer, record.QUEUE_OFFSET, queue_offset, self.end)
        struct.pack_into(">q", buffer, record.STORE_TIMESTAMP, store_ms)
        self.write(self.end, bytes(buffer))
        position, self.end = self.end, self.end + size
        self.records.append((position, size, topic, queue_id, queue_offset, store_ms, bytes(buffer)))
        return position, size

    def write(self, position, content):
        """Put bytes into the log, in one file."""
        start = position // self.log_file_bytes * self.log_file_bytes
        path = self.root / "commitlog" / file_name(start)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        os.ftruncate(descriptor, self.log_file_bytes)
        os.pwrite(descriptor, content, position - start)
        os.close(descriptor)

    def run(self, begin=0, bytes_max=1 << 40):
        return self.dispatch.step(begin, self.end, bytes_max)

    def queue_bytes(self, topic=b"T", queue_id=0):
        """All files of a queue, joined, from offset 0 on."""
        folder = self.consumequeue / os.fsdecode(topic) / str(queue_id)
        paths = sorted(folder.iterdir()) if folder.exists() else []
        return b"".join(path.read_bytes() for path in paths)

    def entries(self, topic=b"T", queue_id=0):
        """The entries of a queue's files below its max, as (position, size, tag hash), from the first file on."""
        folder = self.consumequeue / os.fsdecode(topic) / str(queue_id)
        first = int(min(path.name for path in folder.iterdir())) // 20
        count = int(self.queues.max[self.slot(topic, queue_id)]) - first
        return list(struct.iter_unpack(">qiq", self.queue_bytes(topic, queue_id)[: 20 * count]))


def new_topics():
    memory = np.zeros(name_table_bytes(SLOTS), dtype=np.uint8)
    format_name_table(memory, SLOTS)
    return NameTable(memory)


def new_queues():
    memory = np.zeros(queue_table_bytes(SLOTS), dtype=np.uint8)
    format_queue_table(memory, SLOTS)
    return QueueTable(memory)


def names(folder):
    """The names in a directory, in order."""
    return sorted(path.name for path in folder.iterdir())
