"""The ground that a commit writer works on: a small segment, an empty store, and senders played by the test."""

import ctypes
import struct
from dataclasses import dataclass

from shmq.config.settings import Config
from shmq.memory.words import load_word, store_word
from shmq.ring import doorbell
from shmq.ring.spsc import (
    claim,
    consumed_position,
    fill_head,
    give_back,
    payload_address,
    peek,
    publish,
    space_of,
)
from shmq.shared import broker_memory, commit, plan, submission
from shmq.store import record
from shmq.store.host import Host
from shmq.store.log import LogDirectory
from shmq.store.record import NewRecord
from shmq.store.store_files import StorePaths
from shmq.store.transient_pool import TransientPool
from shmq.store.watermarks import APPENDED, WROTE
from shmq.workers.commit_writer import CommitWriter, sender_rows

HOST = Host(bytes([127, 0, 0, 1]), 10911)
QUEUES = ((b"A", 0), (b"A", 1), (b"B", 0))
KIB = 1024


def small_config(root, **settings):
    """Settings of a broker that takes little room."""
    defaults = {
        "store_root": str(root),
        "broker_name": "small",
        "network_workers": 2,
        "message_bytes_max": 64 * KIB,
        "submit_ring_bytes": 256 * KIB,
        "completion_ring_bytes": 4 * KIB,
        "letter_ring_bytes": 64 * KIB,
        "local_sessions_max": 2,
        "local_submit_ring_bytes": 128 * KIB,
        "local_completion_ring_bytes": 8 * KIB,
        "topics_max": 64,
        "groups_max": 16,
        "queue_slots_max": 2048,
        "offset_rows_max": 16,
        "commit_log_file_bytes": 8 * KIB,
        "consume_queue_file_bytes": 200,
    }
    return Config(**(defaults | settings))


@dataclass(frozen=True)
class Completion:
    """An answer as it lies in a completion ring."""

    tag: int
    status: int
    count: int
    queue_offset: int
    position: int
    store_ms: int


def message(queue=QUEUES[0], body=b"x", *, sys_flag=0, properties=b""):
    """A record to be stored in a queue."""
    return NewRecord(queue[0], queue[1], 0, sys_flag, 1, HOST, HOST, 0, 0, body, properties)


def message_of_size(size_bytes, queue=QUEUES[0]):
    """A record that takes exactly so many bytes of the log."""
    empty = record.size_of(message(queue, b""))
    made = message(queue, b"y" * (size_bytes - empty))
    assert record.size_of(made) == size_bytes
    return made


def encode(records):
    """Records as they follow a submission's head."""
    buffer = bytearray(sum(map(record.size_of, records)))
    at = 0
    for each in records:
        at += record.encode_into(each, memoryview(buffer), at)
    return bytes(buffer)


class WriterGround:
    """Memory and store, made once; writers come and go on it.

    Attributes:
        config, memory, paths, pool: what a CommitWriter is made of.
        log: the files of its log.
    """

    def __init__(self, root, **settings):
        self.config = small_config(root, **settings)
        self.pool = None
        if self.config.transient_pool:
            self.pool = TransientPool(self.config.transient_pool_buffers, self.config.commit_log_file_bytes)
        self.memory = broker_memory.create_unnamed(self.config)
        self.paths = StorePaths.of(self.config)
        self.paths.commitlog.mkdir(parents=True)
        self.log = LogDirectory(self.paths.commitlog, self.config.commit_log_file_bytes)
        for number in range(plan.BELL_FIRST_WORKER + self.memory.plan.workers):
            doorbell.initialise(self.memory.bell(number))
        for topic, queue_id in QUEUES:
            self.memory.queues.add(self.memory.topic_names.add(topic), queue_id)
        self._tags = 0
        self._rows = sender_rows(self.memory)

    def writer(self):
        """A writer that has not started."""
        return CommitWriter(self.config, self.memory, self.paths, self.pool)

    def slot(self, queue):
        return self.memory.queues.find(self.memory.topic_names.find(queue[0]), queue[1])

    def submit(self, *records, sender=0):
        """Submit records of one queue; return the submission's tag."""
        queue = (records[0].topic, records[0].queue_id)
        encoded = encode(records)
        head = struct.pack("<iiii", self.slot(queue), len(records), len(encoded), 0)
        return self.submit_bytes(head + encoded, sender=sender)

    def submit_bytes(self, payload, *, sender=0, kind=submission.SUBMISSION):
        """Put any bytes in a submit ring; return the tag."""
        self._tags += 1
        offer(self.memory.place(f"submit/{sender}"), payload, kind, self._tags)
        return self._tags

    def completions(self, sender=0):
        """Take the answers out of a sender's ring, oldest first."""
        ring = self.memory.place(f"completions/{sender}")
        found = []
        while True:
            letter = peek(ring, consumed_position(ring))
            if letter.position < 0:
                return found
            assert letter.kind == submission.COMPLETION
            fields = struct.unpack("<iiqqq", bytes_at(letter.address, letter.size_bytes))
            found.append(Completion(letter.tag, *fields))
            give_back(ring, letter.position + space_of(letter.size_bytes))

    def stored(self):
        """All records below `appended`, decoded, in order; blanks are passed over."""
        found = []
        position, end = 0, self.memory.watermarks.appended
        while position < end:
            start = position - position % self.log.file_bytes
            content = self.log.file(start).read_bytes()
            at = position - start
            size, magic = struct.unpack_from(">ii", content, at)
            if magic == record.BLANK_MAGIC:
                assert at + size == self.log.file_bytes, "a blank ends with its file"
                position += size
                continue
            found.append(record.decode(memoryview(content), at))
            assert found[-1].position == position
            position += size
        return found

    def bytes_behind(self):
        """What lies behind `appended`, in all files."""
        end = self.memory.watermarks.appended
        behind = b""
        for start in self.log.starts():
            if start + self.log.file_bytes > end:
                behind += self.log.file(start).read_bytes()[max(end - start, 0) :]
        return behind

    def next_of(self, queue):
        return int(self.memory.queues.next[self.slot(queue)])

    def sleep_at(self, number):
        """Announce the sleep of whoever a bell belongs to, for any news."""
        bell = self.memory.bell(number)
        doorbell.want(bell, doorbell.FLUSHED | doorbell.DISPATCHED)
        doorbell.will_sleep(bell)

    def ring(self, number):
        doorbell.ring_bell(self.memory.bell(number))

    def is_asleep(self, number):
        """Whether nobody has rung since."""
        return load_word(self.memory.bell(number) + doorbell.SLEEPING) == 1

    def wait_flushed(self, position):
        """Sleep, as a worker does, until the log is on disk up to a position."""
        while True:
            self.sleep_at(plan.BELL_FIRST_WORKER)
            if self.memory.watermarks.flushed >= position:
                return
            doorbell.sleep(self.memory.bell(plan.BELL_FIRST_WORKER), 30_000_000_000)

    def page(self, name):
        """A word of the writer's page."""
        return load_word(self.memory.place("writer") + commit.PAGE_LAYOUT.fields[name][1])

    def set_page(self, name, value):
        store_word(self.memory.place("writer") + commit.PAGE_LAYOUT.fields[name][1], value)

    def sender(self, number=0):
        """The address of a sender's row."""
        return int(self._rows[number : number + 1].ctypes.data)

    def places(self, segment):
        """Where everything lies for the kernels, with a file of the log mapped."""
        memory, pool = self.memory, self.pool
        return commit.Places(
            page=memory.place("writer"),
            end_word=memory.place("watermarks") + (WROTE if pool else APPENDED),
            topics=memory.topic_names.address,
            queues=memory.queues.address,
            segment=pool.address_of(segment.start) if pool else segment.address,
            segment_start=segment.start,
            segment_bytes=segment.size_bytes,
        )


def offer(ring, payload, kind, tag):
    """Publish a record in a ring that has room for it."""
    position = claim(ring, len(payload))
    assert position >= 0, "the test's ring is full"
    copy_in(payload_address(ring, position), payload)
    publish(ring, fill_head(ring, position, len(payload), kind, tag))


def copy_in(address, content):
    """Write bytes at an address."""
    ctypes.memmove(address, content, len(content))


def bytes_at(address, size_bytes):
    """The bytes at an address."""
    return ctypes.string_at(address, size_bytes)


def until_idle(writer):
    """Let a writer work until there is nothing left to do."""
    while writer.do_work(0) or writer.waits_for_file:
        if writer.waits_for_file:
            writer.rest(1_000_000)
