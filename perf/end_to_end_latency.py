"""How long do an answer and a delivery take at a fixed rate?

Workload: an open loop (`perf/load/open_loop.py`): messages of 128 bytes over the 4 queues of one topic, one connection
a queue, each sent at its planned time whatever was answered; and a consumer of each queue that long-polls it on a
connection of its own. Rates: 1,000, 10,000 and 100,000 a second. Unit: microseconds from the *planned* time of the
send to the answer (`answered`) and until a consumer holds the bytes (`received`), so no coordinated omission: a broker
that stalls pays for every message that was due meanwhile, and the load's own lateness (`sent late`) is in both.
A contestant that cannot take a rate shows it: `messages/s` falls below it, latencies grow with the length of the turn,
or it refuses messages because it is busy. Machine: see the sheet's first lines.

Peer: RocketMQ's own broker.
"""

import pytest

from perf.conftest import Arena
from perf.contestants import Contestant, start_shmq
from perf.harness import Contest, Generator, Measured, Options, Turn, cpu_seconds, memory
from perf.histogram import Histogram

BODY_BYTES = 128
QUEUES = 4
RATES = (1_000, 10_000, 100_000)
WARM_UP_TURNS = 2


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{rate}-a-second")
def test_producer_to_consumer(contest: Contest, arena: Arena, rate: int) -> None:
    servers = [*arena.enter_peers("java"), arena.enter(start_shmq)]
    contest.run(
        f"end to end, 128 B, {rate:,}/s",
        {server.name: both_ends(server, arena.load(), rate, contest.options) for server in servers},
        warm_up_turns=WARM_UP_TURNS,
        durability={server.name: server.durability for server in servers},
    )


def both_ends(server: Contestant, load: Generator, rate: int, options: Options) -> Turn:
    """Make the topic; return what sends through it and listens."""
    topic = f"perf-latency-{rate}"
    server.prepare(server.address, [topic], QUEUES)

    def take_turn() -> Measured:
        cpu_begin = cpu_seconds(server.processes())
        paced = load.ask(
            "pace",
            address=server.address,
            topic=topic,
            queues=QUEUES,
            rate=rate,
            messages=max(QUEUES, int(rate * options.seconds)),
            body_bytes=BODY_BYTES,
            is_consumed=True,
        )
        cpu_server = cpu_seconds(server.processes()) - cpu_begin
        found = {name: Histogram.from_json(paced[name]) for name in ("answered", "received", "late")}
        figures = {
            "messages/s": paced["messages"] / paced["seconds"],
            **found["received"].percentiles_us("received "),
            **found["answered"].percentiles_us("answered "),
            **found["late"].percentiles_us("sent late "),
            "refused a second": paced["refused"] / paced["seconds"],
            "messages a pull": paced["messages"] / paced["pulls"],
            "CPU s/million messages": cpu_server / paced["messages"] * 1e6,
            "load CPU s/million messages": paced["cpu_seconds"] / paced["messages"] * 1e6,
            **memory(server.processes()),
        }
        return Measured(figures, found)

    return take_turn
