"""How many messages a second can a consumer that has fallen behind read over TCP?

Workload: messages of 128 bytes (with the properties that clients set), sent beforehand over the 4 queues of one
topic; then read from offset 0 to the end by PULL_MESSAGE with a subscription to `*`, at most 32 messages a pull as
RocketMQ's consumers ask, one pull in flight on each of 4 connections. The reader walks the messages of each answer
by their sizes. Units: messages a second; microseconds from a pull to its answer; CPU microseconds a message, of
the server's processes and of the load.
Machine: see the sheet's first lines; load and servers share its cores.

Peers: a bare asyncio server that answers each pull with the same 32 messages; RocketMQ's own broker, after one turn
to warm up its compiler.
"""

from collections.abc import Callable

from perf.contestants import Contestant
from perf.harness import Contest, Figures, Generator, cpu_seconds

TOPIC = "perf-pull"
BODY_BYTES = 128
QUEUES = 4
MESSAGES = 100_000


def test_catching_up(contest: Contest, servers: dict[str, Contestant], generators: list[Generator]) -> None:
    messages = contest.options.messages(MESSAGES)
    contest.run(
        f"pull {BODY_BYTES} B, {QUEUES} × 1",
        {
            server.name: filled(server, generator, messages)
            for server, generator in zip(servers.values(), generators, strict=False)
        },
    )


def filled(server: Contestant, generator: Generator, messages: int) -> Callable[[], Figures]:
    """Send the messages; return what reads them all."""
    shape = {"queues": QUEUES, "connections": 8, "window": 64, "body_bytes": BODY_BYTES}
    generator.ask("open", address=server.address, topic=TOPIC, **shape)
    ends = generator.ask("send", messages=messages)["sent"]

    def take_turn() -> Figures:
        cpu_begin = cpu_seconds(server.processes())
        result = generator.ask("pull", address=server.address, topic=TOPIC, ends=ends)
        cpu_server = cpu_seconds(server.processes()) - cpu_begin
        pulled = result["messages"]
        return {
            "messages/s": pulled / result["seconds"],
            "MiB/s": result["bytes"] / result["seconds"] / (1 << 20),
            "messages a pull": pulled / result["pulls"],
            **result["latencies"],
            "server CPU µs/message": cpu_server / pulled * 1e6,
            "load CPU µs/message": result["cpu_seconds"] / pulled * 1e6,
        }

    return take_turn
