"""The broker's side of registering: what it says to its name servers, and when.

Everything is said to every name server: all topics at the start, whenever one has been reached again, and every
so often; the topics that changed at once. A name server that refuses what changed has lost the rest, so it gets
everything next. Who does the I/O asks what is due, sends it, and tells how it went.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from shmq.naming.broker_requests import ADVERTISED_FIELD
from shmq.wire.bodies import DataVersion, KVTable
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header, write_header
from shmq.wire.flags import PERM_READ, PERM_WRITE
from shmq.wire.naming_headers import (
    RegisterBrokerHeader,
    RegisterBrokerResponseHeader,
    UnregisterBrokerHeader,
)
from shmq.wire.topic_bodies import (
    RegisterBrokerBody,
    TopicConfig,
    TopicConfigSerializeWrapper,
    body_crc32,
)

INTERVAL_MS_MIN: Final = 10_000
INTERVAL_MS_MAX: Final = 60_000
RETRY_MS: Final = 10_000  # after a refusal or a timeout
NEVER_MS: Final = 2**62


@dataclass(frozen=True, slots=True)
class BrokerIdentity:
    """What a broker registers as.

    Attributes:
        cluster_name: its cluster.
        broker_name: its name.
        broker_id: 0 for a master.
        address: `host:port` that clients dial.
        ha_address: `host:port` that slaves dial.
        advertised_listeners: further `host:port`, for clients that come in on their hosts.
        permission: what the whole broker allows.
    """

    cluster_name: str
    broker_name: str
    broker_id: int
    address: str
    ha_address: str
    advertised_listeners: tuple[str, ...] = ()
    permission: int = PERM_READ | PERM_WRITE


class Answer(NamedTuple):
    """What a name server made of a registration.

    Attributes:
        is_accepted: whether it took it.
        remark: why not.
        master_address: for a slave, its master, if that lives.
        ha_address: for a slave, where that sends replicas from.
        order_topics: the configuration of ordered topics, None if there is none.
    """

    is_accepted: bool
    remark: str = ""
    master_address: str | None = None
    ha_address: str | None = None
    order_topics: Mapping[str, str] | None = None


class Due(NamedTuple):
    """What to register now, and where; topics None: all of them."""

    name_server: str
    topics: tuple[str, ...] | None


def registration(
    identity: BrokerIdentity,
    topics: Iterable[TopicConfig],
    version: DataVersion,
    filter_servers: tuple[str, ...] = (),
) -> Command:
    """Return the request that registers these topics, all of the broker's or those that changed, and its filter servers."""
    allowed = {topic.topic: _restrict(topic, identity.permission) for topic in topics}
    body = RegisterBrokerBody(TopicConfigSerializeWrapper(allowed, version), filter_servers).to_bytes()
    header = RegisterBrokerHeader(
        broker_name=identity.broker_name,
        broker_address=identity.address,
        cluster_name=identity.cluster_name,
        ha_address=identity.ha_address,
        broker_id=identity.broker_id,
        enable_acting_master=False,
        compressed=False,
        body_crc32=body_crc32(body),
    )
    fields = write_header(header)
    if identity.advertised_listeners:
        fields[ADVERTISED_FIELD] = ",".join(identity.advertised_listeners)
    return Command(RequestCode.REGISTER_BROKER, fields=fields, body=body)


def unregistration(identity: BrokerIdentity) -> Command:
    """Return the request that takes the broker back."""
    header = UnregisterBrokerHeader(
        broker_name=identity.broker_name,
        broker_address=identity.address,
        cluster_name=identity.cluster_name,
        broker_id=identity.broker_id,
    )
    return Command(RequestCode.UNREGISTER_BROKER, fields=write_header(header))


def read_answer(answer: Command) -> Answer:
    """Return what a name server says to a registration.

    Raises:
        RequestError: the answer cannot be read.
    """
    if answer.code != ResponseCode.SUCCESS:
        return Answer(is_accepted=False, remark=answer.remark or f"code {answer.code}")
    header = read_header(RegisterBrokerResponseHeader, answer.fields)
    return Answer(
        is_accepted=True,
        master_address=header.master_address,
        ha_address=header.ha_address,
        order_topics=KVTable.from_bytes(answer.body).table if answer.body else None,
    )


@dataclass(slots=True)
class _Agenda:
    """What one name server is still to be told.

    Attributes:
        full_at_ms: when all topics are due.
        changed: topics that changed since it was last told.
        is_reachable: whether anything can be sent at all.
    """

    full_at_ms: int = 0
    changed: set[str] = field(default_factory=set)
    is_reachable: bool = False


class Announcer:
    """What is due at which name server."""

    def __init__(self, name_servers: Sequence[str], interval_ms: int) -> None:
        self._interval_ms = min(max(interval_ms, INTERVAL_MS_MIN), INTERVAL_MS_MAX)
        self._agendas = {name_server: _Agenda() for name_server in name_servers}

    @property
    def next_due_ms(self) -> int:
        """When something is due next; NEVER_MS while no name server can be reached."""
        return min(
            (0 if agenda.changed else agenda.full_at_ms for agenda in self._reachable().values()),
            default=NEVER_MS,
        )

    def connected(self, name_server: str) -> None:
        """A name server can be reached: it may be a new one that knows nothing."""
        self._agendas[name_server] = _Agenda(is_reachable=True)

    def disconnected(self, name_server: str) -> None:
        """A name server cannot be reached."""
        self._agendas[name_server].is_reachable = False

    def topics_changed(self, topics: Iterable[str] | None) -> None:
        """Some topics changed, or, None, so many that all are to be said again."""
        topics = None if topics is None else tuple(topics)
        for agenda in self._agendas.values():
            if topics is None:
                agenda.full_at_ms = 0
            else:
                agenda.changed.update(topics)

    def take_due(self, now_ms: int) -> list[Due]:
        """Return what is due, and count it as said."""
        due: list[Due] = []
        for name_server, agenda in self._reachable().items():
            if agenda.full_at_ms <= now_ms:
                due.append(Due(name_server, None))
                agenda.full_at_ms = now_ms + self._interval_ms
                agenda.changed.clear()
            elif agenda.changed:
                due.append(Due(name_server, tuple(sorted(agenda.changed))))
                agenda.changed.clear()
        return due

    def failed(self, due: Due, now_ms: int) -> None:
        """What was due has not been taken: everything is said again, at once if only an increment was refused."""
        agenda = self._agendas[due.name_server]
        retry_at_ms = now_ms + RETRY_MS if due.topics is None else now_ms
        agenda.full_at_ms = min(agenda.full_at_ms, retry_at_ms)

    def _reachable(self) -> dict[str, _Agenda]:
        return {name: agenda for name, agenda in self._agendas.items() if agenda.is_reachable}


def _restrict(topic: TopicConfig, permission: int) -> TopicConfig:
    """Return a topic that allows no more than its broker."""
    if permission & PERM_READ and permission & PERM_WRITE:
        return topic
    return replace(topic, permission=topic.permission & permission)
