"""The index of the name server: which handler answers which request."""

from collections.abc import Callable, Mapping
from typing import Final

from shmq.errors import RequestError
from shmq.naming import broker_requests, config_requests, route_answers, topic_requests
from shmq.naming.naming import Call, Naming
from shmq.store.host import Host
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command

HANDLERS: Final[Mapping[int, Callable[[Naming, Call], Command]]] = {
    RequestCode.PUT_KV_CONFIG: config_requests.handle_put_kv_config,
    RequestCode.GET_KV_CONFIG: config_requests.handle_get_kv_config,
    RequestCode.DELETE_KV_CONFIG: config_requests.handle_delete_kv_config,
    RequestCode.REGISTER_BROKER: broker_requests.handle_register_broker,
    RequestCode.UNREGISTER_BROKER: broker_requests.handle_unregister_broker,
    RequestCode.GET_ROUTEINFO_BY_TOPIC: route_answers.handle_get_route,
    RequestCode.GET_BROKER_CLUSTER_INFO: topic_requests.handle_get_cluster_info,
    RequestCode.WIPE_WRITE_PERM_OF_BROKER: broker_requests.handle_wipe_write_permission,
    RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER: topic_requests.handle_get_all_topics,
    RequestCode.DELETE_TOPIC_IN_NAMESRV: topic_requests.handle_delete_topic,
    RequestCode.REGISTER_TOPIC_IN_NAMESRV: topic_requests.handle_register_topic,
    RequestCode.GET_KVLIST_BY_NAMESPACE: config_requests.handle_get_kv_list,
    RequestCode.GET_TOPICS_BY_CLUSTER: topic_requests.handle_get_topics_by_cluster,
    RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS: topic_requests.handle_get_system_topics,
    RequestCode.GET_UNIT_TOPIC_LIST: topic_requests.handle_get_unit_topics,
    RequestCode.GET_HAS_UNIT_SUB_TOPIC_LIST: topic_requests.handle_get_unit_sub_topics,
    RequestCode.GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST: topic_requests.handle_get_unit_sub_ununit_topics,
    RequestCode.UPDATE_NAMESRV_CONFIG: config_requests.handle_update_settings,
    RequestCode.GET_NAMESRV_CONFIG: config_requests.handle_get_settings,
    RequestCode.QUERY_DATA_VERSION: broker_requests.handle_query_data_version,
    RequestCode.ADD_WRITE_PERM_OF_BROKER: broker_requests.handle_add_write_permission,
    RequestCode.GET_BROKER_MEMBER_GROUP: broker_requests.handle_get_member_group,
    RequestCode.BROKER_HEARTBEAT: broker_requests.handle_heartbeat,
}


def handle(naming: Naming, request: Command, channel_id: int, local: Host, now_ms: int) -> Command:
    """Answer a request; nobody sends the answer to one that wants none."""
    handler = HANDLERS.get(request.code)
    if handler is None:
        remark = f" request type {request.code} not supported"
        return request.reply(ResponseCode.REQUEST_CODE_NOT_SUPPORTED, remark)
    try:
        return handler(naming, Call(request, channel_id, local, now_ms))
    except RequestError as error:
        return request.reply(error.code, error.remark, error.fields)
