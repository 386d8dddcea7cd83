"""Requests that have something deleted now."""

import pytest

from shmq.broker.administering_store import handle_clean_queues, handle_clean_topics, handle_delete_expired
from shmq.broker.administering_topics import handle_delete_topic
from shmq.broker.effects import Clean, Cleaning
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import NOW_MS, SmallMetadata


@pytest.fixture
def broker(tmp_path):
    return SmallMetadata(tmp_path)


@pytest.mark.parametrize(
    ("handler", "code", "what"),
    [
        (handle_clean_queues, 306, Cleaning.QUEUES),
        (handle_clean_topics, 316, Cleaning.TOPICS),
        (handle_delete_expired, 329, Cleaning.EXPIRED),
    ],
)
def test_it_is_answered_and_left_to_retention(broker, handler, code, what):
    broker.state.drain()
    answer = broker.call(handler, code).command
    assert (answer.code, answer.remark) == (0, None)
    assert broker.state.drain() == [Clean(what)]


def test_queues_of_topics_that_are_gone_are_given_up_and_no_others(broker):
    for topic in ("gone", "kept"):
        broker.state.topics.put(TopicConfig(topic, 1, 1), NOW_MS)
        broker.append(topic)
        broker.append(topic)
    broker.call(handle_delete_topic, 215, {"topic": "gone"})
    queues = broker.tables.queues
    (kept,) = broker.state.topics.slots("kept")
    gone = queues.find(broker.tables.topics.find(b"gone"), 0)
    broker.call(handle_clean_topics, 316)
    assert queues.dropped.nonzero()[0].tolist() == [gone]
    assert (queues.dropped[gone], queues.max[gone], queues.min[gone]) == (2, 2, 2)
    assert (queues.min[kept], queues.max[kept]) == (0, 2)
    broker.state.topics.put(TopicConfig("gone", 1, 1), NOW_MS)
    assert queues.dropped[gone] == 0, "made anew, it is kept"


def test_queues_that_no_topic_is_known_for_are_given_up(broker):
    broker.append("only-in-the-store")
    assert broker.state.topics.drop_unused() == ["only-in-the-store"]
