"""Query and update of committed offsets."""

import pytest

from shmq.broker.offsets_requests import handle_query_offset, handle_update_offset
from shmq.broker.outcome import Ask
from shmq.errors import RequestError
from shmq.wire.codes import RequestCode, ResponseCode
from tests.support.small_broker import SmallBroker, answered, replied

QUEUE = {"consumerGroup": "G", "topic": "T", "queueId": 1}


@pytest.fixture
def broker(tmp_path):
    made = SmallBroker(tmp_path)
    made.add_topic("T")
    made.add_group("G")
    return made


def query(broker, **changes):
    return broker.call(handle_query_offset, RequestCode.QUERY_CONSUMER_OFFSET, QUEUE | changes)


def update(broker, offset, **changes):
    fields = QUEUE | {"commitOffset": offset} | changes
    return broker.call(handle_update_offset, RequestCode.UPDATE_CONSUMER_OFFSET, fields)


def commit(broker, offset):
    broker.offsets.add(0, broker.store.slot(b"T", 1), offset)


def code(call):
    with pytest.raises(RequestError) as caught:
        call()
    return caught.value.code


def test_a_committed_offset_is_told(broker):
    commit(broker, 7)
    assert replied(query(broker)).fields == {"offset": "7"}


def test_zero_is_an_offset_like_others(broker):
    commit(broker, 0)
    assert replied(query(broker, setZeroIfNotFound="false")).fields == {"offset": "0"}


@pytest.mark.parametrize(
    "changes", [{}, {"topic": "X"}, {"queueId": 9}, {"queueId": -1}, {"consumerGroup": "H"}]
)
def test_the_client_decides_where_nothing_was_committed(broker, changes):
    assert code(lambda: query(broker, **changes)) == ResponseCode.QUERY_NOT_FOUND


def test_a_new_group_begins_at_zero_where_all_is_still_there(broker):
    broker.append("T", 1)
    assert replied(query(broker)).fields == {"offset": "0"}
    assert replied(query(broker, consumerGroup="H")).fields == {"offset": "0"}


def test_a_client_may_want_no_zero(broker):
    broker.append("T", 1)
    assert code(lambda: query(broker, setZeroIfNotFound="false")) == ResponseCode.QUERY_NOT_FOUND


def test_a_new_group_decides_itself_where_the_first_message_is_gone(broker):
    for _ in range(2):
        broker.append("T", 1)
    broker.store.queues.min[broker.store.slot(b"T", 1)] = 1
    assert code(lambda: query(broker)) == ResponseCode.QUERY_NOT_FOUND


def test_a_new_group_decides_itself_where_the_first_message_is_far_behind(broker):
    broker.append("T", 1)
    broker.mark_appended(1 << 50)
    assert code(lambda: query(broker)) == ResponseCode.QUERY_NOT_FOUND


def test_a_row_whose_offset_was_forgotten_counts_as_none(broker):
    commit(broker, -1)
    assert code(lambda: query(broker)) == ResponseCode.QUERY_NOT_FOUND


@pytest.mark.parametrize("offset", [3, 12])
def test_an_update_may_go_either_way(broker, offset):
    commit(broker, 7)
    reply = replied(update(broker, offset))
    assert (reply.code, reply.fields) == (ResponseCode.SUCCESS, {})
    assert broker.replica.committed_offset("G", broker.store.slot(b"T", 1)) == offset


def test_the_first_update_is_the_conductors(broker):
    ask = update(broker, 4)
    assert isinstance(ask, Ask)
    assert ask.question == {"ask": "offset", "group": "G", "topic": "T", "queue_id": 1, "offset": 4}
    assert replied(answered(ask)).code == ResponseCode.SUCCESS


def test_an_update_that_cannot_be_stored_is_told(broker):
    assert (
        code(lambda: answered(update(broker, 4), ResponseCode.SYSTEM_ERROR, "full"))
        == ResponseCode.SYSTEM_ERROR
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"consumerGroup": "H"}, ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST),
        ({"topic": "X"}, ResponseCode.TOPIC_NOT_EXIST),
        ({"queueId": 9}, ResponseCode.INVALID_PARAMETER),
        ({"queueId": None}, ResponseCode.INVALID_PARAMETER),
        ({"commitOffset": None}, ResponseCode.INVALID_PARAMETER),
    ],
)
def test_an_update_of_what_is_not_there_is_refused(broker, changes, expected):
    assert code(lambda: update(broker, 4, **changes)) == expected


def test_while_a_reset_is_pending_nothing_else_is_committed_and_it_is_what_is_told(broker):
    commit(broker, 7)
    broker.offsets.reset(0, 2)
    answer = replied(update(broker, 9))
    assert (answer.code, answer.remark) == (0, "Offset has been previously reset")
    assert replied(query(broker)).fields == {"offset": "2"}
    assert broker.offsets.take_reset(0) == 2
    replied(update(broker, 9))
    assert replied(query(broker)).fields == {"offset": "9"}
