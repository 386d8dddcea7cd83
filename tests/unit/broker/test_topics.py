"""The table of topics."""

import pytest

from shmq.broker.effects import DocumentName, Persist, Publish, RegisterTopics
from shmq.broker.updates import TopicUpdate
from shmq.errors import RequestError, StoreError
from shmq.wire.codes import ResponseCode
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import NOW_MS, SmallMetadata, new_tables


@pytest.fixture
def broker(tmp_path):
    return SmallMetadata(tmp_path)


@pytest.fixture
def topics(broker):
    return broker.state.topics


def shape(config):
    return config.read_queue_count, config.write_queue_count, config.permission


def test_a_first_start_makes_the_system_topics_of_rocketmq(topics):
    assert {config.topic: shape(config) for config in topics} == {
        "SELF_TEST_TOPIC": (1, 1, 6),
        "TBW102": (8, 8, 7),
        "BenchmarkTest": (1024, 1024, 6),
        "c": (16, 16, 7),
        "b": (1, 1, 7),
        "OFFSET_MOVED_EVENT": (1, 1, 6),
        "SCHEDULE_TOPIC_XXXX": (18, 18, 6),
        "c_REPLY_TOPIC": (1, 1, 6),
        "rmq_sys_REVIVE_LOG_c": (8, 8, 6),
        "rmq_sys_SYNC_BROKER_MEMBER_b": (1, 1, 1),
        "RMQ_SYS_TRANS_HALF_TOPIC": (1, 1, 6),
        "RMQ_SYS_TRANS_OP_HALF_TOPIC": (1, 1, 6),
        "rmq_sys_wheel_timer": (1, 1, 6),
    }
    assert topics.version.counter == 0


def test_settings_decide_which_system_topics_there_are(tmp_path):
    topics = SmallMetadata(
        tmp_path,
        auto_create_topic_enable=False,
        cluster_topic_enable=False,
        broker_topic_enable=False,
        trace_topic_enable=True,
        trace_topic_name="Traces",
        message_delay_levels=" ".join(["1s"] * 20),
    ).state.topics
    assert "TBW102" not in topics
    assert (topics.get("c").permission, topics.get("b").permission) == (1, 1)
    assert shape(topics.get("Traces")) == (1, 1, 6)
    assert len(topics.slots("SCHEDULE_TOPIC_XXXX")) == 20
    assert all(topics.is_system(name) for name in ("TBW102", "c", "b", "Traces", "rmq_sys_x"))
    assert not topics.is_system("T")


def test_a_topic_is_made_after_the_default_topic(broker, topics):
    topics.make_after("T", "TBW102", 4, 1, NOW_MS)
    config = TopicConfig("T", 4, 4, 6, topic_sys_flag=1)
    topic_id = broker.tables.topics.find(b"T")
    slots = tuple(broker.tables.queues.find(topic_id, queue_id) for queue_id in range(4))
    assert topics.get("T") == config
    assert broker.state.drain() == [
        Publish(TopicUpdate("T", topic_id, config, slots)),
        Persist(DocumentName.TOPICS),
        RegisterTopics(("T",)),
    ]
    assert (topics.version.counter, topics.version.timestamp_ms) == (1, NOW_MS)


def test_a_topic_gets_no_more_queues_than_the_default_topic_has(topics):
    topics.make_after("T", "TBW102", 99, 0, NOW_MS)
    topics.make_after("U", "TBW102", -1, 0, NOW_MS)
    assert shape(topics.get("T")) == (8, 8, 6)
    assert shape(topics.get("U")) == (0, 0, 6)


def test_a_topic_that_exists_is_not_made_again(broker, topics):
    topics.make_after("T", "TBW102", 4, 0, NOW_MS)
    broker.state.drain()
    topics.make_after("T", "TBW102", 8, 0, NOW_MS + 1)
    assert shape(topics.get("T")) == (4, 4, 6)
    assert broker.state.drain() == []


@pytest.mark.parametrize("default_topic", ["no", "SELF_TEST_TOPIC"])
def test_a_topic_is_not_made_after_one_that_may_not_be_followed(broker, topics, default_topic):
    with pytest.raises(RequestError) as refused:
        topics.make_after("T", default_topic, 4, 0, NOW_MS)
    assert (refused.value.code, refused.value.remark) == (
        ResponseCode.TOPIC_NOT_EXIST,
        "topic[T] not exist, apply first please!",
    )
    assert "T" not in topics
    assert broker.state.drain() == []


def test_the_default_topic_is_not_followed_once_auto_creation_is_off(broker):
    broker.state.topics.put(TopicConfig("T"), NOW_MS)
    topics = broker.again(auto_create_topic_enable=False).state.topics
    with pytest.raises(RequestError):
        topics.make_after("U", "TBW102", 4, 0, NOW_MS)
    assert topics.get("TBW102").permission == 6


def test_topics_come_back_after_a_restart(broker, topics):
    config = TopicConfig("T", 3, 5, 4, "MULTI_TAG", 2, order=True, attributes={"message.type": "FIFO"})
    topics.put(config, NOW_MS)
    topics.put(TopicConfig("TBW102", 2, 2, 7), NOW_MS)
    again = broker.again().state.topics
    assert again.get("T") == config
    assert shape(again.get("TBW102")) == (2, 2, 7)
    assert again.version == topics.version
    assert len(again.slots("T")) == 5


def test_more_queues_leave_the_slots_of_the_old_ones(topics):
    topics.put(TopicConfig("T", 2, 2), NOW_MS)
    before = topics.slots("T")
    topics.put(TopicConfig("T", 1, 4), NOW_MS)
    assert topics.slots("T")[:2] == before
    assert len(topics.slots("T")) == 4


def test_a_change_that_changes_nothing_is_none(broker, topics):
    topics.alter(TopicConfig("T"), {"+message.type": "FIFO"}, NOW_MS)
    version = topics.version
    broker.state.drain()
    topics.alter(TopicConfig("T"), {"+message.type": "FIFO"}, NOW_MS + 1)
    assert topics.get("T").attributes == {"message.type": "FIFO"}
    assert (topics.version, broker.state.drain()) == (version, [])


def test_a_topic_made_if_absent_has_its_order_flag_brought_up_to_date(broker, topics):
    topics.make_if_absent(TopicConfig("%RETRY%g", 1, 1), NOW_MS)
    broker.state.drain()
    topics.make_if_absent(TopicConfig("%RETRY%g", 9, 9), NOW_MS)
    assert broker.state.drain() == []
    topics.make_if_absent(TopicConfig("%RETRY%g", 9, 9, order=True), NOW_MS)
    assert topics.get("%RETRY%g") == TopicConfig("%RETRY%g", 1, 1, order=True)
    assert [type(effect) for effect in broker.state.drain()] == [Publish, Persist]


def test_a_deleted_topic_shows_nothing_when_it_is_made_again(broker, topics):
    topics.put(TopicConfig("T", 2, 2), NOW_MS)
    broker.append("T", 1)
    slots = topics.slots("T")
    broker.state.drain()
    assert topics.delete("T", NOW_MS)
    assert broker.state.drain() == [
        Publish(TopicUpdate("T", broker.tables.topics.find(b"T"), None, ())),
        Persist(DocumentName.TOPICS),
    ]
    assert "T" not in topics
    assert topics.slots("T") == ()
    topics.put(TopicConfig("T", 2, 2), NOW_MS)
    assert topics.slots("T") == slots
    assert broker.tables.queues.min[slots[1]] == broker.tables.queues.max[slots[1]] == 1
    assert not topics.delete("U", NOW_MS)


def test_a_full_table_refuses_a_topic_and_stays_as_it_was(tmp_path):
    broker = SmallMetadata(tmp_path, tables=new_tables(names=16, queues=1100))
    topics = broker.state.topics
    with pytest.raises(RequestError) as refused:
        topics.put(TopicConfig("T", 200, 200), NOW_MS)
    assert refused.value.code == ResponseCode.SYSTEM_ERROR
    assert "T" not in topics
    for number in range(3):
        topics.put(TopicConfig(f"T{number}", 1, 1), NOW_MS)
    broker.state.drain()
    with pytest.raises(RequestError):
        topics.put(TopicConfig("U", 1, 1), NOW_MS)
    assert broker.state.drain() == []


def test_a_number_of_queues_that_can_never_be_is_refused_at_once(topics):
    with pytest.raises(RequestError):
        topics.put(TopicConfig("T", (1 << 31) - 1, 1), NOW_MS)
    assert "T" not in topics


def test_a_document_that_is_none_of_topics_is_the_stores_fault(tmp_path):
    with pytest.raises(StoreError, match=r"topics\.json"):
        SmallMetadata(tmp_path, {DocumentName.TOPICS: {"topicConfigTable": {"T": 5}}})
