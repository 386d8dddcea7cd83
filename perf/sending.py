"""A contestant's turn that sends by a closed loop, as the questions about sends take it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from perf.contestants import Contestant
from perf.harness import Figures, Generator, Measured, Options, Turn, cpu_seconds, memory
from perf.histogram import Histogram

MESSAGES_MAX: Final = 4_000_000
"""A turn ends with so many messages, if not by the clock: what they take on disk is bounded."""


@dataclass(frozen=True)
class Work:
    """What is sent.

    Attributes:
        connections: at the same time.
        window: requests in flight on each.
        shape: of a request, as `perf/load/forms.py` has it.
        topics: names; connections go through all of them.
        queues: of each topic.
        messages_max: after so many a turn ends.
    """

    connections: int
    window: int
    shape: Mapping[str, Any]
    topics: tuple[str, ...] = ("perf",)
    queues: int = 4
    messages_max: int = MESSAGES_MAX


def connect(server: Contestant, load: Generator, work: Work) -> None:
    """Make the topics, and connect."""
    server.prepare(server.address, work.topics, work.queues)
    load.ask(
        "open",
        address=server.address,
        protocol=server.protocol,
        topics=work.topics,
        queues=work.queues,
        connections=work.connections,
        window=work.window,
        shape=dict(work.shape),
    )


def sender(server: Contestant, load: Generator, work: Work, options: Options) -> Turn:
    """Connect; return what sends."""
    connect(server, load, work)

    def take_turn() -> Measured:
        server.forget()
        cpu_begin = cpu_seconds(server.processes())
        sent = load.ask("send", seconds=options.seconds, messages_max=work.messages_max)
        cpu_server = cpu_seconds(server.processes()) - cpu_begin
        return sent_figures(sent, cpu_server, memory(server.processes()))

    return take_turn


def sent_figures(sent: Mapping[str, Any], cpu_server: float, memory_mib: Figures) -> Measured:
    """What a closed loop gave."""
    messages, latencies = sent["messages"], Histogram.from_json(sent["latencies"])
    figures = {
        "messages/s": messages / sent["seconds"],
        "MB/s": sent["bytes"] / sent["seconds"] / 1e6,
        **latencies.percentiles_us(),
        "CPU s/million messages": cpu_server / messages * 1e6,
        "load CPU s/million messages": sent["cpu_seconds"] / messages * 1e6,
        **memory_mib,
    }
    return Measured(figures, {"answered": latencies})
