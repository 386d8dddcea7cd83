"""Queries of bounds, of offsets by time, of a message by position."""

import pytest

from shmq.broker.querying import (
    handle_earliest_store_time,
    handle_max_offset,
    handle_min_offset,
    handle_search_offset,
    handle_view_message,
)
from shmq.errors import RequestError
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.message import decode_messages
from tests.support.small_broker import SmallBroker, replied

UNKNOWN = [{"topic": "X"}, {"queueId": 9}, {"queueId": -1}]


@pytest.fixture
def broker(tmp_path):
    made = SmallBroker(tmp_path)
    made.add_topic("T")
    for stored_ms in (1000, 2000, 2000, 3000):
        made.append("T", 1, store_ms=stored_ms, body=str(stored_ms).encode())
    return made


def ask(broker, handler, code, **changes):
    return replied(broker.call(handler, code, {"topic": "T", "queueId": 1} | changes)).fields


def test_bounds_are_those_that_consumers_see(broker):
    broker.store.queues.min[broker.store.slot(b"T", 1)] = 2
    assert ask(broker, handle_max_offset, RequestCode.GET_MAX_OFFSET) == {"offset": "4"}
    assert ask(broker, handle_min_offset, RequestCode.GET_MIN_OFFSET) == {"offset": "2"}


@pytest.mark.parametrize("changes", UNKNOWN)
def test_a_queue_that_nobody_knows_is_empty(broker, changes):
    assert ask(broker, handle_max_offset, RequestCode.GET_MAX_OFFSET, **changes) == {"offset": "0"}
    assert ask(broker, handle_min_offset, RequestCode.GET_MIN_OFFSET, **changes) == {"offset": "0"}
    search = {"timestamp": 5} | changes
    assert ask(broker, handle_search_offset, RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, **search) == {
        "offset": "0"
    }
    earliest = ask(broker, handle_earliest_store_time, RequestCode.GET_EARLIEST_MSG_STORETIME, **changes)
    assert earliest == {"timestamp": "-1"}


@pytest.mark.parametrize(
    ("timestamp", "edge", "offset"),
    [
        (500, None, 0),
        (2000, None, 1),
        (2000, "LOWER", 1),
        (2000, "UPPER", 2),
        (2500, "LOWER", 3),
        (2500, "upper", 2),
        (9000, "LOWER", 4),
        (9000, "UPPER", 3),
    ],
)
def test_a_point_in_time_has_an_offset(broker, timestamp, edge, offset):
    changes = {"timestamp": timestamp, "boundaryType": edge}
    found = ask(broker, handle_search_offset, RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, **changes)
    assert found == {"offset": str(offset)}


def test_the_earliest_time_is_that_of_the_first_message_still_there(broker):
    code = RequestCode.GET_EARLIEST_MSG_STORETIME
    assert ask(broker, handle_earliest_store_time, code) == {"timestamp": "1000"}
    broker.store.queues.min[broker.store.slot(b"T", 1)] = 3
    assert ask(broker, handle_earliest_store_time, code) == {"timestamp": "3000"}


def test_a_message_is_found_where_it_lies(broker):
    position = broker.store.records[1][0]
    outcome = broker.call(handle_view_message, RequestCode.VIEW_MESSAGE_BY_ID, {"offset": position})
    assert replied(outcome).code == ResponseCode.SUCCESS
    (message,) = decode_messages(b"".join(outcome.pieces))
    assert (message.body, message.position, message.queue_offset) == (b"2000", position, 1)


@pytest.mark.parametrize("position", [-1, 1, 1 << 40])
def test_where_no_message_begins_none_is_found(broker, position):
    with pytest.raises(RequestError) as caught:
        broker.call(handle_view_message, RequestCode.VIEW_MESSAGE_BY_ID, {"offset": position})
    expected = (ResponseCode.SYSTEM_ERROR, f"can not find message by the offset, {position}")
    assert (caught.value.code, caught.value.remark) == expected


def test_what_is_not_yet_confirmed_is_not_found(broker):
    position = broker.store.records[1][0]
    broker.mark_appended(position)
    with pytest.raises(RequestError):
        broker.call(handle_view_message, RequestCode.VIEW_MESSAGE_BY_ID, {"offset": position})
