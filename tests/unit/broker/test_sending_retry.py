"""Send: messages that a consumer sends to its retry topic itself."""

import pytest

from shmq.broker.outcome import Append
from shmq.broker.sending import handle_send
from shmq.errors import RequestError
from shmq.store import properties
from shmq.wire.codes import ResponseCode
from tests.support.small_broker import SEND, SmallBroker, answered, properties_text, send_fields


@pytest.fixture
def broker(tmp_path):
    made = SmallBroker(tmp_path)
    made.add_group("G")
    made.add_topic("%RETRY%G", 1)
    return made


def send(broker, **fields):
    return broker.call(handle_send, SEND, send_fields(**fields), b"Hello")


def record(outcome):
    assert isinstance(outcome, Append)
    (only,) = outcome.records
    return only


def test_one_that_may_be_tried_again_is_stored_as_it_comes(broker):
    ask = send(broker, topic="%RETRY%G", e=0, j=16)
    assert ask.question == {"ask": "locks", "group": "G"}
    made = record(answered(ask, ResponseCode.QUERY_NOT_FOUND))
    assert (made.topic, made.reconsume_times) == (b"%RETRY%G", 16)


def test_one_that_came_too_often_is_a_dead_letter(broker):
    broker.add_topic("%DLQ%G", 1)
    outcome = send(broker, topic="%RETRY%G", e=0, j=17, i=properties_text(DELAY="5"))
    assert record(outcome).topic == b"%DLQ%G"
    assert properties.parse(record(outcome).properties)["DELAY"] == "-1"


def test_the_clients_own_limit_counts(broker):
    broker.add_topic("%DLQ%G", 1)
    assert record(send(broker, topic="%RETRY%G", e=0, j=3, l=2)).topic == b"%DLQ%G"


def test_the_limit_of_an_old_client_does_not_count(broker):
    fields = send_fields(topic="%RETRY%G", e=0, j=3, l=2)
    outcome = broker.call(handle_send, SEND, fields, b"x", version=120)
    assert outcome.question["ask"] == "locks"


def test_a_group_that_consumes_in_order_sends_dead_letters_only(broker):
    broker.add_topic("%DLQ%G", 1)
    made = record(answered(send(broker, topic="%RETRY%G", e=0)))
    assert made.topic == b"%DLQ%G"


def test_the_topic_of_dead_letters_is_made_when_needed(broker):
    ask = send(broker, topic="%RETRY%G", e=0, j=17)
    assert ask.question == {"ask": "retry_topic", "topic": "%DLQ%G", "queue_nums": 1, "sys_flag": 0}
    broker.add_topic("%DLQ%G", 1)
    assert record(answered(ask)).topic == b"%DLQ%G"


def test_an_unknown_group_is_made_where_groups_are_made(broker):
    broker.add_topic("%RETRY%H", 1)
    ask = send(broker, topic="%RETRY%H", e=0)
    assert ask.question == {"ask": "group", "group": "H"}
    broker.add_group("H")
    assert answered(ask).question == {"ask": "locks", "group": "H"}


def test_an_unknown_group_is_told_where_none_is_made(broker):
    broker.add_topic("%RETRY%H", 1)
    with pytest.raises(RequestError) as caught:
        answered(send(broker, topic="%RETRY%H", e=0), ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "no group")
    assert caught.value.code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST


def test_a_retry_topic_is_made_even_where_clients_may_make_none(broker):
    broker.add_group("H")
    first = send(broker, topic="%RETRY%H", e=0, k="true")
    assert first.question["ask"] == "topic"
    second = answered(first, ResponseCode.TOPIC_NOT_EXIST, "no")
    assert second.question == {"ask": "retry_topic", "topic": "%RETRY%H", "queue_nums": 1, "sys_flag": 2}
    broker.add_topic("%RETRY%H", 1)
    assert answered(second).question["ask"] == "locks"
