"""Requests about groups."""

import pytest

from shmq.broker.administering_groups import (
    handle_all_groups,
    handle_all_offsets,
    handle_consume_stats,
    handle_delete_group,
    handle_forbidden,
    handle_get_group,
    handle_groups_of_topic,
    handle_put_group,
    handle_put_groups,
    handle_subscription,
    handle_topics_of_group,
)
from shmq.broker.effects import DocumentName, Persist
from shmq.broker.membership import handle_heartbeat
from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.bodies import MessageQueue, TopicList
from shmq.wire.codes import ResponseCode
from shmq.wire.heartbeat_bodies import ConsumerData, HeartbeatData, SubscriptionData
from shmq.wire.stats_bodies import ConsumeStats, OffsetWrapper
from shmq.wire.topic_bodies import SubscriptionGroupConfig, SubscriptionGroupWrapper, TopicConfig
from tests.support.small_metadata import NOW_MS, SmallMetadata

CONFIG = SubscriptionGroupConfig("g", consume_enable=False, retry_times_max=3)


@pytest.fixture
def broker(tmp_path):
    made = SmallMetadata(tmp_path)
    made.state.topics.put(TopicConfig("T", 2, 2), NOW_MS)
    made.state.topics.put(TopicConfig("U", 1, 1), NOW_MS)
    return made


def commit(broker, group, topic, queue_id, offset):
    broker.state.offsets.commit(group, broker.state.topics.slots(topic)[queue_id], offset)


def subscribe(broker, group, *topics):
    data = ConsumerData(group, subscriptions=tuple(SubscriptionData(topic, version=3) for topic in topics))
    broker.call(handle_heartbeat, 34, {}, HeartbeatData("x", consumers=(data,)).to_bytes())


def asked(broker, handler, code, **fields):
    return fastjson.loads(broker.call(handler, code, fields).command.body)


def test_a_group_is_made_and_found(broker):
    assert broker.call(handle_put_group, 200, {}, CONFIG.to_bytes()).command.code == 0
    answer = broker.call(handle_get_group, 352, {"group": "g"}).command
    assert SubscriptionGroupConfig.from_bytes(answer.body) == CONFIG


def test_a_group_is_made_by_being_asked_for(broker):
    answer = broker.call(handle_get_group, 352, {"group": "g"}).command
    assert SubscriptionGroupConfig.from_bytes(answer.body) == SubscriptionGroupConfig("g")


def test_a_group_that_cannot_be_is_refused(broker):
    with pytest.raises(RequestError) as refused:
        broker.call(handle_put_group, 200, {}, SubscriptionGroupConfig("a b").to_bytes())
    assert refused.value.code == ResponseCode.INVALID_PARAMETER
    with pytest.raises(RequestError) as refused:
        broker.call(handle_get_group, 352, {"group": "a b"})
    assert refused.value.code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST


def test_several_groups_are_made_all_or_none(broker):
    def put_all(*configs):
        body = fastjson.dumps({"groupConfigList": [config.to_json() for config in configs]})
        return broker.call(handle_put_groups, 225, {}, body).command

    with pytest.raises(RequestError):
        put_all(CONFIG, SubscriptionGroupConfig("a b"))
    assert "g" not in broker.state.groups
    assert put_all(CONFIG, SubscriptionGroupConfig("h")).code == 0
    assert "h" in broker.state.groups


@pytest.mark.parametrize(("clean", "left"), [("true", -1), ("false", 5)])
def test_a_deleted_group_keeps_its_offsets_unless_told_otherwise(broker, clean, left):
    broker.state.groups.find("g", NOW_MS)
    commit(broker, "g", "T", 0, 5)
    assert broker.call(handle_delete_group, 207, {"groupName": "g", "cleanOffset": clean}).command.code == 0
    assert "g" not in broker.state.groups
    assert broker.state.offsets.query("g", "T", 0) == left
    assert (Persist(DocumentName.CONSUMER_OFFSETS) in broker.state.drain()) == (left < 0)


def test_the_table_of_groups_goes_out_whole_or_in_pages(broker):
    broker.state.groups.alter(CONFIG, NOW_MS)
    answer = broker.call(handle_all_groups, 201).command
    table = SubscriptionGroupWrapper.from_bytes(answer.body)
    assert answer.fields == {"totalGroupNum": "9"}
    assert table.groups["g"] == CONFIG
    assert table.data_version == broker.state.groups.version
    version = table.data_version.to_bytes().decode()
    answer = broker.call(
        handle_all_groups, 201, {"groupSeq": 8, "maxGroupNum": 5, "dataVersion": version}
    ).command
    assert list(SubscriptionGroupWrapper.from_bytes(answer.body).groups) == ["g"]


def test_a_group_can_be_forbidden_to_read_a_topic_and_allowed_again(broker):
    broker.state.groups.find("g", NOW_MS)

    def readable(**fields):
        answer = asked(broker, handle_forbidden, 353, group="g", topic="T", **fields)
        assert answer == {"group": "g", "topic": "T", "readable": answer["readable"]}
        return answer["readable"]

    assert readable()
    broker.state.drain()
    assert not readable(readable="false")
    assert [update.forbidden for update in broker.published()] == [("T",)]
    assert not readable()
    assert broker.state.groups.to_json()["forbiddenTable"] == {"g": {"T": 4}}
    assert readable(readable="true")
    assert [update.forbidden for update in broker.published()] == [()]
    assert broker.state.groups.to_json()["forbiddenTable"] == {}


def test_all_offsets_go_out_in_the_dialect_of_rocketmq(broker):
    commit(broker, "g", "T", 0, 5)
    commit(broker, "g", "T", 1, 6)
    answer = broker.call(handle_all_offsets, 43).command
    assert answer.body == (
        b'{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":%d},"offsetTable":{"T@g":{0:5,1:6}}}'
        % NOW_MS
    )


def test_a_topics_groups_are_those_online_and_those_with_an_offset(broker):
    subscribe(broker, "g", "T", "U")
    commit(broker, "h", "T", 0, 5)
    commit(broker, "h", "U", 0, 5)
    assert asked(broker, handle_groups_of_topic, 300, topic="T") == {"groupList": ["g", "h"]}
    assert asked(broker, handle_groups_of_topic, 300, topic="V") == {"groupList": []}


def test_a_groups_topics_are_those_with_an_offset(broker):
    commit(broker, "g", "U", 0, 5)
    commit(broker, "g", "T", 0, 5)
    answer = broker.call(handle_topics_of_group, 343, {"group": "g"}).command
    assert TopicList.from_bytes(answer.body) == TopicList(("T", "U"), "127.0.0.1:10911")


def test_a_subscription_is_told_while_its_group_is_online(broker):
    assert asked(broker, handle_subscription, 345, group="g", topic="T") == {"group": "g", "topic": "T"}
    subscribe(broker, "g", "T")
    answer = asked(broker, handle_subscription, 345, group="g", topic="T")
    assert answer["subscriptionData"]["subVersion"] == 3
    assert asked(broker, handle_subscription, 345, group="g") == {"group": "g"}


def stats(broker, **fields):
    answer = broker.call(handle_consume_stats, 208, {"consumerGroup": "g"} | fields).command
    return ConsumeStats.from_bytes(answer.body).offsets


def test_consumption_is_told_queue_by_queue(broker):
    for stored_ms in (100, 200, 300):
        broker.append("T", 1, store_ms=stored_ms)
    commit(broker, "g", "T", 1, 2)
    assert stats(broker) == {
        MessageQueue("T", "b", 0): OffsetWrapper(0, 0, 0, 0),
        MessageQueue("T", "b", 1): OffsetWrapper(3, 2, 2, 200),
    }


def test_only_topics_that_an_online_group_wants_are_told_unless_listed(broker):
    commit(broker, "g", "T", 0, 0)
    subscribe(broker, "g", "U")
    assert stats(broker) == {}
    assert stats(broker, topic="T") == {}
    assert {queue.topic for queue in stats(broker, topic="U")} == {"U"}
    assert {queue.topic for queue in stats(broker, topicList="T;U;V")} == {"T", "U"}
