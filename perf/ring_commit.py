"""How many messages a second go through a submit ring into the log?

Workload: finished records, one a submission, of 128 B (314 with head, topic and the properties that clients set) and
of 1 KiB (1,210), put into the submit ring by a kernel, committed by `shmq.shared.commit` into a mapped file of the
log whose pages are in memory, as the flush thread has them, and answered; the answers are read. Nobody sleeps or
rings a bell: this is the rate of the mechanism, which no client can exceed. Unit: messages a second.

`one thread` fills the ring, commits and reads the answers in turn, so that the commit has a rate of its own;
`two threads` does it at the same time, as the processes do, each in kernels that hold no lock of Python's. Beside
it stands the time that a flag takes to the other thread and back, before and after each turn (see `perf/probe.py`).
Machine: see the sheet's first lines.

Peers: `memcpy` copies the same records one by one from 16 MiB of memory into the same file, and does nothing else;
`os.write` is a call of it for each record.
"""

import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from perf.harness import OURS, Contest, Figures
from perf.probe import round_trip_ns
from shmq.config.settings import Config
from shmq.jit import Bytes, Words, compile_kernels, kernel
from shmq.memory.atomics import load_acquire
from shmq.memory.block import address_of, copy
from shmq.memory.endian import load_native_i32
from shmq.memory.words import store_word
from shmq.ring import spsc
from shmq.shared import broker_memory, commit, submission
from shmq.store.host import Host
from shmq.store.log import LogDirectory
from shmq.store.record import NewRecord, encode_into, size_of
from shmq.store.watermarks import APPENDED
from shmq.workers.commit_writer import BATCH_BYTES_MAX, sender_rows

TOPIC = b"TopicTest"
PROPERTIES = b"UNIQ_KEY\x017F0000010001AABBCCDD000000000001\x02WAIT\x01true\x02CLUSTER\x01DefaultCluster\x02TAGS\x01TagA\x02"
FILE_BYTES = 1 << 28
MESSAGES = {128: 500_000, 1024: 200_000}
WRITES_SHARE = 10  # os.write gets a tenth of the messages: it takes long enough
HOST = Host(bytes((127, 0, 0, 1)), 10911)
FAILED = -1


class Ground:
    """A broker's memory and one file of its log, with one producer and its records."""

    def __init__(self, root: Path, body_bytes: int) -> None:
        config = Config(store_root=str(root), broker_name="perf", network_workers=1)
        self.memory = broker_memory.create_unnamed(config)
        slot = self.memory.queues.add(self.memory.topic_names.add(TOPIC), 0)
        self.record = encoded(NewRecord(TOPIC, 0, 0, 0, 1, HOST, HOST, 0, 0, bytes(body_bytes), PROPERTIES))
        head = struct.pack("<iiii", slot, 1, len(self.record), 0)
        self.payload = np.frombuffer(head + self.record, dtype=np.uint8).copy()
        self.source = np.resize(np.frombuffer(self.record, dtype=np.uint8), config.submit_ring_bytes).copy()
        self.ring = self.memory.place("submit/0")
        self.completions = self.memory.place("completions/0")
        self.rows = sender_rows(self.memory)
        self.sender = int(self.rows.ctypes.data)
        (root / "log").mkdir()
        self.segment = LogDirectory(root / "log", FILE_BYTES).create(0)
        self.segment.populate(0, FILE_BYTES, is_single=False)
        self.writes = (root / "writes").open("wb", buffering=0)
        self.stop = np.zeros(1, dtype=np.int64)
        self.places = commit.Places(
            page=self.memory.place("writer"),
            end_word=self.memory.place("watermarks") + APPENDED,
            topics=self.memory.topic_names.address,
            queues=self.memory.queues.address,
            segment=self.segment.address,
            segment_start=0,
            segment_bytes=FILE_BYTES,
        )

    def begin_anew(self) -> None:
        """Empty the log."""
        self.memory.watermarks.begin(0, 0, 0, 0)
        self.memory.queues.next[:] = 0

    def commit(self) -> int:
        """One call of the writer's kernel."""
        now_ms = time.time_ns() // 1_000_000
        return commit.commit(self.places, self.sender, now_ms, BATCH_BYTES_MAX)

    def close(self) -> None:
        """Let go of the files."""
        self.writes.close()
        self.segment.close()


@pytest.fixture(params=MESSAGES, ids=lambda size: f"{size}B")
def body_bytes(request: pytest.FixtureRequest) -> int:
    size: int = request.param
    return size


@pytest.fixture
def ground(tmp_path: Path, body_bytes: int) -> Iterator[Ground]:
    for _ in compile_kernels():
        pass
    made = Ground(tmp_path, body_bytes)
    yield made
    made.close()
    made.segment.path.unlink()


def test_one_thread(contest: Contest, ground: Ground, body_bytes: int) -> None:
    messages = contest.options.messages(MESSAGES[body_bytes])

    def fill_commit_read() -> Figures:
        ground.begin_anew()
        submitted = answered = commit_ns = 0
        begin_ns = time.perf_counter_ns()
        while answered < messages:
            submitted += fill(ground.ring, ground.payload, submitted, messages)
            commit_begin_ns = time.perf_counter_ns()
            ground.commit()
            commit_ns += time.perf_counter_ns() - commit_begin_ns
            read = read_answers(ground.completions)
            assert read != FAILED
            answered += read
        elapsed_ns = time.perf_counter_ns() - begin_ns
        return {
            "commit messages/s": messages / commit_ns * 1e9,
            "fill, commit, read messages/s": messages / elapsed_ns * 1e9,
        }

    def copy_alone() -> Figures:
        begin_ns = time.perf_counter_ns()
        copy_records(ground.segment.address, ground.source, len(ground.record), messages)
        return {"commit messages/s": messages / (time.perf_counter_ns() - begin_ns) * 1e9}

    def write_each() -> Figures:
        descriptor, record = ground.writes.fileno(), ground.record
        os.lseek(descriptor, 0, os.SEEK_SET)
        writes = messages // WRITES_SHARE
        begin_ns = time.perf_counter_ns()
        for _ in range(writes):
            os.write(descriptor, record)
        return {"commit messages/s": writes / (time.perf_counter_ns() - begin_ns) * 1e9}

    contestants = {"memcpy": copy_alone, "os.write": write_each, OURS: fill_commit_read}
    contest.run(f"ring to log, {body_bytes} B, one thread", contestants)


def test_two_threads(contest: Contest, ground: Ground, body_bytes: int) -> None:
    messages = contest.options.messages(MESSAGES[body_bytes])
    end = messages * len(ground.record)

    def commit_beside_producer() -> Figures:
        ground.begin_anew()
        ground.stop[0] = 0
        before_ns = round_trip_ns()
        producer = threading.Thread(
            target=fill_and_read,
            args=(ground.ring, ground.completions, ground.payload, messages, ground.stop),
        )
        begin_ns = time.perf_counter_ns()
        producer.start()
        try:
            while ground.memory.watermarks.appended < end:
                assert ground.commit() != commit.NEEDS_FILE
                assert producer.is_alive() or ground.memory.watermarks.appended == end
        finally:
            store_word(address_of(ground.stop), int(ground.memory.watermarks.appended < end))
            producer.join()
        elapsed_ns = time.perf_counter_ns() - begin_ns
        return {
            "messages/s": messages / elapsed_ns * 1e9,
            "flag round trip before ns": before_ns,
            "flag round trip after ns": round_trip_ns(),
        }

    def copy_alone() -> Figures:
        begin_ns = time.perf_counter_ns()
        copy_records(ground.segment.address, ground.source, len(ground.record), messages)
        return {"messages/s": messages / (time.perf_counter_ns() - begin_ns) * 1e9}

    contestants = {"memcpy": copy_alone, OURS: commit_beside_producer}
    contest.run(f"ring to log, {body_bytes} B, two threads", contestants)


def encoded(record: NewRecord) -> bytes:
    """A record as it lies behind a submission's head."""
    buffer = bytearray(size_of(record))
    encode_into(record, memoryview(buffer), 0)
    return bytes(buffer)


@kernel
def fill(ring: int, payload: Bytes, begin: int, end: int) -> int:
    """Submit until the ring is full or all is submitted; return how many were."""
    size = len(payload)
    for number in range(begin, end):
        position = spsc.claim(ring, size)
        if position < 0:
            return number - begin
        copy(spsc.payload_address(ring, position), address_of(payload), size)
        spsc.publish(ring, spsc.fill_head(ring, position, size, submission.SUBMISSION, number))
    return end - begin


@kernel
def read_answers(completions: int) -> int:
    """Read all answers; return how many, or FAILED where one is no success."""
    consumed = spsc.consumed_position(completions)
    read = 0
    while True:
        letter = spsc.peek(completions, consumed)
        if letter.position < 0:
            break
        if load_native_i32(letter.address + submission.STATUS) != 0:
            return FAILED
        consumed = letter.position + spsc.space_of(letter.size_bytes)
        read += 1
    spsc.give_back(completions, consumed)
    return read


@kernel
def fill_and_read(ring: int, completions: int, payload: Bytes, count: int, stop: Words) -> None:
    """Submit so many and read their answers, unless the stop word is set."""
    submitted = answered = 0
    while answered < count and load_acquire(address_of(stop)) == 0:  # pairs with the main thread's store_word
        # A few at a time: whoever fills the whole ring first has the writer read what has left the cache.
        submitted += fill(ring, payload, submitted, min(count, submitted + 64))
        answered += max(read_answers(completions), 0)


@kernel
def copy_records(target: int, source: Bytes, size: int, count: int) -> None:
    """Copy so many records to a target, from all over a source."""
    at = 0
    for number in range(count):
        copy(target + number * size, address_of(source) + at, size)
        at += size
        if at + size > len(source):
            at = 0
