"""Requests as brokers send them to a name server, and a name server to send them to."""

from collections.abc import Iterable
from typing import Any

from shmq.naming.naming import Naming
from shmq.naming.requests import handle
from shmq.naming.settings import NamingSettings
from shmq.store.host import Host
from shmq.wire.bodies import DataVersion
from shmq.wire.codes import VERSION, RequestCode
from shmq.wire.command import Command
from shmq.wire.topic_bodies import RegisterBrokerBody, TopicConfig, TopicConfigSerializeWrapper

LOCAL = Host(b"\x7f\x00\x00\x01", 9876)
START_MS = 1_000_000


def version(counter: int = 1, state_version: int = 0, timestamp_ms: int = 1) -> DataVersion:
    return DataVersion(counter, state_version, timestamp_ms)


def registration_of(
    topics: Iterable[TopicConfig | str],
    data_version: DataVersion | None = None,
    *,
    name: str = "broker-a",
    broker_id: int = 0,
    address: str = "10.0.0.1:10911",
    cluster: str = "DefaultCluster",
    filter_servers: tuple[str, ...] = (),
    queue_mappings: dict[str, Any] | None = None,
    **fields: str,
) -> Command:
    configs = [TopicConfig(topic) if isinstance(topic, str) else topic for topic in topics]
    table = TopicConfigSerializeWrapper(
        {config.topic: config for config in configs}, data_version or version(), queue_mappings or {}
    )
    who = {
        "brokerName": name,
        "brokerAddr": address,
        "clusterName": cluster,
        "haServerAddr": "10.0.0.1:10912",
        "brokerId": str(broker_id),
    }
    body = RegisterBrokerBody(table, filter_servers).to_bytes()
    return Command(RequestCode.REGISTER_BROKER, fields=who | fields, body=body)


class NameServer:
    """Tables, a clock, and the way in."""

    def __init__(self, **settings: bool | int | str) -> None:
        self.now_ms = START_MS
        self.naming = Naming(START_MS, NamingSettings(**settings))  # type: ignore[arg-type]

    def ask(
        self,
        code: int,
        body: bytes = b"",
        *,
        version: int = VERSION,
        channel_id: int = 1,
        local: Host = LOCAL,
        **fields: str,
    ) -> Command:
        command = Command(code, opaque=7, version=version, fields=dict(fields), body=body)
        return handle(self.naming, command, channel_id, local, self.now_ms)

    def register(
        self,
        topics: Iterable[TopicConfig | str],
        data_version: DataVersion | None = None,
        *,
        channel_id: int = 1,
        **given: Any,
    ) -> Command:
        request = registration_of(topics, data_version, **given)
        return handle(self.naming, request, channel_id, LOCAL, self.now_ms)

    def unregister(self, name: str, address: str, broker_id: int = 0) -> Command:
        return self.ask(
            RequestCode.UNREGISTER_BROKER,
            brokerName=name,
            brokerAddr=address,
            clusterName="DefaultCluster",
            brokerId=str(broker_id),
        )

    def route(self, topic: str, **given: Any) -> Command:
        return self.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, topic=topic, **given)
