"""Naming: all that a name server knows, and what its handlers ask of whoever runs them.

Handlers are functions of these tables, a request and the time. They answer at once; what else is to be done they
leave here: lines to log, requests to send to brokers, and, in `kv`, a document to save.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from shmq.naming.absences import Cause
from shmq.naming.kv_config import KVConfig
from shmq.naming.routes import LEASE_MS, BrokerKey, MinIdChange, Removal, Routes
from shmq.naming.settings import NamingSettings
from shmq.store.host import Host
from shmq.wire.codes import RequestCode
from shmq.wire.command import FLAG_ONEWAY, Command
from shmq.wire.fields import write_header
from shmq.wire.naming_headers import MinBrokerIdChangedHeader


class Note(NamedTuple):
    """A line for the log."""

    level: Literal["info", "warning"]
    event: str
    fields: dict[str, Any]


class Push(NamedTuple):
    """A request to a broker that wants no answer."""

    address: str
    command: Command


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and how it came.

    Attributes:
        request: the request.
        channel_id: its connection.
        local: the address that its sender dialled.
        now_ms: the time.
    """

    request: Command
    channel_id: int
    local: Host
    now_ms: int


class Naming:
    """The tables of a name server.

    Attributes:
        routes: brokers and topics.
        kv: the key-value configuration.
        settings: what an operator may change.
        started_ms: since when it serves.
        lease_ms: how long a broker may be silent that does not say itself how long.
        own: the broker that this name server is a part of, if it is of any.
        notes: to be logged, and cleared by who logs them.
        pushes: to be sent, and cleared by who sends them.
    """

    def __init__(
        self,
        started_ms: int,
        settings: NamingSettings | None = None,
        lease_ms: int = LEASE_MS,
        own: BrokerKey | None = None,
    ) -> None:
        self.routes = Routes()
        self.kv = KVConfig()
        self.settings = settings or NamingSettings()
        self.started_ms = started_ms
        self.lease_ms = lease_ms
        self.own = own
        self.notes: list[Note] = []
        self.pushes: list[Push] = []

    def expire(self, now_ms: int) -> list[int]:
        """Remove the brokers that have been silent for too long; return their connections, to be closed."""
        keys = self.routes.expired(now_ms)
        channel_ids = [self.routes.live[key].channel_id for key in keys]
        self._lose(keys, Cause.SILENT, now_ms)
        return channel_ids

    def channel_closed(self, channel_id: int, now_ms: int) -> None:
        """Remove the brokers that registered on a connection, but for one's own.

        What ends with its connection is one process of it; the others serve on, and it will be replaced.
        """
        lost = [key for key in self.routes.members_on(channel_id) if key != self.own]
        self._lose(lost, Cause.CLOSED, now_ms)

    def remove(self, removals: Collection[Removal], cause: Cause, now_ms: int) -> None:
        """Remove members of brokers, and tell the members that are left."""
        for removal in removals:
            if BrokerKey(removal.cluster, removal.address) not in self.routes.live:
                continue
            self.note(
                "info" if cause is Cause.UNREGISTERED else "warning",
                "broker gone",
                broker=removal.broker_name,
                id=removal.broker_id,
                address=removal.address,
                reason=cause.name.lower(),
            )
        self.tell(self.routes.remove(removals, cause, now_ms))

    def tell(self, changes: Sequence[MinIdChange]) -> None:
        """Have brokers told that their smallest id is another one, where the settings want that."""
        if not self.settings.notify_min_broker_id_changed:
            return
        for change in changes:
            header = MinBrokerIdChangedHeader(
                min_broker_id=change.min_id,
                min_broker_address=change.min_address,
                offline_broker_address=change.offline_address,
                ha_broker_address=change.ha_address,
            )
            command = Command(
                RequestCode.NOTIFY_MIN_BROKER_ID_CHANGE, flag=FLAG_ONEWAY, fields=write_header(header)
            )
            self.pushes.extend(Push(address, command) for address in change.targets)

    def note(self, level: Literal["info", "warning"], event: str, **fields: Any) -> None:
        """Leave a line for the log."""
        self.notes.append(Note(level, event, fields))

    def _lose(self, keys: Sequence[BrokerKey], cause: Cause, now_ms: int) -> None:
        removals = []
        for key in keys:
            removal = self.routes.removal_of(key)
            if removal is None:
                del self.routes.live[key]
            else:
                removals.append(removal)
        if removals:
            self.remove(removals, cause, now_ms)
