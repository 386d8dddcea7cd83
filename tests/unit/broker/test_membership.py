"""Heartbeats, lists of consumers, locks: as requests."""

import orjson
import pytest

from shmq.broker.effects import Persist, Publish, Push, RegisterTopics
from shmq.broker.membership import (
    handle_check_client,
    handle_consumer_list,
    handle_heartbeat,
    handle_lock,
    handle_unlock,
    handle_unregister,
)
from shmq.broker.outcome import Channel, Reply
from shmq.errors import RequestError
from shmq.wire.bodies import ConsumerList, LockBatchRequest, LockBatchResponse, MessageQueue
from shmq.wire.codes import Language, RequestCode, ResponseCode
from shmq.wire.heartbeat_bodies import (
    CheckClientRequest,
    ConsumerData,
    HeartbeatData,
    MessageModel,
    SubscriptionData,
)
from shmq.wire.topic_bodies import SubscriptionGroupConfig, TopicConfig
from tests.support.small_metadata import CHANNEL, NOW_MS, SmallMetadata

TWO = Channel(1, 1, 9)


@pytest.fixture
def broker(tmp_path):
    return SmallMetadata(tmp_path)


def consumer(group="g", topics=("T", "%RETRY%g"), **given):
    return ConsumerData(group, subscriptions=tuple(SubscriptionData(each) for each in topics), **given)


def beat(broker, *consumers, channel=CHANNEL, client_id="x", body=None, **given):
    data = HeartbeatData(client_id, consumers=consumers, **given)
    body = data.to_bytes() if body is None else body
    outcome = broker.call(handle_heartbeat, RequestCode.HEART_BEAT, {}, body, channel=channel, version=413)
    assert isinstance(outcome, Reply)
    return outcome.command


def consumers_of(broker, group="g"):
    outcome = broker.call(
        handle_consumer_list, RequestCode.GET_CONSUMER_LIST_BY_GROUP, {"consumerGroup": group}
    )
    return ConsumerList.from_bytes(outcome.command.body).client_ids


def test_a_heartbeat_makes_group_and_retry_topic_and_lists_the_client_before_it_is_answered(broker):
    answer = beat(broker, consumer())
    assert (answer.code, answer.body) == (0, b"")
    assert answer.fields == {"IS_SUPPORT_HEART_BEAT_V2": "true", "IS_SUB_CHANGE": "true"}
    assert broker.state.topics.get("%RETRY%g") == TopicConfig("%RETRY%g", 1, 1)
    assert "g" in broker.state.groups
    assert consumers_of(broker) == ("x",)
    effects = broker.state.drain()
    assert RegisterTopics(("%RETRY%g",)) in effects
    assert [type(effect) for effect in effects] == [
        Publish,
        Persist,
        Publish,
        Persist,
        RegisterTopics,
        Publish,
        Push,
    ]


def test_a_second_heartbeat_changes_nothing(broker):
    beat(broker, consumer())
    broker.state.drain()
    beat(broker, consumer())
    assert broker.state.drain() == []


def test_a_producer_is_known_by_its_group_and_address(broker):
    beat(broker, producer_groups=("p", "CLIENT_INNER_PRODUCER"))
    client = broker.state.clients.producers["p"][CHANNEL]
    assert (client.client_id, client.address, client.language, client.version) == (
        "x",
        "127.0.0.1:50000",
        Language.JAVA,
        413,
    )
    assert "CLIENT_INNER_PRODUCER" in broker.state.clients.producers


def test_a_heartbeat_of_the_cpp_client_is_understood(broker):
    subscription = {"topic": "T", "subString": "a", "subVersion": "12", "tagsSet": ["a"]}
    body = {
        "clientID": "cpp",
        "consumerDataSet": [
            {
                "consumeFromWhere": 0,
                "consumeType": 1,
                "groupName": "g",
                "messageModel": 1,
                "subscriptionDataSet": [subscription],
            }
        ],
    }
    assert beat(broker, body=orjson.dumps(body)).code == 0
    group = broker.state.clients.consumers["g"]
    assert group.message_model == MessageModel.CLUSTERING
    assert group.subscriptions["T"].version == 12
    assert consumers_of(broker) == ("cpp",)


def test_a_group_that_may_not_be_made_is_passed_over_in_silence(tmp_path):
    broker = SmallMetadata(tmp_path, auto_create_group_enable=False)
    assert beat(broker, consumer(), consumer("CID_RMQ_SYS_x")).code == 0
    assert list(broker.state.clients.consumers) == ["CID_RMQ_SYS_x"]
    assert "%RETRY%g" not in broker.state.topics


def test_the_retry_topic_is_as_the_group_wants_it(broker):
    broker.state.topics.put(TopicConfig("T", order=True), NOW_MS)
    broker.state.groups.alter(SubscriptionGroupConfig("g", retry_queue_count=3), NOW_MS)
    beat(broker, consumer(unit_mode=True))
    assert broker.state.topics.get("%RETRY%g") == TopicConfig("%RETRY%g", 3, 3, topic_sys_flag=2, order=True)


def test_a_group_that_wants_no_notice_gets_none(broker):
    broker.state.groups.alter(SubscriptionGroupConfig("g", notify_consumer_ids_changed_enable=False), NOW_MS)
    beat(broker, consumer())
    assert broker.pushed() == []


def test_a_v2_heartbeat_is_told_whether_to_say_all_again(broker):
    said = {"fingerprint": 5}
    assert beat(broker, consumer(), **said).fields["IS_SUB_CHANGE"] == "false"
    short = said | {"without_subscriptions": True}
    assert beat(broker, consumer(topics=()), **short).fields["IS_SUB_CHANGE"] == "false"
    assert set(broker.state.clients.consumers["g"].subscriptions) == {"T", "%RETRY%g"}
    other = short | {"fingerprint": 6}
    assert beat(broker, consumer(topics=()), **other).fields["IS_SUB_CHANGE"] == "true"


def test_a_short_heartbeat_after_a_restart_is_asked_for_all(broker):
    again = broker.again()
    short = {"fingerprint": 5, "without_subscriptions": True}
    assert beat(again, consumer(topics=()), **short).fields["IS_SUB_CHANGE"] == "true"
    assert beat(again, consumer(), fingerprint=5).fields["IS_SUB_CHANGE"] == "false"


def test_a_body_that_is_no_heartbeat_is_refused(broker):
    with pytest.raises(RequestError) as refused:
        beat(broker, body=b"{")
    assert refused.value.code == ResponseCode.INVALID_PARAMETER


def test_a_client_that_unregisters_leaves_its_groups(broker):
    beat(broker, consumer(), producer_groups=("p",))
    beat(broker, consumer(), channel=TWO, client_id="y")
    broker.state.drain()
    fields = {"clientID": "x", "producerGroup": "p", "consumerGroup": "g"}
    answer = broker.call(handle_unregister, RequestCode.UNREGISTER_CLIENT, fields).command
    assert (answer.code, answer.fields) == (0, {})
    assert consumers_of(broker) == ("y",)
    assert broker.state.clients.producers == {}
    assert [channel for channel, _ in broker.pushed()] == [TWO]


def test_a_client_that_is_in_no_group_unregisters_all_the_same(broker):
    fields = {"clientID": "x", "producerGroup": "p", "consumerGroup": "g"}
    assert broker.call(handle_unregister, RequestCode.UNREGISTER_CLIENT, fields).command.code == 0


def test_a_group_without_members_is_an_error(broker):
    with pytest.raises(RequestError) as refused:
        consumers_of(broker)
    assert refused.value.code == ResponseCode.SYSTEM_ERROR
    assert refused.value.remark.startswith("no consumer for this group")


def test_locks_are_taken_and_given_back(broker):
    queues = (MessageQueue("T", "b", 0), MessageQueue("T", "b", 1))

    def lock(client_id, *wanted):
        body = LockBatchRequest("g", client_id, wanted).to_bytes()
        answer = broker.call(handle_lock, RequestCode.LOCK_BATCH_MQ, {}, body).command
        return LockBatchResponse.from_bytes(answer.body).queues

    assert lock("x", queues[0]) == (queues[0],)
    assert lock("y", *queues) == (queues[1],)
    body = LockBatchRequest("g", "x", queues).to_bytes()
    assert broker.call(handle_unlock, RequestCode.UNLOCK_BATCH_MQ, {}, body).command.code == 0
    assert lock("y", *queues) == queues


@pytest.mark.parametrize("kind", ["TAG", ""])
def test_a_subscription_of_tags_is_accepted(broker, kind):
    body = CheckClientRequest("x", "g", SubscriptionData("T", "a", expression_type=kind)).to_bytes()
    assert broker.call(handle_check_client, RequestCode.CHECK_CLIENT_CONFIG, {}, body).command.code == 0


def test_a_subscription_in_sql_is_refused(broker):
    body = CheckClientRequest("x", "g", SubscriptionData("T", "a > 5", expression_type="SQL92")).to_bytes()
    with pytest.raises(RequestError) as refused:
        broker.call(handle_check_client, RequestCode.CHECK_CLIENT_CONFIG, {}, body)
    assert (refused.value.code, refused.value.remark) == (
        ResponseCode.SYSTEM_ERROR,
        "The broker does not support consumer to filter message by SQL92",
    )


@pytest.fixture
def filtering(tmp_path):
    return SmallMetadata(tmp_path, property_filter_enable=True)


def check(broker, expression, kind="SQL92"):
    body = CheckClientRequest("x", "g", SubscriptionData("T", expression, expression_type=kind)).to_bytes()
    return broker.call(handle_check_client, RequestCode.CHECK_CLIENT_CONFIG, {}, body)


def test_a_subscription_in_sql_is_accepted_where_it_is_enabled(filtering):
    assert check(filtering, "a > 5").command.code == 0


@pytest.mark.parametrize(
    ("expression", "kind", "remark"),
    [
        ("a >", "SQL92", "Invalid MessageSelector: it ends, or goes on, where something else is wanted"),
        ("a > #", "SQL92", "Invalid MessageSelector: no word begins with '#', at character 4"),
        ("a = NULL", "SQL92", "Invalid MessageSelector: NULL cannot be compared"),
        ("a > 5", "XPATH", "no expression is of the type XPATH"),
    ],
)
def test_a_wrong_one_is_refused(filtering, expression, kind, remark):
    with pytest.raises(RequestError) as refused:
        check(filtering, expression, kind)
    assert (refused.value.code, refused.value.remark) == (ResponseCode.SUBSCRIPTION_PARSE_FAILED, remark)
