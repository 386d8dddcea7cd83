"""What the conductor does when a worker asks."""

import pytest

from shmq.broker.answering import handle_question
from shmq.broker.outcome import Answered
from shmq.broker.questions import ask_group, ask_locks, ask_offset, ask_retry_topic, ask_topic
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import ResponseCode
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import NOW_MS, SmallMetadata, new_tables

DONE = Answered(ResponseCode.SUCCESS, "")


@pytest.fixture
def broker(tmp_path):
    return SmallMetadata(tmp_path)


def ask(broker, question):
    return handle_question(broker.state, question, NOW_MS)


def test_a_topic_is_made_once(broker):
    assert ask(broker, ask_topic("T", "TBW102", 4, 0)) == DONE
    assert len(broker.state.drain()) == 3
    assert ask(broker, ask_topic("T", "TBW102", 4, 0)) == DONE
    assert broker.state.drain() == []


def test_a_topic_that_cannot_be_made_is_answered_in_the_words_of_rocketmq(broker):
    answer = ask(broker, ask_topic("T", "no", 4, 0))
    assert answer == Answered(ResponseCode.TOPIC_NOT_EXIST, "topic[T] not exist, apply first please!")


def test_a_retry_topic_is_made_and_left_as_it_is(broker):
    assert ask(broker, ask_retry_topic("%DLQ%g", 1, 2)) == DONE
    assert ask(broker, ask_retry_topic("%DLQ%g", 5, 0)) == DONE
    assert broker.state.topics.get("%DLQ%g") == TopicConfig("%DLQ%g", 1, 1, topic_sys_flag=2)


def test_a_group_is_made_if_it_may_be(broker):
    assert ask(broker, ask_group("g")) == DONE
    assert "g" in broker.state.groups
    assert ask(broker, ask_group("a b")).code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST


def test_a_first_offset_is_committed(broker):
    ask(broker, ask_topic("T", "TBW102", 4, 0))
    ask(broker, ask_group("g"))
    assert ask(broker, ask_offset("g", "T", 3, 9)) == DONE
    assert broker.state.offsets.query("g", "T", 3) == 9


def test_an_offset_of_an_unknown_group_or_queue_is_refused(broker):
    ask(broker, ask_topic("T", "TBW102", 4, 0))
    assert ask(broker, ask_offset("g", "T", 0, 9)).code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST
    ask(broker, ask_group("g"))
    for topic, queue_id in (("T", 4), ("T", -1), ("U", 0)):
        assert ask(broker, ask_offset("g", topic, queue_id, 9)).code == ResponseCode.INVALID_PARAMETER
    assert list(broker.state.offsets) == []


def test_an_offset_for_which_there_is_no_room_is_refused(tmp_path):
    broker = SmallMetadata(tmp_path, tables=new_tables(offsets=1))
    ask(broker, ask_topic("T", "TBW102", 4, 0))
    ask(broker, ask_group("g"))
    assert ask(broker, ask_offset("g", "T", 0, 9)) == DONE
    assert ask(broker, ask_offset("g", "T", 1, 9)).code == ResponseCode.SYSTEM_ERROR


def test_a_group_that_holds_a_queue_consumes_in_order(broker):
    assert ask(broker, ask_locks("g")).code == ResponseCode.QUERY_NOT_FOUND
    broker.state.locks.take("g", "x", [MessageQueue("T", "b", 0)], NOW_MS)
    assert ask(broker, ask_locks("g")) == DONE
