"""What does the fast path pay for a pull, beside a bare copy of the same bytes?

Workload: 200,000 records of 314 bytes (128 of body) in one queue of one mapped log file. One kernel call serves so many
frames of the Java client, one after the other, as the reactor does: parse, checks, read, answer into the connection's
output, which is emptied each time. `1` and `32` are the messages of a pull; `catch-up` walks through the whole queue by
pulls of 32, each frame written anew. `copy` copies the bytes of 32 messages from the same places of the log. `look`
is one look, after `dispatched` has moved, at pulls that wait for so many queues, none of which has grown. Unit: nanoseconds a pull, or a look.

    pytest perf/pull_kernel.py

Compare within a run: `extra_info` of the JSON holds each as a multiple of `copy`.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from shmq.fastpath import connections, reading
from shmq.fastpath import desk as desk_words
from shmq.fastpath.outcomes import DONE
from shmq.fastpath.parked import forget_row, look_at_parked, parked_count
from shmq.fastpath.parked_rows import ParkedRows, Wait, park
from shmq.fastpath.request import SPARE_BYTES
from shmq.fastpath.serve import serve
from shmq.fastpath.tags import ALL
from shmq.jit import kernel
from shmq.memory.block import address_of, copy
from shmq.memory.endian import load_native_i64, store_native_i64, store_u8
from shmq.memory.words import store_word
from shmq.store.queue_table import format_queue_table, queue_table_bytes
from shmq.store.watermarks import DISPATCHED
from shmq.wire.command import Encoding
from shmq.wire.heartbeat_bodies import SubscriptionData
from tests.support.consumer_frames import pull_frame
from tests.support.fast_consumers import FastBroker

RECORDS = 200_000
CALLS = 2000
PROPERTIES = b"UNIQ_KEY\x017F0000010001AABBCCDD000000000001\x02WAIT\x01true\x02CLUSTER\x01DefaultCluster\x02TAGS\x01TagA\x02"
LOOKS = 200


@kernel
def _serve_many(desk: int, row: int, frame: int, frame_bytes: int, count: int) -> int:
    """Serve one frame so many times; return how many were done."""
    done = 0
    for _ in range(count):
        done += 1 - serve(desk, row, frame, frame_bytes)
        _empty(row)
    return done


@kernel
def _catch_up(desk: int, row: int, frame: int, frame_bytes: int, digits: int) -> int:
    """Pull from offset 0 on until there is no more; return how many messages came."""
    offset = 0
    while True:
        rest = offset
        for place in range(6):
            store_u8(frame + digits + 5 - place, 0x30 + rest % 10)
            rest //= 10
        if serve(desk, row, frame, frame_bytes) != 0 or connections.output_bytes(row) < 1000:
            return offset
        offset = load_native_i64(load_native_i64(desk + desk_words.READING) + reading.NEXT_OFFSET)
        _empty(row)


@kernel
def _copy_many(log: int, target: int, size_bytes: int, count: int) -> None:
    for index in range(count):
        copy(target, log + size_bytes * index, size_bytes)


@kernel
def _empty(row: int) -> None:
    store_native_i64(row + connections.OUTPUT_BEGIN, 0)
    store_native_i64(row + connections.OUTPUT_END, 0)


@pytest.fixture(scope="module")
def broker() -> Iterator[FastBroker]:
    with tempfile.TemporaryDirectory() as folder:
        made = FastBroker(Path(folder), log_file_bytes=1 << 27, queue_file_bytes=6_000_000)
        made.add_topic("T", 1)
        made.add_group("G")
        made.subscribe("G", SubscriptionData("T", version=5))
        fill(made)
        made.serve_slow(pull_frame())
        yield made
        made.close()


def fill(broker: FastBroker) -> None:
    """Copies of one record, patched for their places."""
    store = broker.store
    store.append(b"T", 0, body=b"b" * 128, properties=PROPERTIES)
    size_bytes = store.end
    records = np.tile(np.frombuffer(store.records[0][-1], dtype=np.uint8), (RECORDS, 1))
    numbers = np.arange(RECORDS, dtype=">i8")
    records[:, 20:28] = numbers.view(np.uint8).reshape(-1, 8)
    records[:, 28:36] = (numbers * size_bytes).astype(">i8").view(np.uint8).reshape(-1, 8)
    store.write(0, records.tobytes())
    store.end = size_bytes * RECORDS
    broker.dispatch()
    assert broker.store.queues.max[0] == RECORDS


def measured(benchmark: BenchmarkFixture, call: Callable[[], Any], calls: int) -> float:
    """The median nanoseconds of each of the calls that one run makes."""
    benchmark.pedantic(call, rounds=15, warmup_rounds=2)
    assert benchmark.stats is not None, "it has run"
    nanoseconds = float(benchmark.stats.stats.median) * 1e9 / calls
    benchmark.extra_info["ns"] = round(nanoseconds)
    return nanoseconds


def copy_ns(broker: FastBroker, count: int) -> float:
    """What it takes to copy the bytes of so many messages."""
    record_bytes = broker.store.end // RECORDS
    log, _ = broker.replica.reader.log.address_of(0)
    target = np.zeros(record_bytes * 32, dtype=np.uint8)
    turns = []
    for _ in range(15):
        begin = time.perf_counter_ns()
        _copy_many(log, address_of(target), record_bytes * count, CALLS)
        turns.append((time.perf_counter_ns() - begin) / CALLS)
    return float(np.median(turns))


@pytest.mark.parametrize("encoding", list(Encoding), ids=lambda encoding: encoding.name)
@pytest.mark.parametrize("count", [1, 32])
def test_a_pull(benchmark: BenchmarkFixture, broker: FastBroker, count: int, encoding: Encoding) -> None:
    frame = np.frombuffer(
        pull_frame(1000, encoding=encoding, maxMsgNums=count) + bytes(SPARE_BYTES), dtype=np.uint8
    )
    size_bytes = len(frame) - SPARE_BYTES
    assert broker.serve_fast(frame[:size_bytes].tobytes())[0] == DONE

    def call() -> None:
        assert _serve_many(broker.desk, broker.row, address_of(frame), size_bytes, CALLS) == CALLS

    nanoseconds = measured(benchmark, call, CALLS)
    benchmark.extra_info["times_copy"] = round(nanoseconds / copy_ns(broker, count), 2)


def test_catch_up(benchmark: BenchmarkFixture, broker: FastBroker) -> None:
    frame = np.frombuffer(pull_frame(123456) + bytes(SPARE_BYTES), dtype=np.uint8).copy()
    size_bytes = len(frame) - SPARE_BYTES
    digits = frame.tobytes().index(b"123456")

    def call() -> None:
        assert _catch_up(broker.desk, broker.row, address_of(frame), size_bytes, digits) == RECORDS

    nanoseconds = measured(benchmark, call, RECORDS // 32)
    benchmark.extra_info["times_copy"] = round(nanoseconds / copy_ns(broker, 32), 2)
    benchmark.extra_info["million_messages_a_second"] = round(32e3 / nanoseconds, 1)


@pytest.mark.parametrize("queues", [8, 1000, 50_000])
def test_a_look_at_what_waits(benchmark: BenchmarkFixture, queues: int) -> None:
    memory = np.zeros(queue_table_bytes(queues), dtype=np.uint8)
    format_queue_table(memory, queues)
    desk, row, marks = (np.zeros(1024, dtype=np.uint8) for _ in range(3))
    at_desk, at_row = address_of(desk), address_of(row)
    parked = ParkedRows(at_desk, queues, queues)
    store_native_i64(at_desk + desk_words.QUEUES, address_of(memory))
    store_native_i64(at_desk + desk_words.WATERMARKS, address_of(marks))
    frame = np.frombuffer(pull_frame(), dtype=np.uint8)
    for slot in range(queues):
        assert park(at_desk, at_row, Wait(slot, 0, 10**9, 0, ALL), address_of(frame), len(frame)) != 0

    def call() -> None:
        for moved in range(LOOKS):
            store_word(address_of(marks) + DISPATCHED, moved + 1)
            look_at_parked(at_desk)

    measured(benchmark, call, LOOKS)
    assert parked_count(at_desk) == queues
    forget_row(at_desk, at_row)
    assert parked_count(at_desk) == 0
    del parked  # it had to outlive the calls
