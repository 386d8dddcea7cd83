"""The load: compiled clients in a process of their own that is told by lines of JSON what to do.

    python -m perf.load_generator

Each line on stdin is a job with its arguments, and each is answered by one line: what was counted, or `failed` and
why; a load that got one wrong answer has failed. All latencies are histograms (`perf/histogram.py`). The jobs are
`open` and `send` (`perf/load/closed_loop.py`), `catch_up` and `pace`, with the arguments of the functions below.
"""

import json
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from perf.histogram import Histogram
from perf.load.answers import NATS, REMOTING, RESP
from perf.load.catch_up import catch_up, reading_lanes
from perf.load.closed_loop import ClosedLoop
from perf.load.forms import Form, Shape, nats_forms, redis_forms, remoting_forms
from perf.load.greetings import say_hello_to_nats
from perf.load.open_loop import pace

REDIS_LENGTH_MAX: Final = 1_000_000
"""Redis keeps streams in memory, so each is kept near this length, as its users do."""


class Jobs:
    """What can be asked for."""

    def __init__(self) -> None:
        self._loop: ClosedLoop | None = None

    def open(  # noqa: PLR0913 - a job's arguments
        self,
        *,
        address: str,
        protocol: str,
        topics: Sequence[str],
        queues: int,
        connections: int,
        window: int,
        shape: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Connect, for a closed loop."""
        number, forms = _forms(protocol, topics, queues, Shape(**shape))
        if self._loop is not None:
            self._loop.lanes.close()
        self._loop = ClosedLoop(address, connections, forms, window=window, protocol=number)
        if number == NATS:
            say_hello_to_nats(self._loop.lanes.sockets)
        self._loop.lanes.listen()
        return {"connections": connections}

    def send(self, *, seconds: float, messages_max: int) -> dict[str, Any]:
        """Let the closed loop run."""
        assert self._loop is not None, "open comes first"
        return _reply(self._loop.send(seconds, messages_max))

    @staticmethod
    def catch_up(
        *, address: str, topic: str, ends: Sequence[int], connections: int, window: int
    ) -> dict[str, Any]:
        """Read a topic from the beginning."""
        lanes = reading_lanes(address, connections)
        lanes.listen()
        reply = _reply(catch_up(lanes, topic, ends, window=window))
        lanes.close()
        return reply

    @staticmethod
    def pace(**arguments: Any) -> dict[str, Any]:
        """Send by a plan."""
        return _reply(pace(**arguments))


def _forms(protocol: str, topics: Sequence[str], queues: int, shape: Shape) -> tuple[int, list[Form]]:
    if protocol == "redis":
        return RESP, redis_forms(topics, shape, REDIS_LENGTH_MAX)
    if protocol == "nats":
        return NATS, nats_forms([f"perf.{topic}" for topic in topics], shape)
    assert protocol == "remoting", protocol
    return REMOTING, remoting_forms(topics, queues, shape)


def _reply(result: Any) -> dict[str, Any]:
    """A result's fields, histograms as JSON has them."""
    values = {each.name: getattr(result, each.name) for each in fields(result)}
    return {
        name: value.to_json() if isinstance(value, Histogram) else value for name, value in values.items()
    }


def main() -> None:
    """Do jobs until stdin ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    jobs = Jobs()
    known: dict[str, Callable[..., dict[str, Any]]] = {
        "open": jobs.open,
        "send": jobs.send,
        "catch_up": jobs.catch_up,
        "pace": jobs.pace,
    }
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            reply = known[arguments.pop("job")](**arguments)
        except (AssertionError, OSError) as error:
            reply = {"failed": str(error) or repr(error)}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
