"""How many messages a second can a consumer that has fallen behind read over TCP?

Workload: messages of 128 bytes (with the properties that clients set), sent beforehand over the 4 queues of one
topic; then read from offset 0 to the end by PULL_MESSAGE with a subscription to `*`, 32 messages a pull as RocketMQ's
consumers ask, 4 pulls in flight on each of 4 connections, by one compiled process (`perf/load/catch_up.py`). It walks
the records of each answer and checks that their queue offsets leave no gap. Every contestant has the same number of
messages, and reads them from the page cache. Units: messages a second; microseconds from a pull to its answer; CPU
seconds of the server's process tree per million messages, and of the load.
Machine: see the sheet's first lines; load and servers share its cores.

Peer: RocketMQ's own broker, after two turns to warm up its compiler.
"""

import time

from perf.conftest import Arena
from perf.contestants import Contestant, start_shmq
from perf.harness import Contest, Generator, Measured, Turn, cpu_seconds, memory
from perf.histogram import Histogram
from perf.load.greetings import ends_of
from perf.sending import Work, connect

TOPIC = "perf-pull"
BODY_BYTES = 128
QUEUES = 4
CONNECTIONS = 4
WINDOW = 4
MESSAGES = 2_000_000
WARM_UP_TURNS = 2

_FILL_SECONDS_MAX = 600.0
_DISPATCH_SECONDS_MAX = 60.0


def test_catching_up(contest: Contest, arena: Arena) -> None:
    messages = contest.options.messages(MESSAGES)
    servers = [*arena.enter_peers("java"), arena.enter(start_shmq)]
    contest.run(
        f"catch up over TCP, 128 B, {CONNECTIONS} × {WINDOW}",
        {server.name: reader(server, arena.load(), messages) for server in servers},
        warm_up_turns=WARM_UP_TURNS,
        durability={server.name: server.durability for server in servers},
        target="P6",
    )


def reader(server: Contestant, load: Generator, messages: int) -> Turn:
    """Send the messages; return what reads them all."""
    work = Work(8, 64, {"body_bytes": BODY_BYTES}, topics=(TOPIC,), queues=QUEUES)
    connect(server, load, work)
    load.ask("send", seconds=_FILL_SECONDS_MAX, messages_max=messages)
    ends = dispatched_ends(server, messages)

    def take_turn() -> Measured:
        cpu_begin = cpu_seconds(server.processes())
        pulled = load.ask(
            "catch_up", address=server.address, topic=TOPIC, ends=ends, connections=CONNECTIONS, window=WINDOW
        )
        cpu_server = cpu_seconds(server.processes()) - cpu_begin
        latencies = Histogram.from_json(pulled["latencies"])
        figures = {
            "messages/s": pulled["messages"] / pulled["seconds"],
            "MB/s": pulled["bytes"] / pulled["seconds"] / 1e6,
            "messages a pull": pulled["messages"] / pulled["pulls"],
            **latencies.percentiles_us(),
            "CPU s/million messages": cpu_server / pulled["messages"] * 1e6,
            "load CPU s/million messages": pulled["cpu_seconds"] / pulled["messages"] * 1e6,
            **memory(server.processes()),
        }
        return Measured(figures, {"answered": latencies})

    return take_turn


def dispatched_ends(server: Contestant, messages: int) -> list[int]:
    """How many messages each queue has, once all can be read."""
    give_up_at = time.monotonic() + _DISPATCH_SECONDS_MAX
    while True:
        ends = ends_of(server.address, TOPIC, QUEUES)
        if sum(ends) >= messages:
            return ends
        assert time.monotonic() < give_up_at, f"{server.name} shows {sum(ends)} of {messages} messages"
