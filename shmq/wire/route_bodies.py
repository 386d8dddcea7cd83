"""Where topics and brokers are found: routes, clusters, member groups.

Broker ids as map keys are written bare (`{0:"..."}`, the legacy form that old Java, Go and C++ clients read)
or as text (standard JSON, for those that say they want it). No form may hold a blank: the Go client cuts
addresses out by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shmq.wire import fastjson
from shmq.wire.members import (
    Object,
    as_integer,
    as_object,
    as_text,
    boolean_of,
    integer_of,
    object_of,
    objects_of,
    optional_text_of,
    raw_object_of,
    read_object,
    text_of,
    texts_of,
)


@dataclass(frozen=True, slots=True)
class QueueData:
    """What queues of a topic one broker has."""

    broker_name: str
    read_queue_count: int
    write_queue_count: int
    permission: int
    topic_sys_flag: int = 0

    @classmethod
    def from_json(cls, source: Object) -> "QueueData":
        """Return the queues that a JSON object names."""
        return cls(
            broker_name=text_of(source, "brokerName"),
            read_queue_count=integer_of(source, "readQueueNums"),
            write_queue_count=integer_of(source, "writeQueueNums"),
            permission=integer_of(source, "perm"),
            topic_sys_flag=integer_of(source, "topicSysFlag"),
        )

    def to_json(self) -> Object:
        """Return the queues as a JSON object."""
        return {
            "brokerName": self.broker_name,
            "perm": self.permission,
            "readQueueNums": self.read_queue_count,
            "topicSysFlag": self.topic_sys_flag,
            "writeQueueNums": self.write_queue_count,
        }


@dataclass(frozen=True, slots=True)
class BrokerData:
    """The members of one broker by id, 0 being the master, and their addresses."""

    cluster: str
    broker_name: str
    addresses: Mapping[int, str] = field(default_factory=dict)
    enable_acting_master: bool = False
    zone_name: str | None = None

    @classmethod
    def from_json(cls, source: Object) -> "BrokerData":
        """Return the broker that a JSON object is."""
        return cls(
            cluster=text_of(source, "cluster"),
            broker_name=text_of(source, "brokerName"),
            addresses=_addresses_of(source),
            enable_acting_master=boolean_of(source, "enableActingMaster"),
            zone_name=optional_text_of(source, "zoneName"),
        )

    def to_json(self, *, standard: bool = False) -> Object:
        """Return the broker as a JSON object."""
        written: Object = {
            "brokerAddrs": _addresses_to_json(self.addresses, standard=standard),
            "brokerName": self.broker_name,
            "cluster": self.cluster,
            "enableActingMaster": self.enable_acting_master,
        }
        if self.zone_name is not None:
            written["zoneName"] = self.zone_name
        return written


@dataclass(frozen=True, slots=True)
class TopicRouteData:
    """Answer to 105, body of 217: the brokers and queues of a topic.

    queue_mappings of static topics are handed on unread.
    """

    queues: tuple[QueueData, ...] = ()
    brokers: tuple[BrokerData, ...] = ()
    filter_servers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    order_topic_config: str | None = None
    queue_mappings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "TopicRouteData":
        """Return the route that a body is."""
        source = read_object(body)
        servers = object_of(source, "filterServerTable")
        return cls(
            queues=tuple(QueueData.from_json(item) for item in objects_of(source, "queueDatas")),
            brokers=tuple(BrokerData.from_json(item) for item in objects_of(source, "brokerDatas")),
            filter_servers={address: texts_of(servers, address) for address in servers},
            order_topic_config=optional_text_of(source, "orderTopicConf"),
            queue_mappings=raw_object_of(source, "topicQueueMappingByBroker"),
        )

    def to_bytes(self, *, standard: bool = False) -> bytes:
        """Return the route as a body, in standard JSON or the legacy form."""
        written: Object = {
            "brokerDatas": [broker.to_json(standard=standard) for broker in self.brokers],
            "filterServerTable": dict(self.filter_servers),
            "queueDatas": [queue.to_json() for queue in self.queues],
        }
        if self.order_topic_config is not None:
            written["orderTopicConf"] = self.order_topic_config
        if self.queue_mappings:
            written["topicQueueMappingByBroker"] = dict(self.queue_mappings)
        return fastjson.dumps(written)


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """Answer to 106: all brokers, and which clusters they make."""

    brokers: Mapping[str, BrokerData] = field(default_factory=dict)
    clusters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "ClusterInfo":
        """Return the clusters that a body names."""
        source = read_object(body)
        brokers = object_of(source, "brokerAddrTable")
        clusters = object_of(source, "clusterAddrTable")
        return cls(
            brokers={name: BrokerData.from_json(as_object(broker, name)) for name, broker in brokers.items()},
            clusters={name: texts_of(clusters, name) for name in clusters},
        )

    def to_bytes(self) -> bytes:
        """Return the clusters as a body."""
        return fastjson.dumps(
            {
                "brokerAddrTable": {name: broker.to_json() for name, broker in self.brokers.items()},
                "clusterAddrTable": dict(self.clusters),
            }
        )


@dataclass(frozen=True, slots=True)
class BrokerMemberGroup:
    """Answer to 901: the members of one broker."""

    cluster: str
    broker_name: str
    addresses: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, body: bytes | memoryview) -> "BrokerMemberGroup":
        """Return the members that a body names."""
        source = object_of(read_object(body), "brokerMemberGroup")
        return cls(text_of(source, "cluster"), text_of(source, "brokerName"), _addresses_of(source))

    def to_bytes(self) -> bytes:
        """Return the members as a body."""
        group = {
            "brokerAddrs": _addresses_to_json(self.addresses, standard=False),
            "brokerName": self.broker_name,
            "cluster": self.cluster,
        }
        return fastjson.dumps({"brokerMemberGroup": group})


def _addresses_of(source: Object) -> dict[int, str]:
    return {
        as_integer(broker_id, "brokerAddrs"): as_text(address, "brokerAddrs")
        for broker_id, address in object_of(source, "brokerAddrs").items()
    }


def _addresses_to_json(addresses: Mapping[int, str], *, standard: bool) -> Any:
    if standard:
        return {str(broker_id): address for broker_id, address in addresses.items()}
    return fastjson.number_keyed(addresses)
