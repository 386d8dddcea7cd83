"""How many bytes a second go through TCP, beside a compiled server that keeps none of them?

Workload: sends of 1 KiB and of 64 KiB bodies, 8 connections × 16 in flight, by one compiled process, to shmq and to a
reactor that receives the same frames and acknowledges them (`perf/echo_reactor.py`): what sockets and protocol allow
when nothing is stored. Units: MB a second of requests; messages a second; CPU seconds per million messages.
Machine: see the sheet's first lines; load and servers share its cores.

Peers: the reactor, RocketMQ's own broker, Redis Streams (kept near a million entries for 1 KiB; for 64 KiB that would
be all its memory, so it takes no part there), NATS JetStream.
"""

import pytest

from perf.conftest import Arena
from perf.contestants import start_reactor, start_shmq
from perf.harness import Contest
from perf.sending import Work, sender

WARM_UP_TURNS = 2
QUESTIONS = {
    "send 1 KiB, 8 × 16": (
        Work(8, 16, {"body_bytes": 1 << 10}, messages_max=1_000_000),
        ("java", "redis", "nats"),
    ),
    "send 64 KiB, 8 × 16": (Work(8, 16, {"body_bytes": 1 << 16}, messages_max=25_000), ("java", "nats")),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_bytes(contest: Contest, arena: Arena, question: str) -> None:
    work, peers = QUESTIONS[question]
    servers = [arena.enter(start_reactor), *arena.enter_peers(*peers), arena.enter(start_shmq)]
    contest.run(
        question,
        {server.name: sender(server, arena.load(), work, contest.options) for server in servers},
        warm_up_turns=WARM_UP_TURNS,
        durability={server.name: server.durability for server in servers},
        target="P8",
    )
