"""Queries of bounds, of offsets by time, of a message by position, of messages by key."""

import pytest

from shmq.broker.querying import (
    handle_earliest_store_time,
    handle_max_offset,
    handle_min_offset,
    handle_query_message,
    handle_search_offset,
    handle_view_message,
)
from shmq.errors import RequestError
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import encode_head
from shmq.wire.frame import FRAME_BYTES_MAX
from shmq.wire.message import decode_messages
from tests.support.key_index_model import KeyIndexModel
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


SLOTS, ENTRIES = 5, 200
EVERYTHING = {"topic": "T", "key": "k", "maxNum": 64, "beginTimestamp": 0, "endTimestamp": (1 << 63) - 1}
NOT_FOUND = (ResponseCode.QUERY_NOT_FOUND, "can not find message, maybe time range not correct")


def keyed_broker(root, count, body_bytes=1, **settings):
    """A broker of some messages with one key, whose bodies begin with their numbers."""
    made = SmallBroker(root, key_index_slots=SLOTS, key_index_entries=ENTRIES, **settings)
    made.add_topic("T")
    index = KeyIndexModel(SLOTS, ENTRIES)
    for number in range(count):
        body = str(number).encode().ljust(body_bytes)
        made.append(
            "T", body=body, properties=b"UNIQ_KEY\x01u\x02KEYS\x01k other\x02", store_ms=1000 + number
        )
        index.put_message("T", "u", "k other", made.store.records[-1][0], 1000 + number)
    index.write(root / "index")
    return made


def query(broker, **changes):
    return broker.call(handle_query_message, RequestCode.QUERY_MESSAGE, EVERYTHING | changes)


def numbers(outcome):
    """The numbers of the messages that an answer holds."""
    assert replied(outcome).code == ResponseCode.SUCCESS
    return [int(bytes(message.body)) for message in decode_messages(b"".join(outcome.pieces))]


def refusal(broker, **changes):
    with pytest.raises(RequestError) as caught:
        query(broker, **changes)
    return caught.value


def test_a_key_finds_its_newest_messages_in_order(tmp_path):
    broker = keyed_broker(tmp_path, 5)
    assert numbers(query(broker)) == [0, 1, 2, 3, 4]
    assert numbers(query(broker, maxNum=2)) == [3, 4]
    assert numbers(query(broker, beginTimestamp=1001, endTimestamp=1003)) == [1, 2, 3]


def test_the_answer_says_how_far_the_index_has_come(tmp_path):
    broker = keyed_broker(tmp_path, 5)
    expected = {
        "indexLastUpdateTimestamp": "1004",
        "indexLastUpdatePhyoffset": str(broker.store.records[-1][0]),
    }
    assert replied(query(broker, endTimestamp=1000)).fields == expected


def test_no_more_than_64_are_answered_and_32_by_a_unique_id(tmp_path):
    broker = keyed_broker(tmp_path, 66)
    assert numbers(query(broker, maxNum=1000)) == list(range(2, 66))
    assert numbers(query(broker, key="u", maxNum=1000)) == list(range(2, 66))
    unique = {"_UNIQUE_KEY_QUERY": "true"}
    assert numbers(query(broker, key="u", maxNum=1, **unique)) == list(range(34, 66))
    assert numbers(query(broker, maxNum=1, _UNIQUE_KEY_QUERY="True")) == [65]


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "x"},
        {"key": ""},
        {"topic": "X"},
        {"maxNum": 0},
        {"maxNum": -1},
        {"beginTimestamp": 1005},
        {"endTimestamp": 999},
        {"endTimestamp": -(1 << 63)},
        {"beginTimestamp": 1003, "endTimestamp": 1001},
    ],
)
def test_where_nothing_is_found_the_header_is_there_all_the_same(tmp_path, changes):
    error = refusal(keyed_broker(tmp_path, 5), **changes)
    assert (error.code, error.remark) == NOT_FOUND
    assert error.fields == {"indexLastUpdateTimestamp": "0", "indexLastUpdatePhyoffset": "0"}


def test_without_an_index_nothing_is_found(tmp_path):
    broker = SmallBroker(tmp_path)
    broker.add_topic("T")
    error = refusal(broker)
    assert (error.code, error.remark) == NOT_FOUND


def test_old_messages_are_found_while_the_index_is_off(tmp_path):
    assert numbers(query(keyed_broker(tmp_path, 2, key_index=False))) == [0, 1]


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_query_states_every_field(tmp_path, name):
    assert refusal(keyed_broker(tmp_path, 1), **{name: None}).code == ResponseCode.INVALID_PARAMETER


def test_keyed_messages_are_seen_once_confirmed_and_until_trimmed(tmp_path):
    broker = keyed_broker(tmp_path, 5)
    positions = [each[0] for each in broker.store.records]
    broker.mark_appended(positions[4])
    broker.mark_trimmed(positions[1])
    assert numbers(query(broker)) == [1, 2, 3]


@pytest.mark.parametrize(("output_bytes", "body_bytes"), [(64 << 10, 3000), (64 << 20, 650_000)])
def test_an_answer_fits_a_frame_and_what_may_wait_for_a_reader(tmp_path, output_bytes, body_bytes):
    settings = {"log_file_bytes": 1 << 26, "output_bytes_max": output_bytes}
    broker = keyed_broker(tmp_path, 40, body_bytes, **settings)
    outcome = query(broker)
    size = sum(len(piece) for piece in outcome.pieces)
    one = size // len(outcome.pieces)
    most = min(output_bytes, FRAME_BYTES_MAX)
    assert most - 2 * one < len(encode_head(outcome.command, size)) + size <= most
    assert numbers(outcome)[-1] == 39
