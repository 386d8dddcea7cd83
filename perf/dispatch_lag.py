"""How far do the consume queues, and the key index, lag behind the log, while messages come as fast as they go?

Workload: 5 million messages of 128 B. By `send_array` from one process, to 1 and to 8 topics of 4 queues: they have no
keys, so of these the queues are looked at. And over TCP, 8 connections × 64 in flight, each with a unique id, which is
a key: of these the index is looked at as well. Every millisecond another process reads how far the log, the queues and
the index have come. The lag at such a time is the age of the oldest record that has no entry yet: how long ago the log
was first seen to reach beyond `dispatched` or `indexed`. Unit: milliseconds; messages a second beside it.
Machine: see the sheet's first lines; the sampler and the load share its cores with the broker.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

import numpy as np
import pytest

from perf.colocated_pair import clock, pair
from perf.colocated_shmq import SEND_ARRAY, ShmqCarrier
from perf.conftest import Arena
from perf.contestants import Contestant, start_shmq
from perf.harness import OURS, Contest, Figures, Measured
from perf.lag import lags_of
from perf.sending import Work, sender
from shmq.local.session import Session
from shmq.store.watermarks import Watermarks

MESSAGES: Final = 5_000_000
BODY_BYTES: Final = 128
QUEUES: Final = 4
SECONDS_MAX: Final = 60.0
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
    marks = watermarks_of(server, kept)
    messages = contest.options.messages(MESSAGES)

    def take_turn() -> Figures:
        with sampling(lambda: (marks.appended, marks.dispatched)) as samples:
            figures = made.send(messages).figures
        return {**figures, **lag_figures("lag", samples)}

    question = f"dispatch behind append, 128 B, {topics} topics"
    contest.run(question, {OURS: take_turn}, durability=server.durability)


def test_lag_of_the_key_index(contest: Contest, arena: Arena, kept: ExitStack) -> None:
    server = arena.enter(start_shmq)
    work = Work(8, 64, {"body_bytes": BODY_BYTES}, messages_max=contest.options.messages(MESSAGES))
    send = sender(server, arena.load(), work, replace(contest.options, seconds=SECONDS_MAX))
    marks = watermarks_of(server, kept)

    def take_turn() -> Figures:
        with sampling(lambda: (marks.appended, marks.dispatched, marks.indexed)) as samples:
            sent = send()
        assert isinstance(sent, Measured)
        of_queues, of_keys = ([(*row[:2], row[column]) for row in samples] for column in (2, 3))
        return {**sent.figures, **lag_figures("lag", of_queues), **lag_figures("index lag", of_keys)}

    contest.run("index behind append, 128 B, 8 × 64", {OURS: take_turn}, durability=server.durability)


def watermarks_of(server: Contestant, kept: ExitStack) -> Watermarks:
    """The watermarks of a broker of ours."""
    assert server.broker is not None
    session = kept.enter_context(Session(server.broker.broker_name, what="sampler"))
    return session.attachment.memory.watermarks


@contextmanager
def sampling(look: Callable[[], tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """While the block runs, a row every millisecond: the time, the log's end, and how far others have come."""
    samples: list[tuple[int, ...]] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_S):
            _, *followers = look()
            samples.append(
                (clock(), look()[0], *followers)
            )  # the log's end last: it is not behind the others

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def lag_figures(name: str, samples: Sequence[tuple[int, ...]]) -> Figures:
    """Percentiles of a lag."""
    lags_ms = lags_of(np.array(samples, dtype=np.int64)) / _NS_PER_MS
    return {f"{name} p{part:g} ms": float(np.percentile(lags_ms, part)) for part in (50, 99, 100)}
