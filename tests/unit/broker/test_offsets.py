"""Committed offsets, restored and saved."""

import pytest

from shmq.broker.effects import DocumentName
from shmq.broker.offsets import CommittedOffset, Offsets
from shmq.errors import StoreError
from shmq.store.position import NONE
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import NOW_MS, SmallMetadata, new_tables


@pytest.fixture
def broker(tmp_path):
    made = SmallMetadata(tmp_path)
    made.state.topics.put(TopicConfig("T", 2, 2), NOW_MS)
    made.state.topics.put(TopicConfig("U", 1, 1), NOW_MS)
    return made


def commit(broker, group, topic, queue_id, offset):
    broker.state.offsets.commit(group, broker.state.topics.slots(topic)[queue_id], offset)


def test_nothing_is_committed_at_first(broker):
    assert broker.state.offsets.query("g", "T", 0) == NONE
    assert list(broker.state.offsets) == []


def test_a_committed_offset_is_found(broker):
    commit(broker, "g", "T", 1, 5)
    commit(broker, "h", "T", 1, 7)
    commit(broker, "g", "T", 1, 3)
    offsets = broker.state.offsets
    assert offsets.query("g", "T", 1) == 3
    assert [
        offsets.query(*each) for each in (("g", "T", 0), ("g", "U", 0), ("x", "T", 1), ("g", "T", 9))
    ] == [-1] * 4
    assert set(offsets) == {CommittedOffset("g", "T", 1, 3), CommittedOffset("h", "T", 1, 7)}


def test_the_document_is_that_of_rocketmq(broker):
    commit(broker, "g", "T", 0, 5)
    commit(broker, "g", "T", 1, 6)
    commit(broker, "g", "U", 0, 0)
    assert broker.state.document(DocumentName.CONSUMER_OFFSETS, NOW_MS) == {
        "dataVersion": {"counter": 1, "stateVersion": 0, "timestamp": NOW_MS},
        "groupTopicMap": {"g": ["T", "U"]},
        "offsetTable": {"T@g": {"0": 5, "1": 6}, "U@g": {"0": 0}},
    }


def test_the_version_moves_only_with_the_offsets(broker):
    commit(broker, "g", "T", 0, 5)
    first = broker.state.offsets.to_json(NOW_MS)
    assert broker.state.offsets.to_json(NOW_MS + 1) == first
    commit(broker, "g", "T", 0, 6)
    assert broker.state.offsets.to_json(NOW_MS + 2)["dataVersion"]["counter"] == 2


def test_offsets_come_back_after_a_restart(broker):
    commit(broker, "g", "T", 1, 5)
    commit(broker, "%RETRY%", "U", 0, 1)
    document = broker.state.document(DocumentName.CONSUMER_OFFSETS, NOW_MS)
    again = broker.again()
    assert again.state.offsets.query("g", "T", 1) == 5
    assert again.state.document(DocumentName.CONSUMER_OFFSETS, NOW_MS + 1) == document


def test_offsets_of_topics_and_groups_that_are_gone_are_kept():
    tables = new_tables()
    offsets = Offsets(tables, NOW_MS)
    saved = {"Gone@lost": {"3": 9}, "T@g@broadcast": {"0": 1}}
    offsets.load({"offsetTable": {"Gone@lost": {3: 9}, "T@g@broadcast": {"0": 1}}})
    assert offsets.query("lost", "Gone", 3) == 9
    assert offsets.to_json(NOW_MS)["offsetTable"] == saved
    assert offsets.to_json(NOW_MS)["groupTopicMap"] == {"lost": ["Gone"]}


def test_an_offset_that_workers_have_committed_since_is_newer_than_the_document(broker):
    commit(broker, "g", "T", 0, 5)
    document = broker.state.documents(NOW_MS)
    commit(broker, "g", "T", 0, 8)
    successor = SmallMetadata(broker.root, document, broker.tables)
    assert successor.state.offsets.query("g", "T", 0) == 8


def test_a_topics_offsets_are_forgotten(broker):
    for group, topic in (("g", "T"), ("h", "T"), ("g", "U")):
        commit(broker, group, topic, 0, 5)
    broker.state.offsets.forget_topic("T")
    assert list(broker.state.offsets) == [CommittedOffset("g", "U", 0, 5)]
    assert broker.state.offsets.groups_of("U") == {"g"}


def test_a_groups_offsets_are_forgotten(broker):
    for group, topic in (("g", "T"), ("h", "T"), ("g", "U")):
        commit(broker, group, topic, 0, 5)
    assert broker.state.offsets.topics_of("g") == {"T", "U"}
    broker.state.offsets.forget_group("g")
    assert list(broker.state.offsets) == [CommittedOffset("h", "T", 0, 5)]


@pytest.mark.parametrize("table", [{"T@g": 5}, {"T@g": {"x": 5}}, {"T@g": {"0": "five"}}])
def test_a_document_that_is_none_of_offsets_is_the_stores_fault(table):
    with pytest.raises(StoreError, match=r"consumerOffset\.json"):
        Offsets(new_tables(), NOW_MS).load({"offsetTable": table})
