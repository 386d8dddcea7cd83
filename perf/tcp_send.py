"""How many sends a second does a broker take over TCP, what does each cost it, and beside whom?

Workload: a closed loop from one compiled process (`perf/load/closed_loop.py`), connections × requests in flight:
the request of RocketMQ's Java client (SEND_MESSAGE_V2, JSON header, the properties UNIQ_KEY, WAIT, TAGS) to shmq and to
RocketMQ's broker; XADD to Redis, PUB with an acknowledgement to JetStream. 4 queues of one topic, or of each of 8.
Every answer is counted and checked. Units: messages a second; microseconds from a request to its answer; CPU seconds
of the server's whole process tree per million messages, and of the load; MiB of the tree.
Machine: see the sheet's first lines; load and servers share its cores, so a faster server also has more of them.

Peers: RocketMQ's own broker (ASYNC_FLUSH, heap 512 MiB, name server beside it); Redis Streams (log made durable
once a second, streams kept near a million entries); NATS JetStream (files); and a compiled server that keeps nothing:
the bound of sockets and protocol. Kafka takes only what its own producer batches: see `batches.py`.
"""

import pytest

from perf.conftest import Arena
from perf.contestants import start_reactor, start_shmq
from perf.harness import Contest
from perf.sending import Work, sender

ALL_PEERS = ("java", "redis", "nats")
WARM_UP_TURNS = 2
EIGHT_TOPICS = tuple(f"perf{number}" for number in range(8))

QUESTIONS = {
    "send 128 B, 8 × 64": ("P1", Work(8, 64, {"body_bytes": 128}), ALL_PEERS),
    "send 128 B, 32 × 1": ("P2", Work(32, 1, {"body_bytes": 128}), ALL_PEERS),
    "send 128 B, 1 × 1": ("", Work(1, 1, {"body_bytes": 128}), ALL_PEERS),
    "send 4 KiB, 8 × 64": ("", Work(8, 64, {"body_bytes": 4096}, messages_max=400_000), ALL_PEERS),
    "send 128 B to 8 topics, 8 × 64": ("", Work(8, 64, {"body_bytes": 128}, topics=EIGHT_TOPICS), ALL_PEERS),
    "send 128 B, binary header, 8 × 64": ("", Work(8, 64, {"body_bytes": 128, "is_binary": True}), ("java",)),
    "send 128 B, 15 of 16 oneway, 8 × 4": (
        "",
        Work(8, 4, {"body_bytes": 128, "kind": "oneway", "messages": 16}),
        ("java",),
    ),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_sends(contest: Contest, arena: Arena, question: str) -> None:
    target, work, peers = QUESTIONS[question]
    servers = [arena.enter(start_reactor), *arena.enter_peers(*peers), arena.enter(start_shmq)]
    contest.run(
        question,
        {server.name: sender(server, arena.load(), work, contest.options) for server in servers},
        warm_up_turns=WARM_UP_TURNS,
        durability={server.name: server.durability for server in servers},
        target=target,
    )
