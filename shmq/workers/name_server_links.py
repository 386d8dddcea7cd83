"""The conductor's connections to its name servers: one Link each, requests paired with their answers.

Requests that are not answered in time have failed, and so have those whose connection is lost. The owner calls
poll() in its rounds, beside the poll() of the SocketServer that watches the links.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple, TypeAlias

from shmq.wire.command import Command
from shmq.workers.link import Link, Watcher


class Connected(NamedTuple):
    """A name server has been reached."""

    name_server: str


class Disconnected(NamedTuple):
    """A name server that had been reached is lost."""

    name_server: str


class Answered(NamedTuple):
    """A name server has answered a request; context is what send() was given."""

    name_server: str
    context: Any
    answer: Command


class Failed(NamedTuple):
    """A request will get no answer."""

    name_server: str
    context: Any
    reason: str


LinkEvent: TypeAlias = Connected | Disconnected | Answered | Failed


class _Pending(NamedTuple):
    context: Any
    deadline_ms: int


class _Line:
    """One name server: its link, and the requests that wait for an answer on the present connection."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.epoch = 0
        self.was_connected = False
        self.pending: dict[int, _Pending] = {}


class NameServerLinks:
    """Connections to all configured name servers."""

    def __init__(self, name_servers: Sequence[str], watcher: Watcher, log: Any) -> None:
        self._log = log
        self._opaques = count(1)
        self._lines = {
            name_server: _Line(Link(name_server, watcher, log.bind(role="name server")))
            for name_server in name_servers
        }

    @property
    def pending_count(self) -> int:
        """Requests that wait for an answer."""
        return sum(len(line.pending) for line in self._lines.values())

    @property
    def due_ms(self) -> int:
        """When poll() has something to do though nothing has arrived."""
        return min(
            (
                min([line.link.due_ms, *(each.deadline_ms for each in line.pending.values())])
                for line in self._lines.values()
            ),
            default=2**62,
        )

    def send(self, name_server: str, command: Command, context: Any, deadline_ms: int) -> bool:
        """Send a request, whose answer comes back with context; False where the name server is not connected."""
        line = self._lines[name_server]
        command.opaque = next(self._opaques) & 0x7FFF_FFFF
        if not line.link.send(command):
            return False
        line.pending[command.opaque] = _Pending(context, deadline_ms)
        return True

    def poll(self, now_ms: int) -> list[LinkEvent]:
        """Keep the connections up; return what has happened since the last time."""
        events: list[LinkEvent] = []
        for name_server, line in self._lines.items():
            line.link.tick(now_ms)
            for command in line.link.received:
                pending = line.pending.pop(command.opaque, None) if command.is_response else None
                if pending is None:
                    self._log.debug("unexpected command dropped", peer=name_server, code=command.code)
                else:
                    events.append(Answered(name_server, pending.context, command))
            line.link.received.clear()
            # After what the lost connection still brought.
            if line.epoch != line.link.epoch or line.was_connected != line.link.is_connected:
                self._follow(name_server, line, events)
            for opaque, pending in tuple(line.pending.items()):
                if pending.deadline_ms <= now_ms:
                    del line.pending[opaque]
                    events.append(Failed(name_server, pending.context, "no answer in time"))
        return events

    def close(self) -> None:
        """Close all connections; what waits for an answer is forgotten."""
        for line in self._lines.values():
            line.link.close()
            line.pending.clear()

    def _follow(self, name_server: str, line: _Line, events: list[LinkEvent]) -> None:
        """Tell that the connection is another one, or none."""
        if line.was_connected:
            events += [
                Failed(name_server, each.context, "the connection was lost") for each in line.pending.values()
            ]
            line.pending.clear()
            events.append(Disconnected(name_server))
        line.epoch = line.link.epoch
        line.was_connected = line.link.is_connected
        if line.was_connected:
            events.append(Connected(name_server))
