"""Does a message cost more where there are many queues, or many connections?

Workload: sends of 128 bytes by a closed loop from one compiled process to one broker, which takes turns between a
small and a large setting: 8 queues and 50,000 queues (50 topics of 1,000, in turn) on 8 connections × 64 in flight;
8 connections and 2,000, with 1 and with 16 requests in flight on each. In-flight *per connection* stays, since what a
socket is asked for at once decides how many system calls a message costs. Every queue has a message before the first
turn: its file is made with that one (some 50 microseconds, once in the life of a queue). Unit: CPU seconds of the
broker's process tree per million messages is the measure of the target; messages a second beside it.
Machine: see the sheet's first lines.

Peer: the same broker with the small setting, so that the ratio is what the large one costs.
"""

import pytest

from perf.conftest import Arena
from perf.contestants import Contestant, start_shmq
from perf.harness import OURS, Contest
from perf.sending import Work, sender
from shmq.local.producer import LocalProducer
from shmq.local.session import Session

SMALL = "shmq, the least"
WARM_UP_TURNS = 2
SLOTS_MAX = 131_072
FLUSH_TIMEOUT_S = 120.0
BODY = {"body_bytes": 128}
FIFTY_TOPICS = tuple(f"perf-many-{number}" for number in range(50))
FEW = ("perf-few",)

QUESTIONS = {
    "50,000 queues beside 8": (
        Work(8, 64, BODY, topics=FEW, queues=8, messages_max=2_000_000),
        Work(8, 64, BODY, topics=FIFTY_TOPICS, queues=1000, messages_max=2_000_000),
    ),
    "2,000 connections beside 8, 1 in flight": (
        Work(8, 1, BODY, topics=FEW, queues=8, messages_max=1_000_000),
        Work(2000, 1, BODY, topics=FEW, queues=8, messages_max=1_000_000),
    ),
    "2,000 connections beside 8, 16 in flight": (
        Work(8, 16, BODY, topics=FEW, queues=8, messages_max=2_000_000),
        Work(2000, 16, BODY, topics=FEW, queues=8, messages_max=2_000_000),
    ),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_cost_of_many(contest: Contest, arena: Arena, question: str) -> None:
    small, large = QUESTIONS[question]
    server: Contestant = arena.enter(lambda directory: start_shmq(directory, {"queue_slots_max": SLOTS_MAX}))
    for work in (small, large):
        make_queue_files(server, work)
    contest.run(
        question,
        {
            SMALL: sender(server, arena.load(), small, contest.options),
            OURS: sender(server, arena.load(), large, contest.options),
        },
        warm_up_turns=WARM_UP_TURNS,
        durability=server.durability,
        target="P9",
    )


def make_queue_files(server: Contestant, work: Work) -> None:
    """Send a message to each queue."""
    assert server.broker is not None
    server.prepare(server.address, work.topics, work.queues)
    with Session(server.broker.broker_name) as session:
        for topic in work.topics:
            with LocalProducer(session, topic) as producer:
                for queue_id in range(work.queues):
                    producer.send(b"first", queue_id=queue_id)
                producer.flush("dispatched", FLUSH_TIMEOUT_S)
