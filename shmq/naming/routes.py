"""Routes: which brokers are alive, under which addresses, and which topics each of them has.

    topics     topic → {broker name → queues}            what routes are made of
    brokers    broker name → its members by id           0 is the master
    clusters   cluster → broker names
    live       (cluster, address) → lease and version    one for each member that lives
    mappings   topic → {broker name → static mapping}    handed on unread

A topic has a broker only while that broker has a member. All is in memory: brokers repeat what they are every
30 s. How a broker registers is in `registering.py`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from shmq.naming.absences import Absences, Cause, Departure
from shmq.wire.bodies import DataVersion
from shmq.wire.flags import PERM_READ, PERM_WRITE
from shmq.wire.route_bodies import QueueData

MASTER_ID: Final = 0
LEASE_MS: Final = 120_000


class BrokerKey(NamedTuple):
    """What names one member: its cluster and the address that it registered."""

    cluster: str
    address: str


@dataclass(slots=True)
class Broker:
    """A broker: a master and its slaves, which share a name."""

    cluster: str
    name: str
    addresses: dict[int, str] = field(default_factory=dict)
    enable_acting_master: bool = False
    zone_name: str | None = None

    @property
    def id_min(self) -> int:
        """The smallest id that is registered."""
        return min(self.addresses)

    @property
    def has_master(self) -> bool:
        """Whether a master is registered."""
        return MASTER_ID in self.addresses


@dataclass(slots=True)
class LiveBroker:
    """The lease of one member.

    Attributes:
        updated_ms: when it last registered or said that it lives.
        lease_ms: it may be silent for so long.
        data_version: of the topics that it registered.
        channel_id: the connection on which it registered.
        ha_address: where its slaves replicate from.
        filter_servers: of RocketMQ 4.2 and before.
        advertised: addresses to answer instead, by the local address that a client came in on.
    """

    updated_ms: int
    lease_ms: int
    data_version: DataVersion
    channel_id: int
    ha_address: str
    filter_servers: tuple[str, ...] = ()
    advertised: Mapping[bytes, str] = field(default_factory=dict)

    @property
    def end_ms(self) -> int:
        """When the lease ends, if it is not renewed."""
        return self.updated_ms + self.lease_ms


class Removal(NamedTuple):
    """A member to be removed."""

    cluster: str
    address: str
    broker_name: str
    broker_id: int


class MinIdChange(NamedTuple):
    """The smallest id of a broker is another one now: whom to tell, and of what."""

    targets: tuple[str, ...]
    min_id: int
    min_address: str
    offline_address: str | None
    ha_address: str | None


class Routes:
    """The tables, and what removes from them."""

    def __init__(self) -> None:
        self.topics: dict[str, dict[str, QueueData]] = {}
        self.brokers: dict[str, Broker] = {}
        self.clusters: dict[str, set[str]] = {}
        self.live: dict[BrokerKey, LiveBroker] = {}
        self.mappings: dict[str, dict[str, Any]] = {}
        self.absences = Absences()

    def put_queues(self, topic: str, queues: QueueData) -> None:
        """Set what a broker has of a topic."""
        self.topics.setdefault(topic, {})[queues.broker_name] = queues
        self.absences.forget_topic(topic)

    def register_topic(self, topic: str, queues: Iterable[QueueData]) -> bool:
        """Set what brokers have of a topic; False, and nothing done, where one of them is not here."""
        queues = tuple(queues)
        if not queues or any(each.broker_name not in self.brokers for each in queues):
            return False
        for each in queues:
            self.put_queues(topic, each)
        return True

    def delete_topic(self, topic: str, cluster: str | None, now_ms: int) -> None:
        """Forget a topic, or what the brokers of one cluster have of it."""
        names = self.topics.get(topic, {}) if not cluster else self.clusters.get(cluster, ())
        for name in tuple(names):
            self.remove_queues(topic, Departure(name, Cause.DELETED, now_ms))

    def remove_queues(self, topic: str, departure: Departure) -> None:
        """Forget what a broker has of a topic, and the topic with its last broker."""
        queues = self.topics.get(topic)
        if queues is None or queues.pop(departure.broker_name, None) is None:
            return
        mappings = self.mappings.get(topic)
        if mappings is not None:
            mappings.pop(departure.broker_name, None)
        if not queues:
            del self.topics[topic]
            self.mappings.pop(topic, None)
            self.absences.note_topic(topic, departure)

    def topics_of(self, broker_name: str) -> list[str]:
        """Return the topics that a broker has."""
        return [topic for topic, queues in self.topics.items() if broker_name in queues]

    def wipe_write_permission(self, broker_name: str) -> int:
        """Take the right to write from every topic of a broker; return how many there are."""
        topics = self.topics_of(broker_name)
        for topic in topics:
            queues = self.topics[topic][broker_name]
            self._set_permission(topic, queues, queues.permission & ~PERM_WRITE)
        return len(topics)

    def add_write_permission(self, broker_name: str) -> int:
        """Make every topic of a broker readable and writable, whatever it was; return how many there are."""
        topics = self.topics_of(broker_name)
        for topic in topics:
            self._set_permission(topic, self.topics[topic][broker_name], PERM_READ | PERM_WRITE)
        return len(topics)

    def version_of(self, key: BrokerKey) -> DataVersion | None:
        """Return the version of the topics that a member registered, None if it does not live."""
        lease = self.live.get(key)
        return None if lease is None else lease.data_version

    def renew(self, key: BrokerKey, now_ms: int) -> None:
        """Note that a member lives."""
        lease = self.live.get(key)
        if lease is not None:
            lease.updated_ms = now_ms

    def expired(self, now_ms: int) -> list[BrokerKey]:
        """Return the members that have been silent for longer than their lease."""
        return [key for key, lease in self.live.items() if lease.end_ms < now_ms]

    def next_end_ms(self) -> int | None:
        """Return when the first lease ends, if none is renewed; None without members."""
        return min((lease.end_ms for lease in self.live.values()), default=None)

    def members_on(self, channel_id: int) -> list[BrokerKey]:
        """Return the members that registered on a connection."""
        return [key for key, lease in self.live.items() if lease.channel_id == channel_id]

    def removal_of(self, key: BrokerKey) -> Removal | None:
        """Return the removal of a live member, None where no broker has it under its address."""
        for broker in self.brokers.values():
            if broker.cluster == key.cluster:
                for broker_id, address in broker.addresses.items():
                    if address == key.address:
                        return Removal(key.cluster, address, broker.name, broker_id)
        return None

    def remove(self, removals: Collection[Removal], cause: Cause, now_ms: int) -> list[MinIdChange]:
        """Remove members, brokers without members, and topics without brokers; return whom to tell."""
        changes: list[MinIdChange] = []
        reduced: set[str] = set()
        for removal in removals:
            self.live.pop(BrokerKey(removal.cluster, removal.address), None)
            broker = self.brokers.get(removal.broker_name)
            if broker is None:
                continue
            had_min_id = bool(broker.addresses) and removal.broker_id == broker.id_min
            broker.addresses = {
                broker_id: address
                for broker_id, address in broker.addresses.items()
                if address != removal.address
            }
            if not broker.addresses:
                self._remove_broker(broker, Departure(broker.name, cause, now_ms))
                continue
            reduced.add(broker.name)
            if had_min_id and broker.enable_acting_master:
                targets = tuple(broker.addresses.values())
                least = broker.id_min
                changes.append(MinIdChange(targets, least, broker.addresses[least], removal.address, None))
        for name in reduced:
            self._protect_masterless(name)
        return changes

    def _remove_broker(self, broker: Broker, departure: Departure) -> None:
        del self.brokers[broker.name]
        for cluster, names in tuple(self.clusters.items()):
            names.discard(broker.name)
            if not names:
                del self.clusters[cluster]
        for topic in self.topics_of(broker.name):
            self.remove_queues(topic, departure)
        self.absences.note_broker(departure)

    def _protect_masterless(self, broker_name: str) -> None:
        """Nobody may write to a broker of which only slaves are left, one of them acting as master."""
        broker = self.brokers.get(broker_name)
        if broker is not None and broker.enable_acting_master and not broker.has_master:
            self.wipe_write_permission(broker_name)

    def _set_permission(self, topic: str, queues: QueueData, permission: int) -> None:
        self.topics[topic][queues.broker_name] = replace(queues, permission=permission)
