"""How a broker registers: whose address stands, and whose topics count.

A registration may hold all of the broker's topics or only those that changed; nothing says which. So topics are
never removed because they are absent, unless the operator wants it, and a registration with a single topic from
a member that is not here yet is refused: it can only be an increment whose first part was lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from shmq.naming.absences import Cause, Departure
from shmq.naming.routes import LEASE_MS, MASTER_ID, Broker, BrokerKey, LiveBroker, MinIdChange, Routes
from shmq.wire.bodies import DataVersion
from shmq.wire.flags import PERM_WRITE
from shmq.wire.naming_headers import RegisterBrokerHeader
from shmq.wire.route_bodies import QueueData
from shmq.wire.topic_bodies import RegisterBrokerBody, TopicConfig


@dataclass(frozen=True, slots=True)
class Registration:
    """What a broker says of itself.

    Attributes:
        header: who it is.
        body: its topics.
        channel_id: the connection on which it says so.
        advertised: addresses to answer instead of its own, by the local address that a client came in on.
        delete_absent: whether topics that the body does not name are to be removed.
        lease_ms: how long it may be silent where it does not say so itself.
    """

    header: RegisterBrokerHeader
    body: RegisterBrokerBody
    channel_id: int
    advertised: Mapping[bytes, str] = field(default_factory=dict)
    delete_absent: bool = False
    lease_ms: int = LEASE_MS

    @property
    def key(self) -> BrokerKey:
        """What names the member."""
        return BrokerKey(self.header.cluster_name, self.header.broker_address)


class Registered(NamedTuple):
    """How a registration ended.

    Attributes:
        is_new: the member was not here before.
        is_ignored: another member with the same id has a higher state version.
        ha_address: for a slave, where its master sends replicas from.
        master_address: for a slave, its master.
        min_id_change: whom to tell that the smallest id is another one.
    """

    is_new: bool = False
    is_ignored: bool = False
    ha_address: str | None = None
    master_address: str | None = None
    min_id_change: MinIdChange | None = None


def register(routes: Routes, registration: Registration, now_ms: int) -> Registered | None:
    """Take a registration into the tables; None: refused."""
    header = registration.header
    broker = routes.brokers.get(header.broker_name) or Broker(header.cluster_name, header.broker_name)
    before = dict(broker.addresses)
    # One address has one id: a slave that became master leaves its old one.
    kept = {
        broker_id: address
        for broker_id, address in before.items()
        if address != header.broker_address or broker_id == header.broker_id
    }
    refused = header.broker_id not in kept and len(registration.body.table.topics) == 1
    if refused and not kept:
        return None
    _join(routes, broker, header)
    broker.addresses = kept
    if _is_outranked(routes, broker, registration):
        routes.live.pop(registration.key, None)
        return Registered(is_ignored=True)
    if refused:
        return None
    is_first = header.broker_id not in kept
    broker.addresses[header.broker_id] = header.broker_address
    if header.broker_id == MASTER_ID or _is_prime_slave(broker, header):
        _take_topics(routes, broker, registration, is_first=is_first, now_ms=now_ms)
    is_new = registration.key not in routes.live
    routes.live[registration.key] = LiveBroker(
        updated_ms=now_ms,
        lease_ms=registration.lease_ms
        if header.heartbeat_timeout_ms is None
        else header.heartbeat_timeout_ms,
        data_version=registration.body.table.data_version,
        channel_id=registration.channel_id,
        ha_address=header.ha_address,
        filter_servers=registration.body.filter_servers,
        advertised=registration.advertised,
    )
    master_address, ha_address = _master_of(routes, broker, header)
    return Registered(
        is_new=is_new,
        ha_address=ha_address,
        master_address=master_address,
        min_id_change=_min_id_change(broker, before, header),
    )


def _join(routes: Routes, broker: Broker, header: RegisterBrokerHeader) -> None:
    routes.brokers[broker.name] = broker
    routes.clusters.setdefault(header.cluster_name, set()).add(broker.name)
    broker.enable_acting_master = bool(header.enable_acting_master)
    broker.zone_name = header.zone_name


def _is_outranked(routes: Routes, broker: Broker, registration: Registration) -> bool:
    """Whether another address holds this id, lives, and has seen a later state."""
    holder = broker.addresses.get(registration.header.broker_id)
    if holder is None or holder == registration.header.broker_address:
        return False
    version = routes.version_of(BrokerKey(registration.header.cluster_name, holder))
    return version is not None and version.state_version > registration.body.table.data_version.state_version


def _is_prime_slave(broker: Broker, header: RegisterBrokerHeader) -> bool:
    """Whether this slave speaks for its broker: the smallest id, and new enough to know of acting masters."""
    return header.enable_acting_master is not None and header.broker_id == broker.id_min


def _take_topics(
    routes: Routes, broker: Broker, registration: Registration, *, is_first: bool, now_ms: int
) -> None:
    table = registration.body.table
    if registration.delete_absent and not table.queue_mappings:
        departure = Departure(broker.name, Cause.REPLACED, now_ms)
        for topic in routes.topics_of(broker.name):
            if topic not in table.topics:
                routes.remove_queues(topic, departure)
    is_changed = is_first or _is_changed(routes, registration.key, table.data_version)
    is_read_only = registration.header.broker_id != MASTER_ID and broker.enable_acting_master
    for config in table.topics.values():
        if is_changed or broker.name not in routes.topics.get(config.topic, ()):
            queues = queues_of(broker.name, config)
            if is_read_only:
                queues = replace(queues, permission=queues.permission & ~PERM_WRITE)
            routes.put_queues(config.topic, queues)
    if is_changed:
        for topic, mapping in table.queue_mappings.items():
            owner = mapping.get("bname", broker.name) if isinstance(mapping, dict) else broker.name
            routes.mappings.setdefault(topic, {})[owner] = mapping


def queues_of(broker_name: str, config: TopicConfig) -> QueueData:
    """Return a topic's configuration as a route tells it."""
    return QueueData(
        broker_name=broker_name,
        read_queue_count=config.read_queue_count,
        write_queue_count=config.write_queue_count,
        permission=config.permission,
        topic_sys_flag=config.topic_sys_flag,
    )


def _is_changed(routes: Routes, key: BrokerKey, version: DataVersion) -> bool:
    return routes.version_of(key) != version


def _master_of(routes: Routes, broker: Broker, header: RegisterBrokerHeader) -> tuple[str | None, str | None]:
    """Return, for a slave, its master's address and HA address if the master lives."""
    address = broker.addresses.get(MASTER_ID)
    if header.broker_id == MASTER_ID or address is None:
        return None, None
    lease = routes.live.get(BrokerKey(header.cluster_name, address))
    return (None, None) if lease is None else (address, lease.ha_address)


def _min_id_change(
    broker: Broker, before: Mapping[int, str], header: RegisterBrokerHeader
) -> MinIdChange | None:
    """Return whom to tell, where a smaller id than any before has come."""
    if not before or header.broker_id >= min(before):
        return None
    least = broker.id_min
    others = tuple(address for broker_id, address in broker.addresses.items() if broker_id != least)
    targets = others or tuple(broker.addresses.values())
    return MinIdChange(targets, least, broker.addresses[least], None, header.ha_address)
