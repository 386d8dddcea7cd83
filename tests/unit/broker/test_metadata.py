"""The conductor's state as a whole."""

import pytest

from shmq.broker.effects import DocumentName
from shmq.broker.membership import handle_heartbeat
from shmq.broker.updates import GroupUpdate, SubscriptionUpdate, TopicUpdate
from shmq.store.position import NONE
from shmq.wire.codes import RequestCode
from shmq.wire.heartbeat_bodies import ConsumerData, HeartbeatData
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import NOW_MS, SmallMetadata, new_tables


@pytest.fixture
def broker(tmp_path):
    made = SmallMetadata(tmp_path)
    made.state.topics.put(TopicConfig("T", 2, 2), NOW_MS)
    body = HeartbeatData("x", consumers=(ConsumerData("g"),)).to_bytes()
    made.call(handle_heartbeat, RequestCode.HEART_BEAT, {}, body)
    return made


def test_a_snapshot_says_what_the_updates_said(broker):
    updates = {
        (type(each), each.name if hasattr(each, "name") else each.group): each for each in broker.published()
    }
    snapshot = broker.state.snapshot()
    for update in updates.values():
        assert update in snapshot
    kinds = [type(update) for update in snapshot]
    counts = [kinds.count(kind) for kind in (TopicUpdate, GroupUpdate, SubscriptionUpdate)]
    assert counts == [len(broker.state.topics), len(broker.state.groups), 1]


def test_effects_are_drained_once(broker):
    assert broker.state.drain()
    assert broker.state.drain() == []


def test_a_successor_on_the_same_tables_is_the_same(broker):
    documents = broker.state.documents(NOW_MS)
    successor = SmallMetadata(broker.root, documents, broker.tables)
    assert successor.state.documents(NOW_MS + 5) == documents
    assert successor.state.topics.snapshot() == broker.state.topics.snapshot()
    assert successor.state.clients.snapshot() == []


def test_documents_have_the_names_of_rocketmq_but_for_one_that_it_lacks():
    assert list(DocumentName) == [
        "topics.json",
        "subscriptionGroup.json",
        "consumerOffset.json",
        "delayOffset.json",
        "transactions.json",
        "consumerFilter.json",
        "timermetrics",
        "messageRequestMode.json",
    ]


def test_who_was_not_heard_of_for_too_long_is_forgotten(broker):
    broker.state.expire(NOW_MS + 120_000)
    assert broker.state.clients.client_ids("g") == ("x",)
    broker.state.expire(NOW_MS + 120_001)
    assert broker.state.clients.client_ids("g") == ()


def test_a_slot_is_made_where_topic_or_queue_is_gone(broker):
    state = broker.state
    assert state.find_slot("T", 1) == state.topics.slots("T")[1]
    later = state.find_slot("T", 5)
    assert broker.tables.queues.topic_and_queue(later) == (broker.tables.topics.find(b"T"), 5)
    assert state.find_slot("T", 5) == later
    assert state.find_slot("Gone", 0) != NONE
    assert "Gone" not in state.topics
    for topic, queue_id in (("T", -1), ("T", 1 << 20), ("a/b", 0), ("", 0)):
        assert state.find_slot(topic, queue_id) == NONE


def test_no_slot_is_made_where_there_is_no_room(tmp_path):
    state = SmallMetadata(tmp_path, tables=new_tables(names=13)).state
    assert state.find_slot("Gone", 0) == NONE
