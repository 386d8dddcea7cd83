"""What a client is told of a topic: its brokers, under the addresses that this client can dial, or why not."""

from collections.abc import Mapping
from typing import Final

from shmq.errors import RequestError
from shmq.naming.absences import explain_lost_topic, explain_no_broker, explain_unknown_topic, explain_zone
from shmq.naming.kv_config import ORDER_TOPIC_CONFIG
from shmq.naming.naming import Call, Naming
from shmq.naming.routes import MASTER_ID, Broker, BrokerKey, Routes
from shmq.wire.codes import V4_9_4, ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header
from shmq.wire.flags import PERM_WRITE
from shmq.wire.naming_headers import GetRouteHeader
from shmq.wire.route_bodies import BrokerData, QueueData, TopicRouteData

AUTO_CREATE_TOPIC: Final = "TBW102"
MEMBER_TOPIC_PREFIX: Final = "rmq_sys_SYNC_BROKER_MEMBER_"
FAQ: Final = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
ZONE_MODE_FIELD: Final = "__ZONE_MODE"
ZONE_NAME_FIELD: Final = "__ZONE_NAME"


def handle_get_route(naming: Naming, call: Call) -> Command:
    """Code 105."""
    header = read_header(GetRouteHeader, call.request.fields)
    settings = naming.settings
    if settings.wait_for_service and call.now_ms - naming.started_ms < settings.wait_seconds * 1000:
        raise RequestError(ResponseCode.SYSTEM_ERROR, "name server not ready")
    route = route_of(naming, header.topic, call)
    standard = call.request.version >= V4_9_4 or header.standard_json_only
    return call.request.reply(body=route.to_bytes(standard=standard))


def route_of(naming: Naming, topic: str, call: Call) -> TopicRouteData:
    """Return the route of a topic for whoever asks.

    Raises:
        RequestError: TOPIC_NOT_EXIST: there is none; the remark says why.
    """
    routes = naming.routes
    queues = routes.topics.get(topic)
    if queues is None:
        raise _no_route(topic, _reason(routes, topic, call.now_ms))
    names = _names_in_zone(routes, queues, call.request.fields)
    if not names:
        zone_name = call.request.fields[ZONE_NAME_FIELD]
        raise _no_route(topic, explain_zone(queues, zone_name))
    filter_servers: dict[str, tuple[str, ...]] = {}
    brokers: list[BrokerData] = []
    for name in names:
        broker = routes.brokers[name]
        shown = broker_as_seen(routes, broker, call.local.address)
        for broker_id, address in broker.addresses.items():
            lease = routes.live.get(BrokerKey(broker.cluster, address))
            if lease is not None and lease.filter_servers:
                filter_servers[shown.addresses[broker_id]] = lease.filter_servers
        if naming.settings.support_acting_master and not topic.startswith(MEMBER_TOPIC_PREFIX):
            shown = _with_acting_master(shown, queues[name])
        brokers.append(shown)
    order = naming.kv.get(ORDER_TOPIC_CONFIG, topic) if naming.settings.order_message_enable else None
    return TopicRouteData(
        queues=tuple(queues[name] for name in names),
        brokers=tuple(brokers),
        filter_servers=filter_servers,
        order_topic_config=order,
        queue_mappings=routes.mappings.get(topic, {}),
    )


def broker_as_seen(routes: Routes, broker: Broker, local_address: bytes) -> BrokerData:
    """Return a broker with, for each member, the address that is reached the way the client came in."""
    addresses: dict[int, str] = {}
    for broker_id, address in broker.addresses.items():
        lease = routes.live.get(BrokerKey(broker.cluster, address))
        addresses[broker_id] = address if lease is None else lease.advertised.get(local_address, address)
    return BrokerData(
        cluster=broker.cluster,
        broker_name=broker.name,
        addresses=addresses,
        enable_acting_master=broker.enable_acting_master,
        zone_name=broker.zone_name,
    )


def _names_in_zone(routes: Routes, queues: Mapping[str, QueueData], fields: Mapping[str, str]) -> list[str]:
    """Return the brokers that may be shown: in zone mode those of the zone, and those that lost their master."""
    zone_name = fields.get(ZONE_NAME_FIELD, "").strip().lower()
    if not zone_name or fields.get(ZONE_MODE_FIELD, "").lower() != "true":
        return list(queues)
    return [
        name
        for name in queues
        if not routes.brokers[name].has_master or (routes.brokers[name].zone_name or "").lower() == zone_name
    ]


def _with_acting_master(broker: BrokerData, queues: QueueData) -> BrokerData:
    """Return a broker without a master with its smallest id shown as one, where nobody can write to it."""
    if MASTER_ID in broker.addresses or not broker.enable_acting_master or queues.permission & PERM_WRITE:
        return broker
    least = min(broker.addresses)
    addresses = {MASTER_ID if each == least else each: address for each, address in broker.addresses.items()}
    return BrokerData(broker.cluster, broker.broker_name, addresses, True, broker.zone_name)


def _reason(routes: Routes, topic: str, now_ms: int) -> str:
    departure = routes.absences.topic(topic, now_ms)
    if departure is not None:
        return explain_lost_topic(departure, now_ms)
    if not routes.brokers:
        return explain_no_broker(routes.absences.last_broker(now_ms), now_ms)
    return explain_unknown_topic(routes.brokers, routes.topics.get(AUTO_CREATE_TOPIC, ()))


def _no_route(topic: str, reason: str) -> RequestError:
    remark = f"No topic route info in name server for the topic: {topic}\n{reason}{FAQ}"
    return RequestError(ResponseCode.TOPIC_NOT_EXIST, remark)
