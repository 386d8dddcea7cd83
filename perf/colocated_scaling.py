"""Does a message cost more where there are many colocated producers, or many queues?

Workload: bodies of 128 B by `send_array`. `producers`: so many processes send at once, all to one topic, beside one that
sends as much alone. `queues`: one process sends to so many queues in turn, by batches of 64, beside 8 queues; beyond
1,000 they are topics of 1,000. A turn ends when all is dispatched. Unit: CPU seconds of the broker's process tree per
million messages is the measure of the target; messages a second, and the producers' own CPU time, beside it.
Machine: see the sheet's first lines; 16 producers on two cores mostly wait for each other.

Peer: the same broker with the least of each.
"""

from contextlib import ExitStack
from functools import partial
from typing import Final

import pytest

from perf.colocated_pair import pair
from perf.colocated_rate import our_turn
from perf.colocated_shmq import SEND_ARRAY, ShmqCarrier
from perf.conftest import Arena
from perf.contestants import Contestant, start_shmq
from perf.harness import OURS, Contest, Turn

LEAST: Final = "shmq, the least"
PRODUCERS: Final = {2: "", 4: "", 8: "", 16: "P9"}
QUEUES: Final = {64: "", 1000: "", 10_000: "", 50_000: "P9"}
TOPIC_QUEUES: Final = 1000
MESSAGES: Final = 3_200_000
SLOTS_MAX: Final = 131_072
QUEUE_FILE_BYTES: Final = 20 * 20_000


@pytest.mark.parametrize("producers", PRODUCERS)
def test_many_producers(contest: Contest, arena: Arena, kept: ExitStack, producers: int) -> None:
    server = arena.enter(start_shmq)
    topics = ("perf",)
    turns = {
        LEAST: sender(server, kept, contest, topics, 1),
        OURS: sender(server, kept, contest, topics, producers),
    }
    contest.run(
        f"colocated send_array 128 B, {producers} producers",
        turns,
        durability=server.durability,
        target=PRODUCERS[producers],
    )


@pytest.mark.parametrize("queues", QUEUES)
def test_many_queues(contest: Contest, arena: Arena, kept: ExitStack, queues: int) -> None:
    settings: dict[str, str | int] = {
        "queue_slots_max": SLOTS_MAX,
        "consume_queue_file_bytes": QUEUE_FILE_BYTES,
    }
    server = arena.enter(partial(start_shmq, settings=settings))
    few, many = (
        ("perf-few",),
        tuple(f"perf-many-{number}" for number in range(max(1, queues // TOPIC_QUEUES))),
    )
    server.prepare(server.address, few, 8)
    server.prepare(server.address, many, min(queues, TOPIC_QUEUES))
    turns = {
        LEAST: sender(server, kept, contest, few, 1),
        OURS: sender(server, kept, contest, many, 1),
    }
    contest.run(
        f"colocated send_array 128 B, {queues:,} queues",
        turns,
        durability=server.durability,
        target=QUEUES[queues],
    )


def sender(
    server: Contestant, kept: ExitStack, contest: Contest, topics: tuple[str, ...], producers: int
) -> Turn:
    """Start so many producers; return what has them send."""
    assert server.broker is not None
    carrier = ShmqCarrier(server.broker.broker_name, topics, 128, SEND_ARRAY)
    made = kept.enter_context(pair(carrier, producers, consumes=False))
    return partial(our_turn, made, server, contest.options.messages(MESSAGES))
