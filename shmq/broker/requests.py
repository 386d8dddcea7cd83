"""The table of requests: who answers each code, and how. It is the index of the broker.

A DATA request is answered by the network worker that got it, from shared memory: `handler(replica, request, peer,
now_ms)`. A CONTROL request is forwarded to the conductor, which owns the tables: `handler(metadata, request, channel,
peer, now_ms)`. A code that is not here is not supported, and says so. On the VIP port nothing is served that could hold
up producers, for which it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from shmq.broker import (
    administering_broker,
    administering_groups,
    administering_store,
    administering_topics,
    assigning,
    consumer_calls,
    membership,
    offsets_requests,
    pulling,
    querying,
    replying,
    resetting,
    send_back,
    sending,
)
from shmq.broker.outcome import Outcome
from shmq.broker.pop import acking, polling, popping
from shmq.broker.timers import administering as administering_timers
from shmq.broker.timers import recalling
from shmq.broker.transactions import ending as ending_transactions
from shmq.wire.codes import RequestCode


class Plane(Enum):
    """Who answers."""

    DATA = auto()
    CONTROL = auto()


@dataclass(frozen=True, slots=True)
class Request:
    """A row of the table.

    Attributes:
        code: the request's.
        plane: who answers it.
        handler: makes an outcome of it; its arguments follow from the plane.
        on_vip: whether it is served on the VIP port too.
    """

    code: RequestCode
    plane: Plane
    handler: Callable[..., Outcome]
    on_vip: bool = True


_ROWS: Final = (
    Request(RequestCode.SEND_MESSAGE, Plane.DATA, sending.handle_send),
    Request(RequestCode.SEND_MESSAGE_V2, Plane.DATA, sending.handle_send),
    Request(RequestCode.SEND_BATCH_MESSAGE, Plane.DATA, sending.handle_send),
    Request(RequestCode.PULL_MESSAGE, Plane.DATA, pulling.handle_pull, on_vip=False),
    Request(RequestCode.LITE_PULL_MESSAGE, Plane.DATA, pulling.handle_pull, on_vip=False),
    Request(RequestCode.POP_MESSAGE, Plane.DATA, popping.handle_pop, on_vip=False),
    Request(RequestCode.ACK_MESSAGE, Plane.DATA, acking.handle_ack),
    Request(RequestCode.BATCH_ACK_MESSAGE, Plane.DATA, acking.handle_batch_ack),
    Request(RequestCode.CHANGE_MESSAGE_INVISIBLETIME, Plane.DATA, acking.handle_change_invisible),
    Request(RequestCode.NOTIFICATION, Plane.DATA, polling.handle_notification, on_vip=False),
    Request(RequestCode.POLLING_INFO, Plane.DATA, polling.handle_polling_info, on_vip=False),
    Request(RequestCode.QUERY_MESSAGE, Plane.DATA, querying.handle_query_message),
    Request(RequestCode.QUERY_CONSUMER_OFFSET, Plane.DATA, offsets_requests.handle_query_offset),
    Request(RequestCode.UPDATE_CONSUMER_OFFSET, Plane.DATA, offsets_requests.handle_update_offset),
    Request(RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, Plane.DATA, querying.handle_search_offset),
    Request(RequestCode.GET_MAX_OFFSET, Plane.DATA, querying.handle_max_offset),
    Request(RequestCode.GET_MIN_OFFSET, Plane.DATA, querying.handle_min_offset),
    Request(RequestCode.GET_EARLIEST_MSG_STORETIME, Plane.DATA, querying.handle_earliest_store_time),
    Request(RequestCode.VIEW_MESSAGE_BY_ID, Plane.DATA, querying.handle_view_message),
    Request(RequestCode.QUERY_CONSUME_QUEUE, Plane.DATA, querying.handle_consume_queue),
    Request(RequestCode.RECALL_MESSAGE, Plane.DATA, recalling.handle_recall),
    Request(RequestCode.HEART_BEAT, Plane.CONTROL, membership.handle_heartbeat),
    Request(RequestCode.UNREGISTER_CLIENT, Plane.CONTROL, membership.handle_unregister),
    Request(RequestCode.GET_CONSUMER_LIST_BY_GROUP, Plane.CONTROL, membership.handle_consumer_list),
    Request(RequestCode.LOCK_BATCH_MQ, Plane.CONTROL, membership.handle_lock),
    Request(RequestCode.UNLOCK_BATCH_MQ, Plane.CONTROL, membership.handle_unlock),
    Request(RequestCode.QUERY_ASSIGNMENT, Plane.CONTROL, assigning.handle_query_assignment),
    Request(RequestCode.SET_MESSAGE_REQUEST_MODE, Plane.CONTROL, assigning.handle_set_request_mode),
    Request(RequestCode.GET_ALL_MESSAGE_REQUEST_MODE, Plane.CONTROL, assigning.handle_all_request_modes),
    Request(RequestCode.CHECK_CLIENT_CONFIG, Plane.CONTROL, membership.handle_check_client),
    Request(RequestCode.REGISTER_FILTER_SERVER, Plane.CONTROL, membership.handle_register_filter_server),
    Request(RequestCode.CONSUMER_SEND_MSG_BACK, Plane.CONTROL, send_back.handle_send_back),
    Request(RequestCode.END_TRANSACTION, Plane.CONTROL, ending_transactions.handle_end_transaction),
    Request(RequestCode.RESUME_CHECK_HALF_MESSAGE, Plane.CONTROL, ending_transactions.handle_resume_check),
    Request(RequestCode.UPDATE_AND_CREATE_TOPIC, Plane.CONTROL, administering_topics.handle_put_topic),
    Request(RequestCode.UPDATE_AND_CREATE_TOPIC_LIST, Plane.CONTROL, administering_topics.handle_put_topics),
    Request(RequestCode.DELETE_TOPIC_IN_BROKER, Plane.CONTROL, administering_topics.handle_delete_topic),
    Request(RequestCode.GET_ALL_TOPIC_CONFIG, Plane.CONTROL, administering_topics.handle_all_topics),
    Request(RequestCode.GET_TOPIC_CONFIG, Plane.CONTROL, administering_topics.handle_get_topic),
    Request(
        RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_BROKER,
        Plane.CONTROL,
        administering_topics.handle_system_topics,
    ),
    Request(RequestCode.GET_TOPIC_STATS_INFO, Plane.CONTROL, administering_topics.handle_topic_stats),
    Request(
        RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, Plane.CONTROL, administering_groups.handle_put_group
    ),
    Request(
        RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST,
        Plane.CONTROL,
        administering_groups.handle_put_groups,
    ),
    Request(RequestCode.DELETE_SUBSCRIPTIONGROUP, Plane.CONTROL, administering_groups.handle_delete_group),
    Request(
        RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG, Plane.CONTROL, administering_groups.handle_all_groups
    ),
    Request(RequestCode.GET_SUBSCRIPTIONGROUP_CONFIG, Plane.CONTROL, administering_groups.handle_get_group),
    Request(RequestCode.UPDATE_AND_GET_GROUP_FORBIDDEN, Plane.CONTROL, administering_groups.handle_forbidden),
    Request(RequestCode.GET_ALL_CONSUMER_OFFSET, Plane.CONTROL, administering_groups.handle_all_offsets),
    Request(
        RequestCode.QUERY_TOPIC_CONSUME_BY_WHO, Plane.CONTROL, administering_groups.handle_groups_of_topic
    ),
    Request(RequestCode.QUERY_TOPICS_BY_CONSUMER, Plane.CONTROL, administering_groups.handle_topics_of_group),
    Request(
        RequestCode.QUERY_SUBSCRIPTION_BY_CONSUMER, Plane.CONTROL, administering_groups.handle_subscription
    ),
    Request(RequestCode.GET_CONSUME_STATS, Plane.CONTROL, administering_groups.handle_consume_stats),
    Request(RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, Plane.CONTROL, resetting.handle_reset_offset),
    Request(RequestCode.CLONE_GROUP_OFFSET, Plane.CONTROL, resetting.handle_clone_offset),
    Request(RequestCode.QUERY_CORRECTION_OFFSET, Plane.CONTROL, resetting.handle_correction_offset),
    Request(
        RequestCode.INVOKE_BROKER_TO_GET_CONSUMER_STATUS, Plane.CONTROL, consumer_calls.handle_consumer_status
    ),
    Request(RequestCode.GET_CONSUMER_RUNNING_INFO, Plane.CONTROL, consumer_calls.handle_running_info),
    Request(RequestCode.CONSUME_MESSAGE_DIRECTLY, Plane.CONTROL, consumer_calls.handle_consume_directly),
    Request(RequestCode.SEND_REPLY_MESSAGE, Plane.CONTROL, replying.handle_reply),
    Request(RequestCode.SEND_REPLY_MESSAGE_V2, Plane.CONTROL, replying.handle_reply),
    Request(
        RequestCode.GET_CONSUMER_CONNECTION_LIST,
        Plane.CONTROL,
        administering_broker.handle_consumer_connections,
    ),
    Request(
        RequestCode.GET_PRODUCER_CONNECTION_LIST,
        Plane.CONTROL,
        administering_broker.handle_producer_connections,
    ),
    Request(RequestCode.GET_ALL_PRODUCER_INFO, Plane.CONTROL, administering_broker.handle_all_producers),
    Request(RequestCode.GET_BROKER_CONFIG, Plane.CONTROL, administering_broker.handle_get_config),
    Request(RequestCode.GET_BROKER_RUNTIME_INFO, Plane.CONTROL, administering_broker.handle_runtime_info),
    Request(RequestCode.GET_TIMER_CHECK_POINT, Plane.CONTROL, administering_timers.handle_timer_check),
    Request(RequestCode.GET_TIMER_METRICS, Plane.CONTROL, administering_timers.handle_timer_metrics),
    Request(RequestCode.CLEAN_EXPIRED_CONSUMEQUEUE, Plane.CONTROL, administering_store.handle_clean_queues),
    Request(RequestCode.CLEAN_UNUSED_TOPIC, Plane.CONTROL, administering_store.handle_clean_topics),
    Request(RequestCode.DELETE_EXPIRED_COMMITLOG, Plane.CONTROL, administering_store.handle_delete_expired),
)

REQUESTS: Final[Mapping[int, Request]] = MappingProxyType({int(row.code): row for row in _ROWS})
"""The rows, by code."""
