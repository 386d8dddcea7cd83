"""How many sends a second does one broker take over TCP, and how long does each wait?

Workload: messages of 128 bytes with the properties that RocketMQ's clients set (UNIQ_KEY, WAIT, TAGS), by
SEND_MESSAGE_V2 with a JSON header, over the 4 queues of one topic. First 32 connections with 1 request in flight
each (many threads that send synchronously), then 8 connections with 64 (asynchronous senders). A closed loop from
one process. Units: messages a second; microseconds from a request to its answer; CPU microseconds a message, of
the server's processes and of the load.
Machine: see the sheet's first lines; load and servers share its cores, so a faster server also has more of them.

Peers: a bare asyncio server that stores nothing, the most that one Python loop can do; RocketMQ's own broker
(ASYNC_FLUSH, a heap of 512 MiB, its name server beside it), after two turns that warm up its compiler.
"""

from collections.abc import Callable

import pytest

from perf.contestants import Contestant
from perf.harness import Contest, Figures, Generator, cpu_seconds

BODY_BYTES = 128
QUEUES = 4
MESSAGES = 50_000
WARM_UP_TURNS = 2


@pytest.mark.parametrize(("connections", "window"), [(32, 1), (8, 64)], ids=["32x1", "8x64"])
def test_sends(
    contest: Contest,
    servers: dict[str, Contestant],
    generators: list[Generator],
    connections: int,
    window: int,
) -> None:
    messages = contest.options.messages(MESSAGES)
    contest.run(
        f"send {BODY_BYTES} B, {connections} × {window}",
        {
            server.name: opened(server, generator, connections, window, messages)
            for server, generator in zip(servers.values(), generators, strict=False)
        },
        warm_up_turns=WARM_UP_TURNS,
    )


def opened(
    server: Contestant, generator: Generator, connections: int, window: int, messages: int
) -> Callable[[], Figures]:
    """Connect; return what sends so many messages."""
    generator.ask(
        "open",
        address=server.address,
        topic=f"perf-{connections}x{window}",
        queues=QUEUES,
        connections=connections,
        window=window,
        body_bytes=BODY_BYTES,
    )

    def take_turn() -> Figures:
        cpu_begin = cpu_seconds(server.processes())
        result = generator.ask("send", messages=messages)
        cpu_server = cpu_seconds(server.processes()) - cpu_begin
        return {
            "messages/s": messages / result["seconds"],
            **result["latencies"],
            "server CPU µs/message": cpu_server / messages * 1e6,
            "load CPU µs/message": result["cpu_seconds"] / messages * 1e6,
        }

    return take_turn
