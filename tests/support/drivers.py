"""Clients that we did not write, as the tests drive them: the Java drivers and the C++ one speak the same lines.

A client is named by its language and version. `produce`, `queue_bounds` and `query` run to their end; a consumer runs
until `stop`, and tells meanwhile what it holds and has received.
"""

import base64
import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.support.java import UTF8, driver_command
from tests.support.processes import Process

CPP: Final = "c++"

_READY_DEADLINE_S: Final = 60.0
_PRODUCE_DEADLINE_S: Final = 150.0
_STOP_DEADLINE_S: Final = 60.0
_CPP_DRIVER: Final = Path(__file__).resolve().parents[1] / "interop" / "cpp_driver.py"
_PROJECT_ROOT: Final = Path(__file__).resolve().parents[2]
_numbers: Final = itertools.count()

Event = dict[str, Any]
Mishap = Callable[[], None]


@dataclass
class Consumer:
    """A consumer in a process of its own."""

    process: Process
    assigned: list[str] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    received: int = 0  # doubled messages included

    def wait_ready(self) -> None:
        """Wait until the client has started."""
        self._wait("ready", _READY_DEADLINE_S)

    def wait_assigned(self, count: int, deadline_s: float = _READY_DEADLINE_S) -> None:
        """Wait until it holds that many queues."""
        give_up_at = time.monotonic() + deadline_s
        while len(self.assigned) != count:
            self._next_before(
                give_up_at, f"did not hold {count} queues in {deadline_s} s, but {self.assigned}"
            )

    def wait_seen(self, count: int, deadline_s: float) -> None:
        """Wait until it has received that many different messages."""
        give_up_at = time.monotonic() + deadline_s
        while len(self.seen) < count:
            self._next_before(give_up_at, f"had {len(self.seen)} of {count} messages in {deadline_s} s")

    def wait_received(self, count: int, deadline_s: float) -> None:
        """Wait until it has received that many messages, those that came again included."""
        self.wait_until(lambda: self.received >= count, deadline_s)

    def wait_until(self, is_so: Callable[[], bool], deadline_s: float) -> None:
        """Wait until something is so of what it has told."""
        give_up_at = time.monotonic() + deadline_s
        while not is_so():
            complaint = (
                f"received {self.received} messages, {len(self.seen)} different ones, in {deadline_s} s"
            )
            self._next_before(give_up_at, complaint)

    def wait_more(self, deadline_s: float) -> None:
        """Wait until it tells anything: it does so at least twice a second."""
        self._next(deadline_s)

    def stop(self) -> Event:
        """Stop it in good order; return its result."""
        self.process.say("stop")
        result = self._wait("result", _STOP_DEADLINE_S)
        code = self.process.wait_exit(_STOP_DEADLINE_S)
        if code != 0:
            raise self.process.failure("found a fault")
        return result

    def _wait(self, event: str, deadline_s: float) -> Event:
        got = self._next(deadline_s)
        while got["event"] != event:
            got = self._next(deadline_s)
        return got

    def _next_before(self, give_up_at: float, complaint: str) -> None:
        left_s = give_up_at - time.monotonic()
        if left_s <= 0:
            raise self.process.failure(complaint)
        self._next(left_s)

    def _next(self, deadline_s: float) -> Event:
        event = _event(self.process, deadline_s)
        if event["event"] == "assigned":
            self.assigned = event["queues"]
        if "seen" in event:
            self.seen = _numbers_of(event["seen"])
            self.received = event["received"]
        return event


def wait_together(consumers: Sequence[Consumer], seen: set[int], count: int, deadline_s: float) -> None:
    """Wait until the consumers, and what others had seen, make up that many different messages."""
    give_up_at = time.monotonic() + deadline_s
    while len(seen.union(*(consumer.seen for consumer in consumers))) < count:
        if time.monotonic() > give_up_at:
            raise consumers[-1].process.failure(
                f"and its group did not receive {count} messages in {deadline_s} s"
            )
        for consumer in consumers:
            consumer.wait_more(deadline_s)


@dataclass(frozen=True)
class Client:
    """How to start one kind of client against one name server."""

    kind: str
    namesrv: str
    directory: Path
    serialize_type: str = "JSON"

    def produce(
        self, topic: str, *, run: str, count: int, mode: str, amid: Mishap | None = None, **options: object
    ) -> Event:
        """Send messages; return what the driver counted once all were answered.

        A mishap comes when the first of them are acknowledged.
        """
        arguments = {"topic": topic, "run": run, "count": count, "mode": mode, "group": f"{topic}-producers"}
        progress = {"progress": True} if amid is not None else {}
        process = self._start("produce", arguments | progress | options)
        with process:
            if amid is not None:
                event_of(process, "progress", _PRODUCE_DEADLINE_S)
                amid()
            result = event_of(process, "result", _PRODUCE_DEADLINE_S)
            if process.wait_exit(_STOP_DEADLINE_S) != 0:
                raise process.failure("could not send everything")
        return result

    def produce_timed(self, topic: str, *, run: str, count: int, **options: object) -> Event:
        """Send messages that are to come later; return what the driver counted."""
        arguments = {"topic": topic, "run": run, "count": count, "group": f"{topic}-producers"}
        process = self._start("produce-timed", arguments | options)
        with process:
            result = event_of(process, "result", _PRODUCE_DEADLINE_S)
            if process.wait_exit(_STOP_DEADLINE_S) != 0:
                raise process.failure("could not send everything")
        return result

    def consume(
        self, topic: str, *, group: str, run: str, way: str = "consume-push", **options: object
    ) -> Consumer:
        """Start a consumer, and wait until it has started."""
        arguments = {"topic": topic, "group": group, "run": run} | options
        consumer = Consumer(self._start(way, arguments))
        try:
            consumer.wait_ready()
        except BaseException:
            consumer.process.kill()
            raise
        return consumer

    def queue_bounds(self, topic: str, *, group: str) -> dict[str, dict[str, int]]:
        """Return each queue's min, max and committed offset as the broker tells them."""
        process = self._start("queue-bounds", {"topic": topic, "group": group})
        with process:
            result = event_of(process, "result", _READY_DEADLINE_S)
            if process.wait_exit(_STOP_DEADLINE_S) != 0:
                raise process.failure("could not read the bounds")
        queues: dict[str, dict[str, int]] = result["queues"]
        return queues

    def query(self, topic: str, **options: object) -> list[dict[str, Any]]:
        """Return what the driver finds: by `key`, and `max`, `begin_ms`, `end_ms`; or by `id`."""
        process = self._start("query", {"topic": topic, "group": f"{topic}-queries"} | options)
        with process:
            result = event_of(process, "result", _READY_DEADLINE_S)
            if process.wait_exit(_STOP_DEADLINE_S) != 0:
                raise process.failure("could not query")
        messages: list[dict[str, Any]] = result["messages"]
        return messages

    def start(self, command: str, **options: object) -> Process:
        """Start the driver and leave its lines to the caller."""
        return self._start(command, options)

    def _start(self, command: str, options: dict[str, Any]) -> Process:
        home = self.directory / f"driver-{next(_numbers)}-{command}"
        home.mkdir(parents=True)
        pairs = {"namesrv": self.namesrv, **options}.items()
        arguments = [part for name, value in pairs for part in (f"--{name.replace('_', '-')}", _text(value))]
        if self.kind == CPP:
            program = [sys.executable, str(_CPP_DRIVER)]
        else:
            program = driver_command(self.kind, home, serialize_type=self.serialize_type)
        return Process(
            [*program, command, *arguments],
            log_path=home / "output.log",
            environment={"HOME": str(home), "PYTHONPATH": str(_PROJECT_ROOT), **UTF8},
            directory=home,
        )


def event_of(process: Process, event: str, deadline_s: float) -> Event:
    """Wait for a driver's next event of a kind; those before it are dropped."""
    got = _event(process, deadline_s)
    while got["event"] != event:
        got = _event(process, deadline_s)
    return got


def _event(process: Process, deadline_s: float) -> Event:
    event: Event = json.loads(process.wait_line(lambda line: line.startswith("{"), deadline_s))
    if event["event"] == "error":
        raise process.failure(event["message"])
    return event


def _numbers_of(seen: str) -> set[int]:
    octets = np.frombuffer(base64.b64decode(seen), dtype=np.uint8)
    return set(np.flatnonzero(np.unpackbits(octets, bitorder="little")).tolist())


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
