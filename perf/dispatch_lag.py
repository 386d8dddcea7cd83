"""How far do the consume queues lag behind the log, while messages come as fast as they go?

Workload: 5 million messages of 128 B by `send_array` from one process, to 1 and to 8 topics of 4 queues. Every
millisecond another process reads how far the log and the queues have come. The lag at such a time is the age of the
oldest record that has no entry yet: how long ago the log was first seen to reach beyond `dispatched`. Unit:
milliseconds; messages a second, until all are dispatched, beside it.
Machine: see the sheet's first lines; the sampler and the load share its cores with the broker.
"""

import threading
import time
from contextlib import ExitStack
from typing import Final

import numpy as np
import pytest

from perf.colocated_pair import Pair, clock, pair
from perf.colocated_shmq import SEND_ARRAY, ShmqCarrier
from perf.conftest import Arena
from perf.contestants import start_shmq
from perf.harness import OURS, Contest, Figures
from perf.lag import lags_of
from shmq.local.session import Session
from shmq.store.watermarks import Watermarks

MESSAGES: Final = 5_000_000
BODY_BYTES: Final = 128
QUEUES: Final = 4
SAMPLE_S: Final = 0.001
_NS_PER_MS: Final = 1_000_000


@pytest.mark.parametrize("topics", [1, 8])
def test_lag(contest: Contest, arena: Arena, kept: ExitStack, topics: int) -> None:
    server = arena.enter(start_shmq)
    assert server.broker is not None
    names = tuple(f"perf-lag-{number}" for number in range(topics))
    server.prepare(server.address, names, QUEUES)
    carrier = ShmqCarrier(server.broker.broker_name, names, BODY_BYTES, SEND_ARRAY)
    made = kept.enter_context(pair(carrier, consumes=False))
    session = kept.enter_context(Session(server.broker.broker_name, what="sampler"))
    marks = session.attachment.memory.watermarks
    messages = contest.options.messages(MESSAGES)
    contest.run(
        f"dispatch behind append, 128 B, {topics} topics",
        {OURS: lambda: send_and_sample(made, marks, messages)},
        durability=server.durability,
    )


def send_and_sample(made: Pair, marks: Watermarks, messages: int) -> Figures:
    """Send so many; return the rate, and what the lag was meanwhile."""
    samples: list[tuple[int, int, int]] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_S):
            dispatched = marks.dispatched  # first: what is appended between the two is no lag
            samples.append((clock(), marks.appended, dispatched))

    sampler = threading.Thread(target=sample)
    sampler.start()
    begin = time.process_time()
    try:
        figures = made.send(messages).figures
    finally:
        ended.set()
        sampler.join()
    lags_ms = lags_of(np.array(samples, dtype=np.int64)) / _NS_PER_MS
    percentiles = {f"lag p{part:g} ms": float(np.percentile(lags_ms, part)) for part in (50, 99, 100)}
    return {**figures, **percentiles, "sampler CPU s": time.process_time() - begin}
