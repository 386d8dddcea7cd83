import pytest

from shmq.wire.bodies import TopicList
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.flags import TOPIC_UNIT, TOPIC_UNIT_SUB
from shmq.wire.route_bodies import QueueData, TopicRouteData
from shmq.wire.topic_bodies import TopicConfig
from tests.support.broker_registrations import NameServer, version

TOPICS = ("T", "U")


def two_brokers() -> NameServer:
    server = NameServer()
    server.register(TOPICS)
    server.register(("U", "V"), name="broker-b", address="10.0.0.2:10911", cluster="Other")
    return server


def topics_in(answer: Command) -> list[str]:
    assert answer.code == ResponseCode.SUCCESS
    return sorted(TopicList.from_bytes(answer.body).topics)


def test_all_topics_are_listed() -> None:
    assert topics_in(two_brokers().ask(RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER)) == ["T", "U", "V"]


def test_topics_of_a_cluster_are_listed_once() -> None:
    server = two_brokers()
    assert topics_in(server.ask(RequestCode.GET_TOPICS_BY_CLUSTER, cluster="Other")) == ["U", "V"]
    assert topics_in(server.ask(RequestCode.GET_TOPICS_BY_CLUSTER, cluster="none")) == []


def test_the_system_topics_are_clusters_and_brokers_and_where_to_ask_on() -> None:
    answer = two_brokers().ask(RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS)
    listed = TopicList.from_bytes(answer.body)
    assert sorted(listed.topics) == ["DefaultCluster", "Other", "broker-a", "broker-b"]
    assert listed.broker_address == "10.0.0.1:10911"


def test_an_empty_name_server_lists_nothing() -> None:
    server = NameServer()
    assert server.ask(RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS).body == b'{"topicList":[]}'
    assert server.ask(RequestCode.GET_BROKER_CLUSTER_INFO).body == (
        b'{"brokerAddrTable":{},"clusterAddrTable":{}}'
    )


@pytest.mark.parametrize(
    ("code", "listed"),
    [
        (RequestCode.GET_UNIT_TOPIC_LIST, ["both", "unit"]),
        (RequestCode.GET_HAS_UNIT_SUB_TOPIC_LIST, ["both", "sub"]),
        (RequestCode.GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST, ["sub"]),
    ],
)
def test_topics_are_listed_by_their_unit_flags(code: RequestCode, listed: list[str]) -> None:
    server = NameServer()
    flags = {"none": 0, "unit": TOPIC_UNIT, "sub": TOPIC_UNIT_SUB, "both": TOPIC_UNIT | TOPIC_UNIT_SUB}
    server.register([TopicConfig(name, topic_sys_flag=flag) for name, flag in flags.items()])
    assert topics_in(server.ask(code)) == listed


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("all_topic_list_enable", RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER),
        ("topic_list_enable", RequestCode.GET_TOPICS_BY_CLUSTER),
        ("topic_list_enable", RequestCode.GET_UNIT_TOPIC_LIST),
    ],
)
def test_lists_can_be_turned_off(setting: str, code: RequestCode) -> None:
    answer = NameServer(**{setting: False}).ask(code, cluster="c")
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "disable")


def test_a_deleted_topic_is_gone_from_all_brokers_or_from_one_cluster() -> None:
    server = two_brokers()
    server.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="U", clusterName="Other")
    assert set(server.naming.routes.topics["U"]) == {"broker-a"}
    server.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="U")
    assert "U" not in server.naming.routes.topics
    assert server.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="U").code == ResponseCode.SUCCESS


def test_a_topic_can_be_registered_by_itself() -> None:
    server = two_brokers()
    route = TopicRouteData(queues=(QueueData("broker-b", 2, 2, 6), QueueData("broker-a", 1, 1, 4)))
    answer = server.ask(RequestCode.REGISTER_TOPIC_IN_NAMESRV, route.to_bytes(), topic="W")
    assert answer.code == ResponseCode.SUCCESS
    assert server.naming.routes.topics["W"] == {each.broker_name: each for each in route.queues}


def test_a_topic_of_a_broker_that_is_not_here_is_passed_over() -> None:
    server = two_brokers()
    route = TopicRouteData(queues=(QueueData("broker-a", 2, 2, 6), QueueData("broker-z", 1, 1, 4)))
    answer = server.ask(RequestCode.REGISTER_TOPIC_IN_NAMESRV, route.to_bytes(), topic="W")
    assert answer.code == ResponseCode.SUCCESS
    assert "W" not in server.naming.routes.topics


def test_the_right_to_write_is_taken_from_a_broker_and_given_back() -> None:
    server = NameServer()
    server.register([TopicConfig("T", permission=7), TopicConfig("U", permission=4)])
    server.register(("T", "U"), name="broker-b", address="10.0.0.2:10911")
    answer = server.ask(RequestCode.WIPE_WRITE_PERM_OF_BROKER, brokerName="broker-a")
    assert answer.fields == {"wipeTopicCount": "2"}
    assert [server.naming.routes.topics[topic]["broker-a"].permission for topic in TOPICS] == [5, 4]
    assert server.naming.routes.topics["T"]["broker-b"].permission == 6
    answer = server.ask(RequestCode.ADD_WRITE_PERM_OF_BROKER, brokerName="broker-a")
    assert answer.fields == {"addTopicCount": "2"}
    assert [server.naming.routes.topics[topic]["broker-a"].permission for topic in TOPICS] == [6, 6]


def test_the_right_to_write_stays_taken_until_the_broker_changes_its_topics() -> None:
    server = NameServer()
    server.register(TOPICS)
    server.ask(RequestCode.WIPE_WRITE_PERM_OF_BROKER, brokerName="broker-a")
    server.register(TOPICS)
    assert server.naming.routes.topics["T"]["broker-a"].permission == 4
    server.register(TOPICS, version(2))
    assert server.naming.routes.topics["T"]["broker-a"].permission == 6


def test_the_members_of_an_unknown_broker_are_none() -> None:
    answer = NameServer().ask(RequestCode.GET_BROKER_MEMBER_GROUP, clusterName="c", brokerName="b")
    assert answer.body == b'{"brokerMemberGroup":{"brokerAddrs":{},"brokerName":"b","cluster":"c"}}'


def test_an_unknown_request_is_answered_so() -> None:
    answer = NameServer().ask(RequestCode.SEND_MESSAGE_V2)
    assert (answer.code, answer.remark) == (
        ResponseCode.REQUEST_CODE_NOT_SUPPORTED,
        " request type 310 not supported",
    )
    assert (answer.opaque, answer.is_response) == (7, True)


def test_a_missing_field_is_answered_so() -> None:
    answer = NameServer().ask(RequestCode.GET_ROUTEINFO_BY_TOPIC)
    assert (answer.code, answer.remark) == (ResponseCode.INVALID_PARAMETER, "the field topic is missing")
