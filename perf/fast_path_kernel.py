"""What does a message cost in the kernels of the fast path, from its frame to its answer?

Workload: SEND_MESSAGE_V2 as the Java client writes it, 128 B of body, four properties, in JSON and in the binary
encoding, without sockets: `parse` reads the header; `submit` parses and finishes the record in the submit ring (the
writer's commit is not timed); `all` submits, commits and makes the answer, 64 messages at a time. Everything is in the
cache and one thread does it all. Unit: ns a message.

Peers: `orjson.loads` of the same header, which is what the Python path begins with; `memcpy` of the finished record.

    pytest perf/fast_path_kernel.py
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest

from perf.harness import OURS, Contest, Figures
from shmq.fastpath import connections, desk
from shmq.fastpath.completing import collect
from shmq.fastpath.outcomes import DONE
from shmq.fastpath.parsing import parse
from shmq.fastpath.serve import serve
from shmq.jit import compile_kernels, kernel
from shmq.memory.block import address_of, copy
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.wire.command import Command, Encoding, encode
from tests.support.fast_senders import FastSender
from tests.support.frames import Placed

BATCH = 64
TURNS = 2000
BODY = bytes(range(128))
PROPERTIES = (
    "KEYS\x01order-4711\x02UNIQ_KEY\x017F0000010001AABBCCDD000000000001\x02WAIT\x01true\x02TAGS\x01TagA\x02"
)
FIELDS = {
    "a": "benchmark_producer",
    "b": "TopicTest",
    "c": "TBW102",
    "d": "4",
    "e": "1",
    "f": "0",
    "g": "1700000000000",
    "h": "0",
    "i": PROPERTIES,
    "j": "0",
    "k": "false",
    "m": "false",
    "n": "broker-a",
}
LOG_FILE_BYTES = 1 << 28


@pytest.fixture(params=list(Encoding), ids=lambda encoding: encoding.name.lower())
def frame(request: pytest.FixtureRequest) -> bytes:
    asked = Command(code=310, opaque=123_456, fields=FIELDS, body=BODY, encoding=request.param)
    return encode(asked)


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[FastSender]:
    for _ in compile_kernels():
        pass
    made = FastSender(tmp_path, commit_log_file_bytes=LOG_FILE_BYTES, completion_ring_bytes=1 << 16)
    made.bare_writer.segment.populate(0, LOG_FILE_BYTES, is_single=False)
    yield made
    made.bare_writer.segment.close()
    made.bare_writer.segment.path.unlink()


def test_a_send(contest: Contest, sender: FastSender, frame: bytes) -> None:
    placed = Placed(frame)
    header = frame[8 : 8 + int.from_bytes(frame[5:8])]
    size = sender.record_bytes(frame)
    source = np.zeros(size, dtype=np.uint8)
    target = np.zeros(size + 64, dtype=np.uint8)
    writer = sender.bare_writer

    def ours() -> Figures:
        begin_ns = time.perf_counter_ns()
        parsed = parse_often(sender.word(desk.REQUEST), placed.address, placed.size_bytes, BATCH * TURNS)
        parse_ns = time.perf_counter_ns() - begin_ns
        assert parsed == BATCH * TURNS
        submit_ns = all_ns = 0
        for _ in range(TURNS):
            begin_ns = time.perf_counter_ns()
            served = serve_often(sender.desk, sender.row, placed.address, placed.size_bytes, BATCH)
            submit_ns += time.perf_counter_ns() - begin_ns
            writer.turn()
            answered = answer_all(sender.desk, sender.row)
            all_ns += time.perf_counter_ns() - begin_ns
            assert (served, answered) == (BATCH, BATCH)
        return {
            "parse ns": parse_ns / (BATCH * TURNS),
            "submit ns": submit_ns / (BATCH * TURNS),
            "all ns": all_ns / (BATCH * TURNS),
        }

    def load_with_orjson() -> Figures:
        begin_ns = time.perf_counter_ns()
        for _ in range(BATCH * TURNS):
            orjson.loads(header)
        return {"parse ns": (time.perf_counter_ns() - begin_ns) / (BATCH * TURNS)}

    def copy_record() -> Figures:
        begin_ns = time.perf_counter_ns()
        copy_often(address_of(target), address_of(source), size, BATCH * TURNS)
        return {"submit ns": (time.perf_counter_ns() - begin_ns) / (BATCH * TURNS)}

    contestants = {"memcpy": copy_record, OURS: ours}
    if header.startswith(b"{"):
        contestants["orjson.loads"] = load_with_orjson
    contest.run(f"fast path of a send, header of {len(header)} B", contestants)


@kernel
def parse_often(request: int, frame: int, frame_bytes: int, count: int) -> int:
    """Read the same frame so often; return how often it could be."""
    parsed = 0
    for _ in range(count):
        if parse(request, frame, frame_bytes):
            parsed += 1
    return parsed


@kernel
def serve_often(at_desk: int, row: int, frame: int, frame_bytes: int, count: int) -> int:
    """Serve the same frame so often; return how often it was."""
    served = 0
    for _ in range(count):
        if serve(at_desk, row, frame, frame_bytes) == DONE:
            served += 1
    return served


@kernel
def answer_all(at_desk: int, row: int) -> int:
    """Make the answers of all that is completed, and forget them; return how many there were."""
    answered = collect(at_desk)
    store_native_i64(row + connections.OUTPUT_END, load_native_i64(row + connections.OUTPUT_BEGIN))
    return answered


@kernel
def copy_often(target: int, source: int, size: int, count: int) -> None:
    """Copy a record so often, never to where the last one went."""
    for index in range(count):
        copy(target + (index & 63), source, size)
