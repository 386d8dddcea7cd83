"""Requests about topics."""

import pytest

from shmq.broker.administering_topics import (
    handle_all_topics,
    handle_delete_topic,
    handle_get_topic,
    handle_put_topic,
    handle_put_topics,
    handle_system_topics,
    handle_topic_stats,
)
from shmq.broker.effects import DocumentName, Persist
from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.bodies import DataVersion, MessageQueue, TopicList
from shmq.wire.codes import ResponseCode
from shmq.wire.stats_bodies import TopicOffset, TopicStatsTable
from shmq.wire.topic_bodies import TopicConfig, TopicConfigSerializeWrapper
from tests.support.small_metadata import NOW_MS, SmallMetadata

PUT = {
    "topic": "T",
    "defaultTopic": "TBW102",
    "readQueueNums": 3,
    "writeQueueNums": 2,
    "perm": 6,
    "topicFilterType": "SINGLE_TAG",
    "topicSysFlag": 0,
    "order": "false",
}


@pytest.fixture
def broker(tmp_path):
    return SmallMetadata(tmp_path)


def put(broker, **fields):
    return broker.call(handle_put_topic, 17, PUT | fields).command


def refusal(call, *args, **fields):
    with pytest.raises(RequestError) as refused:
        call(*args, **fields)
    return refused.value.code, refused.value.remark


def test_a_topic_is_made_and_found(broker):
    assert put(broker, attributes="+message.type=FIFO").code == 0
    answer = broker.call(handle_get_topic, 351, {"topic": "T", "lo": "true"}).command
    assert TopicConfig.from_bytes(answer.body) == TopicConfig("T", 3, 2, attributes={"message.type": "FIFO"})
    assert len(broker.published()) == 1


def test_a_topic_that_is_made_again_alike_is_left_alone(broker):
    put(broker)
    broker.state.drain()
    assert put(broker).code == 0
    assert broker.state.drain() == []
    put(broker, perm=4)
    assert broker.state.topics.get("T") == TopicConfig("T", 3, 2, 4)
    assert broker.state.topics.version.counter == 2


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"topic": "a b"}, ResponseCode.INVALID_PARAMETER),
        ({"topic": "TBW102"}, ResponseCode.INVALID_PARAMETER),
        ({"topic": "rmq_sys_x"}, ResponseCode.INVALID_PARAMETER),
        ({"topic": "c"}, ResponseCode.INVALID_PARAMETER),
        ({"topicFilterType": "NO_TAG"}, ResponseCode.INVALID_PARAMETER),
        ({"writeQueueNums": -1}, ResponseCode.INVALID_PARAMETER),
        ({"readQueueNums": 1 << 30}, ResponseCode.SYSTEM_ERROR),
        ({"attributes": "+message.type=MIXED"}, ResponseCode.INVALID_PARAMETER),
        ({"attributes": "+queue.type=BatchCQ"}, ResponseCode.SYSTEM_ERROR),
    ],
)
def test_a_topic_that_cannot_be_is_refused(broker, fields, code):
    before = len(broker.state.topics)
    assert refusal(put, broker, **fields)[0] == code
    assert len(broker.state.topics) == before
    assert broker.state.drain() == []


def test_several_topics_are_made_all_or_none(broker):
    def put_all(*configs):
        body = fastjson.dumps({"topicConfigList": [config.to_json() for config in configs]})
        return broker.call(handle_put_topics, 18, {}, body).command

    assert refusal(put_all, TopicConfig("T"), TopicConfig("a b"))[0] == ResponseCode.INVALID_PARAMETER
    assert "T" not in broker.state.topics
    made = TopicConfig("U", attributes={"+message.type": "DELAY"})
    assert put_all(TopicConfig("T"), made).code == 0
    assert broker.state.topics.get("U").attributes == {"message.type": "DELAY"}


def test_a_deleted_topic_takes_offsets_and_pop_retries_along(broker):
    state = broker.state
    for name in ("T", "U", "%RETRY%g_T", "%RETRY%h+T", "%RETRY%g"):
        state.topics.put(TopicConfig(name, 1, 1), NOW_MS)
    for group, topic in (("g", "T"), ("h", "T"), ("g", "U"), ("g", "%RETRY%g_T")):
        state.offsets.commit(group, state.topics.slots(topic)[0], 5)
    assert broker.call(handle_delete_topic, 215, {"topic": "T"}).command.code == 0
    assert [name for name in ("T", "U", "%RETRY%g_T", "%RETRY%h+T", "%RETRY%g") if name in state.topics] == [
        "U",
        "%RETRY%g",
    ]
    assert [(each.group, each.topic) for each in state.offsets] == [("g", "U")]
    assert Persist(DocumentName.CONSUMER_OFFSETS) in state.drain()


@pytest.mark.parametrize("topic", [" ", "SCHEDULE_TOPIC_XXXX"])
def test_a_system_topic_is_not_deleted(broker, topic):
    call = broker.call
    assert refusal(call, handle_delete_topic, 215, {"topic": topic})[0] == ResponseCode.INVALID_PARAMETER


def test_an_unknown_topic_is_deleted_in_silence_and_not_found(broker):
    assert broker.call(handle_delete_topic, 215, {"topic": "T"}).command.code == 0
    assert refusal(broker.call, handle_get_topic, 351, {"topic": "T"}) == (
        ResponseCode.TOPIC_NOT_EXIST,
        "No topic in this broker. topic: T",
    )


def test_the_whole_table_goes_to_an_old_client(broker):
    put(broker)
    answer = broker.call(handle_all_topics, 21).command
    table = TopicConfigSerializeWrapper.from_bytes(answer.body)
    assert answer.fields == {"totalTopicNum": "14"}
    assert len(table.topics) == 14
    assert table.topics["T"] == TopicConfig("T", 3, 2)
    assert table.data_version == DataVersion(1, 0, NOW_MS)


def test_a_page_of_the_table_is_sorted_by_name(broker):
    version = broker.state.topics.version.to_bytes().decode()
    fields = {"topicSeq": 1, "maxTopicNum": 2, "dataVersion": version}
    answer = broker.call(handle_all_topics, 21, fields).command
    table = TopicConfigSerializeWrapper.from_bytes(answer.body)
    assert answer.fields == {"totalTopicNum": "13"}
    assert list(table.topics) == sorted(config.topic for config in broker.state.topics)[1:3]


def test_system_topics_are_listed(broker):
    answer = broker.call(handle_system_topics, 305).command
    topics = TopicList.from_bytes(answer.body).topics
    assert {"TBW102", "c", "b", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRACE_TOPIC"} <= set(topics)
    assert "T" not in topics


def test_the_reach_of_a_topics_queues_is_told(broker):
    put(broker)
    for stored_ms in (100, 200):
        broker.append("T", 1, store_ms=stored_ms)
    answer = broker.call(handle_topic_stats, 202, {"topic": "T"}).command
    assert TopicStatsTable.from_bytes(answer.body).offsets == {
        MessageQueue("T", "b", 0): TopicOffset(0, 0, 0),
        MessageQueue("T", "b", 1): TopicOffset(0, 2, 200),
        MessageQueue("T", "b", 2): TopicOffset(0, 0, 0),
    }
    assert refusal(broker.call, handle_topic_stats, 202, {"topic": "U"})[0] == ResponseCode.TOPIC_NOT_EXIST
