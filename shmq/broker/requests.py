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

from shmq.broker import membership, offsets_requests, pulling, querying, send_back, sending
from shmq.broker.outcome import Outcome
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
    Request(RequestCode.QUERY_CONSUMER_OFFSET, Plane.DATA, offsets_requests.handle_query_offset),
    Request(RequestCode.UPDATE_CONSUMER_OFFSET, Plane.DATA, offsets_requests.handle_update_offset),
    Request(RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, Plane.DATA, querying.handle_search_offset),
    Request(RequestCode.GET_MAX_OFFSET, Plane.DATA, querying.handle_max_offset),
    Request(RequestCode.GET_MIN_OFFSET, Plane.DATA, querying.handle_min_offset),
    Request(RequestCode.GET_EARLIEST_MSG_STORETIME, Plane.DATA, querying.handle_earliest_store_time),
    Request(RequestCode.VIEW_MESSAGE_BY_ID, Plane.DATA, querying.handle_view_message),
    Request(RequestCode.HEART_BEAT, Plane.CONTROL, membership.handle_heartbeat),
    Request(RequestCode.UNREGISTER_CLIENT, Plane.CONTROL, membership.handle_unregister),
    Request(RequestCode.GET_CONSUMER_LIST_BY_GROUP, Plane.CONTROL, membership.handle_consumer_list),
    Request(RequestCode.LOCK_BATCH_MQ, Plane.CONTROL, membership.handle_lock),
    Request(RequestCode.UNLOCK_BATCH_MQ, Plane.CONTROL, membership.handle_unlock),
    Request(RequestCode.CHECK_CLIENT_CONFIG, Plane.CONTROL, membership.handle_check_client),
    Request(RequestCode.CONSUMER_SEND_MSG_BACK, Plane.CONTROL, send_back.handle_send_back),
)

REQUESTS: Final[Mapping[int, Request]] = MappingProxyType({int(row.code): row for row in _ROWS})
"""The rows, by code."""
