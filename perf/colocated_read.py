"""How fast can a colocated consumer that has fallen behind read?

Workload: 2 million messages of 128 B in 4 queues of one topic, read from the beginning by one `LocalConsumer` in
batches of 8,192. `record batches`: a row of numbers for each message, which says where its body lies in the mapped
log. `bodies as views`: also a memoryview of each body, as a loop in Python would take them. Nothing else works; the broker's
processes take no part in a read. Unit: messages a second.
Machine: see the sheet's first lines.

Beside: memcpy of records as the log has them.
"""

import time
from contextlib import ExitStack
from typing import Final

import numpy as np
import pytest

from perf.conftest import Arena
from perf.contestants import start_shmq
from perf.harness import OURS, Contest, Figures
from perf.limits import copy_bytes_per_s
from perf.scaling_model import RECORD_OVERHEAD_BYTES
from shmq.local.consumer import LocalConsumer
from shmq.local.producer import LocalProducer

MESSAGES: Final = 2_000_000
BODY_BYTES: Final = 128
QUEUES: Final = 4
TOPIC: Final = "perf"
BATCH_MESSAGES: Final = 8192
ROWS: Final = 2000
FLUSH_TIMEOUT_S: Final = 120.0
READINGS: Final = {"record batches": "P6", "bodies as views": ""}


@pytest.mark.parametrize("reading", READINGS)
def test_catching_up(contest: Contest, arena: Arena, kept: ExitStack, reading: str) -> None:
    server = arena.enter(start_shmq)
    assert server.broker is not None
    server.prepare(server.address, [TOPIC], QUEUES)
    messages = fill(server.broker.broker_name, contest.options.messages(MESSAGES))
    consumer = kept.enter_context(
        LocalConsumer(server.broker.broker_name, "perf-read", TOPIC, from_="earliest")
    )
    record_bytes = BODY_BYTES + RECORD_OVERHEAD_BYTES

    def read() -> Figures:
        return {"messages/s": messages / read_all(consumer, messages, looks=READINGS[reading] == "")}

    contest.run(
        f"catch up, colocated, 128 B, {reading}",
        {"memcpy": lambda: {"messages/s": copy_bytes_per_s(record_bytes) / record_bytes}, OURS: read},
        durability=server.durability,
        target=READINGS[reading],
    )


def fill(broker: str, messages: int) -> int:
    """Send so many messages, in whole arrays; return how many those are."""
    rows = np.zeros((min(ROWS, messages), BODY_BYTES), dtype=np.uint8)
    with LocalProducer(broker, TOPIC) as producer:
        for _ in range(messages // len(rows)):
            producer.send_array(rows)
        producer.flush("dispatched", FLUSH_TIMEOUT_S)
    return messages // len(rows) * len(rows)


def read_all(consumer: LocalConsumer, messages: int, *, looks: bool) -> float:
    """Read everything from the beginning; return the seconds that it took."""
    for queue_id in consumer.queues:
        consumer.seek(queue_id, 0)
    left, seen_bytes = messages, 0
    begin_ns = time.perf_counter_ns()
    while left > 0:
        batch = consumer.poll(BATCH_MESSAGES)
        assert len(batch) > 0, "less is there than was sent"
        left -= len(batch)
        seen_bytes += sum(map(len, batch.bodies())) if looks else int(batch.body_sizes.sum())
    elapsed_ns = time.perf_counter_ns() - begin_ns
    assert seen_bytes == messages * BODY_BYTES
    return elapsed_ns / 1e9
