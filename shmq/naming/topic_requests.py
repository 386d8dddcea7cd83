"""What administrators and clients ask about clusters and topics, routes aside, and what they say of topics."""

from collections.abc import Iterable

from shmq.errors import RequestError
from shmq.naming.naming import Call, Naming
from shmq.naming.route_answers import broker_as_seen
from shmq.wire.bodies import TopicList
from shmq.wire.codes import ResponseCode
from shmq.wire.command import Command
from shmq.wire.fields import read_header
from shmq.wire.flags import TOPIC_UNIT, TOPIC_UNIT_SUB
from shmq.wire.naming_headers import DeleteTopicFromNamesrvHeader, RegisterTopicHeader, TopicsByClusterHeader
from shmq.wire.route_bodies import ClusterInfo, TopicRouteData


def handle_register_topic(naming: Naming, call: Call) -> Command:
    """Code 217."""
    header = read_header(RegisterTopicHeader, call.request.fields)
    queues = TopicRouteData.from_bytes(call.request.body).queues
    if queues and not naming.routes.register_topic(header.topic, queues):
        names = [each.broker_name for each in queues]
        naming.note("warning", "topic of an unknown broker ignored", topic=header.topic, brokers=names)
    return call.request.reply()


def handle_delete_topic(naming: Naming, call: Call) -> Command:
    """Code 216."""
    header = read_header(DeleteTopicFromNamesrvHeader, call.request.fields)
    naming.routes.delete_topic(header.topic, header.cluster_name, call.now_ms)
    naming.note("info", "topic deleted", topic=header.topic, cluster=header.cluster_name or "")
    return call.request.reply()


def handle_get_cluster_info(naming: Naming, call: Call) -> Command:
    """Code 106."""
    routes = naming.routes
    info = ClusterInfo(
        brokers={
            name: broker_as_seen(routes, broker, call.local.address)
            for name, broker in routes.brokers.items()
        },
        clusters={name: tuple(sorted(brokers)) for name, brokers in routes.clusters.items()},
    )
    return call.request.reply(body=info.to_bytes())


def handle_get_all_topics(naming: Naming, call: Call) -> Command:
    """Code 206."""
    _check_enabled(naming.settings.all_topic_list_enable)
    return _reply_topics(call, naming.routes.topics)


def handle_get_topics_by_cluster(naming: Naming, call: Call) -> Command:
    """Code 224."""
    _check_enabled(naming.settings.topic_list_enable)
    header = read_header(TopicsByClusterHeader, call.request.fields)
    names = naming.routes.clusters.get(header.cluster, set())
    return _reply_topics(
        call, (topic for topic, queues in naming.routes.topics.items() if not names.isdisjoint(queues))
    )


def handle_get_system_topics(naming: Naming, call: Call) -> Command:
    """Code 304: names of clusters and brokers, which are topics too, and a broker to ask for the others."""
    routes = naming.routes
    topics = set(routes.clusters).union(*routes.clusters.values())
    seen = (broker_as_seen(routes, broker, call.local.address) for broker in routes.brokers.values())
    address = next((each.addresses[min(each.addresses)] for each in seen), None)
    return call.request.reply(body=TopicList(tuple(sorted(topics)), address).to_bytes())


def handle_get_unit_topics(naming: Naming, call: Call) -> Command:
    """Code 311."""
    return _reply_flagged(naming, call, TOPIC_UNIT, TOPIC_UNIT)


def handle_get_unit_sub_topics(naming: Naming, call: Call) -> Command:
    """Code 312."""
    return _reply_flagged(naming, call, TOPIC_UNIT_SUB, TOPIC_UNIT_SUB)


def handle_get_unit_sub_ununit_topics(naming: Naming, call: Call) -> Command:
    """Code 313."""
    return _reply_flagged(naming, call, TOPIC_UNIT | TOPIC_UNIT_SUB, TOPIC_UNIT_SUB)


def _reply_flagged(naming: Naming, call: Call, mask: int, wanted: int) -> Command:
    """Answer the topics whose first broker's flags are the wanted ones."""
    _check_enabled(naming.settings.topic_list_enable)
    return _reply_topics(
        call,
        (
            topic
            for topic, queues in naming.routes.topics.items()
            if next(iter(queues.values())).topic_sys_flag & mask == wanted
        ),
    )


def _reply_topics(call: Call, topics: Iterable[str]) -> Command:
    return call.request.reply(body=TopicList(tuple(topics)).to_bytes())


def _check_enabled(is_enabled: bool) -> None:
    if not is_enabled:
        raise RequestError(ResponseCode.SYSTEM_ERROR, "disable")
