"""How long does a colocated producer wait until its message is stored, and how long is it on its way to a consumer?

Workload: bodies of 128 B by `send_wait` at a fixed rate, each at its planned time; the latency counts from that time
until the acknowledgement is there, in Python on both sides of the call. If one takes longer than the interval, all that
were due meanwhile count from *their* times: nothing is left out. `spinning`: 100,000 a second, the commit writer and
the producer look without pause, each on a core of its own if there are two; the dispatcher yields, since waking it
for each message would cost the writer more than the message does. `asleep`: 200 a second, both sleep on a
futex in between. Unit: microseconds.
Machine: see the sheet's first lines. p99.9 is the host's where it has other work.

`end to end`: the producer sends by `send()` at a fixed rate and waits for nothing; the consumer, a process of its own,
takes the time when it has the bytes, and the peers of `perf/colocated_rate.py` do the same. Both ends let others have
the core while they wait. A peer that cannot keep up at a rate shows the queue that builds up.

Beside: a flag's way to another core and back, and two futex wake-ups (there, and back), of which the latency consists
where both sleep.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

import pytest

from perf import limits
from perf.colocated_names import NOTHING_KEPT
from perf.colocated_pair import Carrier, Pair, PeerCarrier, pair
from perf.colocated_peers import PEERS
from perf.colocated_rate import our_turn
from perf.colocated_shmq import ShmqCarrier
from perf.conftest import Arena
from perf.contestants import start_shmq
from perf.harness import OURS, Contest, Figures, Measured, Turn
from perf.histogram import Histogram
from perf.probe import round_trip_ns
from shmq.local.waiting import Wait

BODY_BYTES: Final = 128
PING_PONG: Final = "flag to a core and back"
FUTEX: Final = "two futex wake-ups"
EVENTFD: Final = "two eventfd wake-ups"
SPINNING_RATE: Final = 100_000
SLEEPING_RATE: Final = 200
MESSAGES: Final = {SPINNING_RATE: 300_000, SLEEPING_RATE: 1_000}
WARM_UP_MESSAGES: Final = 5_000
END_TO_END_RATES: Final = (10_000, 100_000)
END_TO_END_S: Final = 3
TOPIC: Final = "perf"
QUEUES: Final = 4


@dataclass(frozen=True)
class Pace:
    """How both ends wait, and how often there is something to wait for."""

    name: str
    rate: int
    wait: str
    settings: dict[str, str | int]


SPINNING: Final = Pace(
    "spinning",
    SPINNING_RATE,
    Wait.SPIN,
    {"writer_wait_strategy": "busy_spin", "network_workers": 1},
)
ASLEEP: Final = Pace("asleep", SLEEPING_RATE, Wait.FUTEX, {"network_workers": 1})


def test_acknowledged_spinning(contest: Contest, arena: Arena, kept: ExitStack) -> None:
    beside: dict[str, Turn] = {PING_PONG: lambda: {"p50 µs": round_trip_ns() / 1000}}
    contest_acknowledged(contest, arena, kept, SPINNING, beside)


def test_acknowledged_asleep(contest: Contest, arena: Arena, kept: ExitStack) -> None:
    beside: dict[str, Turn] = {
        FUTEX: lambda: bare(limits.futex_round_trip()),
        EVENTFD: lambda: bare(limits.eventfd_round_trip()),
    }
    contest_acknowledged(contest, arena, kept, ASLEEP, beside)


@pytest.mark.parametrize("rate", END_TO_END_RATES)
def test_end_to_end(contest: Contest, arena: Arena, kept: ExitStack, rate: int) -> None:
    server = arena.enter(partial(start_shmq, settings={"network_workers": 1}))
    assert server.broker is not None
    server.prepare(server.address, [TOPIC], QUEUES)
    messages = contest.options.messages(rate * END_TO_END_S)
    carriers: dict[str, Carrier] = {kind.name: PeerCarrier(kind(BODY_BYTES)) for kind in PEERS}
    carriers[OURS] = ShmqCarrier(server.broker.broker_name, (TOPIC,), BODY_BYTES, wait=Wait.YIELD)
    turns: dict[str, Turn] = {
        name: partial(kept.enter_context(pair(carrier)).paced, rate, messages)
        for name, carrier in carriers.items()
    }
    promises = {**dict.fromkeys(turns, NOTHING_KEPT), OURS: server.durability}
    contest.run(f"colocated, end to end, {rate:,}/s", turns, durability=promises)


def contest_acknowledged(
    contest: Contest, arena: Arena, kept: ExitStack, pace: Pace, beside: dict[str, Turn]
) -> None:
    """One question: the limits, and shmq."""
    server = arena.enter(partial(start_shmq, settings=pace.settings))
    assert server.broker is not None
    carrier = ShmqCarrier(server.broker.broker_name, (TOPIC,), BODY_BYTES, wait=pace.wait)
    made: Pair = kept.enter_context(pair(carrier, consumes=False))
    our_turn(made, server, contest.options.messages(WARM_UP_MESSAGES))
    messages = contest.options.messages(MESSAGES[pace.rate])
    contest.run(
        f"colocated, acknowledged, {pace.name}, {pace.rate:,}/s",
        {**beside, OURS: lambda: made.acknowledged(pace.rate, messages)},
        durability={OURS: server.durability},
        target="P5",
    )


def bare(latencies: Histogram) -> Measured:
    """A limit beside the latencies."""
    figures: Figures = latencies.percentiles_us()
    return Measured(figures, {"bare": latencies})
