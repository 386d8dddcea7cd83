"""How long is a message on its way from a producer to a waiting consumer?

Workload: messages of 128 bytes to one queue at a fixed rate, first 200 and then 1,000 a second, by one connection
that sends each at its planned time whatever was answered; one consumer follows the queue by long polls on another
connection. Producer and consumer are processes of their own. Unit: microseconds from the *planned* time of the send,
which the message carries, until the consumer has the bytes; so a broker that stalls pays for every message that
should have been sent meanwhile, and the producer's own lateness (`sent late`) is in every figure.
Machine: see the sheet's first lines.

Peers: RocketMQ's own broker; a bare asyncio server, for which there is nothing but the answer to the producer:
`answered` is what one hop through a Python loop takes at that rate.
"""

from collections.abc import Callable

import pytest

from perf.contestants import ASYNCIO, Contestant
from perf.harness import Contest, Figures, Generator

BODY_BYTES = 128
SECONDS = 5


@pytest.mark.parametrize("rate", [200, 1000], ids=lambda rate: f"{rate}-a-second")
def test_producer_to_consumer(
    contest: Contest, servers: dict[str, Contestant], generators: list[Generator], rate: int
) -> None:
    messages = contest.options.messages(rate * SECONDS)
    producer, consumer, _ = generators
    contest.run(
        f"end to end, {BODY_BYTES} B, {rate}/s",
        {server.name: both_ends(server, producer, consumer, rate, messages) for server in servers.values()},
    )


def both_ends(
    server: Contestant, producer: Generator, consumer: Generator, rate: int, messages: int
) -> Callable[[], Figures]:
    """Make the topic; return what sends through it and listens."""
    topic = f"perf-latency-{rate}"
    place = {"address": server.address, "topic": topic}
    plan = {**place, "rate": rate, "messages": messages, "body_bytes": BODY_BYTES}
    producer.ask("paced", **{**plan, "messages": 1})
    has_consumer = server.name != ASYNCIO

    def take_turn() -> Figures:
        if has_consumer:
            consumer.ask("consume", **place, messages=messages)  # its first line: it is ready
        sent = producer.ask("paced", **plan)
        figures = {}
        if has_consumer:
            received = consumer.hear()
            figures = {**received["latencies"], "messages a pull": received["messages_a_pull"]}
        figures |= {f"answered {name}": value for name, value in sent["answered"].items()}
        return figures | {f"sent late {name}": value for name, value in sent["late"].items()}

    return take_turn
