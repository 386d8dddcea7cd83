"""How many instructions does each hot kernel take for a record?

    python -m perf.instruction_counts          # one line a kernel

Times on a shared machine differ by half from one minute to the next; the instructions of a compiled loop do not. They
are counted one by one: a child runs the kernel, its parent single-steps it by ptrace(2), which needs no performance
counter and so works in virtual machines. The cost of a record is the difference between a run of many and a run of
half as many, so that whatever surrounds the kernel cancels out. What it does not see is memory: a kernel may take as
many instructions as before and miss the cache. For that there are the other questions.

`tests/perf_guard` compares these with bounds.
"""

import ctypes
import gc
import os
import shutil
import signal
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numba import types

from perf.fast_path_kernel import BODY, FIELDS, answer_all, serve_often
from perf.histogram import Histogram, record_all
from shmq.jit import compile_kernels, kernel
from shmq.memory.block import address_of
from shmq.memory.crc32 import crc32
from shmq.memory.endian import load_native_i32
from shmq.ring import spsc
from shmq.shared import commit, submission
from shmq.store.key_build import KeyBuild
from shmq.store.key_files import KeyFiles
from shmq.store.key_shape import KeyIndexShape
from shmq.wire import command
from shmq.wire.command import Command, Encoding
from tests.support.fast_senders import FastSender
from tests.support.frames import Placed
from tests.support.small_store import SmallStore
from tests.support.writer_ground import WriterGround, encode, message

RECORDS_MAX: Final = 64
BODY_BYTES: Final = 128
PROPERTIES: Final = b"UNIQ_KEY\x017F0000010001AABBCCDD000000000001\x02WAIT\x01true\x02TAGS\x01TagA\x02"

Prepare = Callable[[int], Callable[[], Any]]
"""Makes ready for so many records, uncounted; what it returns is counted."""

_TRACE_ME: Final = 0
_SINGLE_STEP: Final = 9
_STOPPED: Final = 0x7F
_TRAPPED: Final = 5
_FAILED: Final = -1

_ptrace: Any = types.ExternalFunction(
    "ptrace", types.int64(types.int64, types.int64, types.int64, types.int64)
)
_waitpid: Any = types.ExternalFunction("waitpid", types.int32(types.int32, types.int64, types.int32))


def count_all(directory: Path) -> dict[str, float]:
    """Instructions a record, by kernel."""
    for _ in compile_kernels():
        pass
    return {name: instructions_a_record(*each) for name, each in prepared(directory).items()}


def instructions_a_record(prepare: Prepare, records: int) -> float:
    """Instructions for each of the second half of so many records."""
    prepare(RECORDS_MAX)()  # links, and touches its pages
    return (instructions(prepare, records) - instructions(prepare, records // 2)) / (records // 2)


def instructions(prepare: Prepare, records: int) -> int:
    """Instructions of one run, and of what little Python calls it.

    Raises:
        PermissionError: this process may not trace its child.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})  # two processes that take turns by the step do so best on one core
    child = os.fork()
    if child == 0:
        _run_traced(prepare, records)
    try:
        os.waitpid(child, os.WUNTRACED)
        status = np.zeros(1, np.int64)
        steps = _step_until_stopped(child, address_of(status))
        if steps == _FAILED:
            raise PermissionError("ptrace(2) of a child is refused here: no instructions can be counted")
        return steps
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.sched_setaffinity(0, before)


def prepared(directory: Path) -> dict[str, tuple[Prepare, int]]:
    """What is counted, for how many records: so many that 300 instructions of Python's more or less say little."""
    ground = WriterGround(
        directory / "writer",
        commit_log_file_bytes=1 << 20,
        submit_ring_bytes=1 << 20,
        completion_ring_bytes=1 << 16,
    )
    return {
        "crc32 of 1 KiB": (_checksums, 16),
        "ring: offer and take 128 B": (_ring_passages, 64),
        "writer: commit 128 B": (_commits(ground), 32),
        "dispatcher: entry of a record": (_dispatch(directory / "dispatcher"), 16),
        "indexer: key of a record": (_keys(directory / "indexer"), 16),
        "histogram: record": (_histogram_records, 64),
        "worker and writer: send, JSON": (_sends(directory / "json", Encoding.JSON), 4),
        "worker and writer: send, binary": (_sends(directory / "binary", Encoding.ROCKETMQ), 4),
    }


def _checksums(count: int) -> Callable[[], Any]:
    content = np.arange(1024, dtype=np.uint8)
    return lambda: _checksum_often(address_of(content), len(content), count)


def _ring_passages(count: int) -> Callable[[], Any]:
    memory = np.zeros(spsc.ring_bytes(1 << 16), np.int64)
    spsc.initialise(address_of(memory), 1 << 16)
    return lambda: _pass_through(address_of(memory), BODY_BYTES, count)


def _histogram_records(count: int) -> Callable[[], Any]:
    values, histogram = np.arange(1000, 1000 + count), Histogram()
    return lambda: record_all(histogram.counts, values)


def _commits(ground: WriterGround) -> Prepare:
    segment = ground.log.create(0)
    ring, completions = ground.memory.place("submit/0"), ground.memory.place("completions/0")
    encoded = encode([message(body=bytes(BODY_BYTES), properties=PROPERTIES)])
    payload = struct.pack("<iiii", 0, 1, len(encoded), 0) + encoded

    def prepare(count: int) -> Callable[[], Any]:
        ground.memory.watermarks.begin(0, 0, 0, 0)
        spsc.give_back(ring, spsc.produced_position(ring))
        spsc.give_back(completions, spsc.produced_position(completions))
        for _ in range(count):
            ground.submit_bytes(payload)

        def run() -> None:
            places = ground.places(segment)  # here, since it is the segment that keeps the mapping
            assert commit.commit(places, ground.sender(), 1, 1 << 20) == commit.COMMITTED

        return run

    return prepare


def _records(directory: Path) -> tuple[SmallStore, list[int]]:
    """A log, and where each record of it begins, its end included."""
    store = SmallStore(directory, log_file_bytes=1 << 20, queue_file_bytes=1 << 16)
    positions = [
        store.append(b"TopicTest", 0, body=bytes(BODY_BYTES), properties=PROPERTIES)[0]
        for _ in range(RECORDS_MAX)
    ]
    return store, [*positions, store.end]


def _dispatch(directory: Path) -> Prepare:
    store, ends = _records(directory)
    store.add_queue(b"TopicTest", 0)

    def prepare(count: int) -> Callable[[], Any]:
        store.queues.max[:] = 0
        store.queues.end_position[:] = 0
        return lambda: store.dispatch.step(0, ends[count], 1 << 40)

    return prepare


def _keys(directory: Path) -> Prepare:
    store, ends = _records(directory)
    shape = KeyIndexShape(slots=1000, entries=10_000)

    def prepare(count: int) -> Callable[[], Any]:
        shutil.rmtree(directory / "index", ignore_errors=True)
        files = KeyFiles(directory / "index", shape)
        files.make_room(0)
        build = KeyBuild(store.log, files)
        return lambda: build.step(0, ends[count], 1 << 40, 0)

    return prepare


def _sends(directory: Path, encoding: Encoding) -> Prepare:
    """From a frame to its record in the log and its answer, without the sockets."""
    sender = FastSender(directory, completion_ring_bytes=1 << 16)
    request = Command(code=310, opaque=123_456, fields=FIELDS, body=BODY, encoding=encoding)
    frame = Placed(command.encode(request))

    def prepare(count: int) -> Callable[[], Any]:
        def run() -> None:
            assert serve_often(sender.desk, sender.row, frame.address, frame.size_bytes, count) == count
            sender.bare_writer.turn()
            assert answer_all(sender.desk, sender.row) == count

        return run

    return prepare


def _run_traced(prepare: Prepare, records: int) -> None:
    run = prepare(records)
    gc.disable()
    ctypes.CDLL(None).ptrace(_TRACE_ME, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    run()
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)


@kernel
def _step_until_stopped(child: int, status: int) -> int:
    """Let a stopped child go step by step until it stops by itself; return how many those were."""
    steps = 0
    while True:
        if _ptrace(_SINGLE_STEP, child, 0, 0) != 0 or _waitpid(child, status, 0) != child:
            return _FAILED
        reason = load_native_i32(status)
        if reason & 0xFF != _STOPPED:
            return _FAILED
        if (reason >> 8) & 0xFF != _TRAPPED:
            return steps
        steps += 1


@kernel
def _checksum_often(address: int, size_bytes: int, count: int) -> int:
    found = 0
    for _ in range(count):
        found ^= crc32(address, size_bytes)
    return found


@kernel
def _pass_through(ring: int, payload_bytes: int, count: int) -> None:
    for number in range(count):
        position = spsc.claim(ring, payload_bytes)
        spsc.publish(ring, spsc.fill_head(ring, position, payload_bytes, submission.SUBMISSION, number))
        letter = spsc.peek(ring, spsc.consumed_position(ring))
        spsc.give_back(ring, letter.position + spsc.space_of(letter.size_bytes))


def main() -> None:
    """Print the counts."""
    with tempfile.TemporaryDirectory() as folder:
        for name, count in count_all(Path(folder)).items():
            print(f"{count:10.1f}  {name}", flush=True)


if __name__ == "__main__":
    main()
