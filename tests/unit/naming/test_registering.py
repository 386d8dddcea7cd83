import zlib

import pytest

from shmq.naming.routes import BrokerKey
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.route_bodies import BrokerMemberGroup, QueueData, TopicRouteData
from shmq.wire.topic_bodies import RegisterBrokerBody, TopicConfig, TopicConfigSerializeWrapper
from tests.support.broker_registrations import NameServer, registration_of, version

TOPICS = ("T", "U")


def addresses(server: NameServer, name: str = "broker-a") -> dict[int, str]:
    answer = server.ask(RequestCode.GET_BROKER_MEMBER_GROUP, clusterName="DefaultCluster", brokerName=name)
    return dict(BrokerMemberGroup.from_bytes(answer.body).addresses)


def queues(server: NameServer, topic: str = "T") -> dict[str, QueueData]:
    return server.naming.routes.topics.get(topic, {})


def test_a_broker_that_registers_is_found() -> None:
    server = NameServer()
    answer = server.register([TopicConfig("T", 4, 8, 6, topic_sys_flag=2), "U"])
    assert (answer.code, answer.fields, answer.body) == (ResponseCode.SUCCESS, {}, b"")
    route = TopicRouteData.from_bytes(server.route("T").body)
    assert route.queues == (QueueData("broker-a", 4, 8, 6, 2),)
    assert route.brokers[0].addresses == {0: "10.0.0.1:10911"}
    assert route.brokers[0].cluster == "DefaultCluster"


def test_a_body_whose_checksum_differs_is_refused() -> None:
    answer = NameServer().register(TOPICS, bodyCrc32="12345")
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "crc32 not match")


def test_a_body_whose_checksum_is_right_is_taken() -> None:
    body = registration_of(TOPICS).body
    crc = zlib.crc32(body) & 0x7FFFFFFF
    assert NameServer().register(TOPICS, bodyCrc32=str(crc)).code == ResponseCode.SUCCESS


@pytest.mark.parametrize("compressed", ["true", "false"])
def test_a_deflated_body_is_read_whatever_the_header_says(compressed: str) -> None:
    server = NameServer()
    table = TopicConfigSerializeWrapper({topic: TopicConfig(topic) for topic in TOPICS}, version())
    fields = registration_of(TOPICS, compressed=compressed).fields
    server.ask(RequestCode.REGISTER_BROKER, RegisterBrokerBody(table).to_deflated(), **fields)
    assert set(server.naming.routes.topics) == set(TOPICS)


def test_a_body_that_cannot_be_read_is_refused() -> None:
    fields = registration_of(TOPICS).fields
    answer = NameServer().ask(RequestCode.REGISTER_BROKER, b"\x78\x9cgarbage", **fields)
    assert answer.code == ResponseCode.INVALID_PARAMETER


def test_a_broker_without_a_body_has_no_topics() -> None:
    server = NameServer()
    fields = registration_of(TOPICS).fields
    assert server.ask(RequestCode.REGISTER_BROKER, **fields).code == ResponseCode.SUCCESS
    assert addresses(server) == {0: "10.0.0.1:10911"}


def test_one_topic_from_an_unknown_broker_is_refused_and_leaves_nothing() -> None:
    server = NameServer()
    answer = server.register(["T"])
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "register broker failed")
    routes = server.naming.routes
    assert (routes.brokers, routes.clusters, routes.live, routes.topics) == ({}, {}, {}, {})


def test_one_topic_from_a_known_broker_is_an_increment() -> None:
    server = NameServer()
    server.register(TOPICS)
    assert server.register(["V"], version(2)).code == ResponseCode.SUCCESS
    assert set(server.naming.routes.topics) == {"T", "U", "V"}


def test_topics_stay_that_a_later_registration_does_not_name() -> None:
    server = NameServer()
    server.register(TOPICS)
    server.register(["V", "W"], version(2))
    assert set(server.naming.routes.topics) == {"T", "U", "V", "W"}


def test_topics_go_that_a_later_registration_does_not_name_where_that_is_wanted() -> None:
    server = NameServer(delete_topic_with_broker_registration=True)
    server.register(TOPICS)
    server.register(TOPICS, name="broker-b", address="10.0.0.2:10911")
    server.register(["U", "V"], version(2))
    assert set(queues(server, "T")) == {"broker-b"}
    assert set(server.naming.routes.topics) == {"T", "U", "V"}


def test_the_same_version_changes_no_topic() -> None:
    server = NameServer()
    server.register([TopicConfig("T", 4, 4), "U"])
    server.register([TopicConfig("T", 8, 8), "U"])
    assert queues(server)["broker-a"].read_queue_count == 4
    server.register([TopicConfig("T", 8, 8), "U"], version(2))
    assert queues(server)["broker-a"].read_queue_count == 8


def test_the_same_version_brings_back_a_topic_that_was_lost() -> None:
    server = NameServer()
    server.register(TOPICS)
    server.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="T")
    server.register(TOPICS)
    assert set(queues(server)) == {"broker-a"}


def test_an_address_that_comes_with_another_id_leaves_the_old_one() -> None:
    server = NameServer()
    server.register(TOPICS, address="10.0.0.1:10911")
    server.register(TOPICS, address="10.0.0.2:10911", broker_id=1)
    server.naming.channel_closed(99, server.now_ms)
    server.unregister("broker-a", "10.0.0.1:10911")
    server.register(TOPICS, version(2), address="10.0.0.2:10911", broker_id=0)
    assert addresses(server) == {0: "10.0.0.2:10911"}


def test_a_newcomer_behind_the_holder_of_its_id_is_ignored() -> None:
    server = NameServer()
    server.register(TOPICS, version(state_version=2), address="10.0.0.1:10911")
    answer = server.register(TOPICS, version(state_version=1), address="10.0.0.9:10911")
    assert (answer.code, answer.fields) == (ResponseCode.SUCCESS, {})
    assert addresses(server) == {0: "10.0.0.1:10911"}
    assert len(server.naming.routes.live) == 1


def test_a_newcomer_not_behind_the_holder_of_its_id_takes_it() -> None:
    server = NameServer()
    server.register(TOPICS, version(state_version=2), address="10.0.0.1:10911")
    server.register(TOPICS, version(state_version=2), address="10.0.0.9:10911")
    assert addresses(server) == {0: "10.0.0.9:10911"}


def test_a_slave_is_told_its_master_and_brings_no_topics() -> None:
    server = NameServer()
    server.register(TOPICS)
    answer = server.register(("X", "Y"), address="10.0.0.2:10911", broker_id=1)
    assert answer.fields == {"haServerAddr": "10.0.0.1:10912", "masterAddr": "10.0.0.1:10911"}
    assert set(server.naming.routes.topics) == set(TOPICS)


def test_a_slave_alone_is_told_no_master() -> None:
    assert NameServer().register(TOPICS, broker_id=1).fields == {}


def test_an_old_slave_alone_brings_no_topics_and_a_new_one_does() -> None:
    server = NameServer()
    server.register(TOPICS, broker_id=1)
    assert server.naming.routes.topics == {}
    server.register(TOPICS, broker_id=1, enableActingMaster="false")
    assert queues(server)["broker-a"].permission == 6


def test_a_slave_that_may_act_as_master_brings_its_topics_read_only() -> None:
    server = NameServer()
    server.register(TOPICS, broker_id=1, enableActingMaster="true")
    assert queues(server)["broker-a"].permission == 4


def test_a_slave_behind_another_brings_no_topics() -> None:
    server = NameServer()
    server.register(TOPICS, broker_id=1, enableActingMaster="true")
    server.register(("X", "Y"), broker_id=2, address="10.0.0.2:10911", enableActingMaster="true")
    assert set(server.naming.routes.topics) == set(TOPICS)


def test_when_only_slaves_are_left_that_may_act_as_master_writing_ends() -> None:
    server = NameServer()
    server.register(TOPICS, enableActingMaster="true")
    server.register(TOPICS, broker_id=1, address="10.0.0.2:10911", enableActingMaster="true")
    server.unregister("broker-a", "10.0.0.1:10911")
    assert queues(server)["broker-a"].permission == 4


def test_when_only_slaves_are_left_that_may_not_act_as_master_nothing_changes() -> None:
    server = NameServer()
    server.register(TOPICS)
    server.register(TOPICS, broker_id=1, address="10.0.0.2:10911")
    server.unregister("broker-a", "10.0.0.1:10911")
    assert queues(server)["broker-a"].permission == 6


def test_a_broker_gets_the_configuration_of_ordered_topics() -> None:
    server = NameServer()
    server.ask(RequestCode.PUT_KV_CONFIG, namespace="ORDER_TOPIC_CONFIG", key="T", value="broker-a:4")
    assert server.register(TOPICS).body == b'{"table":{"T":"broker-a:4"}}'
    server.naming.settings.return_order_topic_config_to_broker = False
    assert server.register(TOPICS).body == b""


def test_filter_servers_are_replaced_and_cleared() -> None:
    server = NameServer()
    server.register(TOPICS, filter_servers=("10.0.0.1:30000",))
    route = TopicRouteData.from_bytes(server.route("T").body)
    assert route.filter_servers == {"10.0.0.1:10911": ("10.0.0.1:30000",)}
    server.register(TOPICS)
    assert TopicRouteData.from_bytes(server.route("T").body).filter_servers == {}


def test_static_mappings_are_handed_on_and_go_with_their_topic() -> None:
    server = NameServer()
    mapping = {"bname": "broker-a", "topic": "T", "totalQueues": 4}
    server.register(TOPICS, queue_mappings={"T": mapping})
    assert TopicRouteData.from_bytes(server.route("T").body).queue_mappings == {"broker-a": mapping}
    server.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="T")
    server.register(TOPICS)
    assert TopicRouteData.from_bytes(server.route("T").body).queue_mappings == {}


def test_an_unregistered_broker_leaves_nothing() -> None:
    server = NameServer()
    server.register(TOPICS)
    assert server.unregister("broker-a", "10.0.0.1:10911").code == ResponseCode.SUCCESS
    routes = server.naming.routes
    assert (routes.brokers, routes.clusters, routes.live, routes.topics) == ({}, {}, {}, {})


def test_who_is_not_here_may_unregister() -> None:
    server = NameServer()
    assert server.unregister("broker-z", "10.0.0.1:10911").code == ResponseCode.SUCCESS
    assert server.naming.notes == []


def test_a_silent_broker_expires_and_its_connection_is_named() -> None:
    server = NameServer()
    server.register(TOPICS, channel_id=5)
    assert server.naming.expire(server.now_ms + 120_000) == []
    assert server.naming.expire(server.now_ms + 120_001) == [5]
    assert server.naming.routes.brokers == {}


def test_a_broker_may_say_how_long_it_will_be_silent() -> None:
    server = NameServer()
    server.register(TOPICS, heartbeatTimeoutMillis="10000")
    assert server.naming.expire(server.now_ms + 10_001) == [1]


@pytest.mark.parametrize("code", [RequestCode.BROKER_HEARTBEAT, RequestCode.QUERY_DATA_VERSION])
def test_a_sign_of_life_renews_the_lease(code: RequestCode) -> None:
    server = NameServer()
    server.register(TOPICS)
    server.now_ms += 100_000
    fields = registration_of(()).fields
    server.ask(code, version().to_bytes(), **fields)
    assert server.naming.expire(server.now_ms + 100_000) == []


def test_a_closed_connection_takes_its_broker_along() -> None:
    server = NameServer()
    server.register(TOPICS, channel_id=5)
    server.register(TOPICS, channel_id=6, name="broker-b", address="10.0.0.2:10911")
    server.naming.channel_closed(5, server.now_ms)
    assert set(queues(server)) == {"broker-b"}


def test_ones_own_broker_outlives_its_connection_but_not_its_lease() -> None:
    server = NameServer()
    server.naming.own = BrokerKey("DefaultCluster", "10.0.0.1:10911")
    server.register(TOPICS, channel_id=5)
    server.naming.channel_closed(5, server.now_ms)
    assert set(queues(server)) == {"broker-a"}
    server.naming.expire(server.now_ms + 1_000_000)
    assert set(queues(server)) == set()


def test_an_old_connection_of_a_broker_may_close() -> None:
    server = NameServer()
    server.register(TOPICS, channel_id=5)
    server.register(TOPICS, channel_id=6)
    server.naming.channel_closed(5, server.now_ms)
    assert set(queues(server)) == {"broker-a"}


def test_a_broker_that_is_told_its_version_is_known_need_not_register() -> None:
    server = NameServer()
    fields = registration_of(()).fields
    answer = server.ask(RequestCode.QUERY_DATA_VERSION, version().to_bytes(), **fields)
    assert (answer.fields, answer.body) == ({"changed": "true"}, b"")
    server.register(TOPICS)
    answer = server.ask(RequestCode.QUERY_DATA_VERSION, version().to_bytes(), **fields)
    assert (answer.fields, answer.body) == ({"changed": "false"}, version().to_bytes())
    answer = server.ask(RequestCode.QUERY_DATA_VERSION, version(2).to_bytes(), **fields)
    assert (answer.fields, answer.body) == ({"changed": "true"}, version().to_bytes())


def test_members_are_told_of_a_new_smallest_id_where_that_is_wanted() -> None:
    server = NameServer(notify_min_broker_id_changed=True)
    server.register(TOPICS, broker_id=1, address="10.0.0.2:10911", enableActingMaster="true")
    server.register(TOPICS, enableActingMaster="true")
    (push,) = server.naming.pushes
    assert push.address == "10.0.0.2:10911"
    assert push.command.code == RequestCode.NOTIFY_MIN_BROKER_ID_CHANGE
    assert push.command.is_oneway
    assert push.command.fields == {
        "minBrokerId": "0",
        "minBrokerAddr": "10.0.0.1:10911",
        "haBrokerAddr": "10.0.0.1:10912",
    }
    server.naming.pushes.clear()
    server.unregister("broker-a", "10.0.0.1:10911")
    (push,) = server.naming.pushes
    assert push.address == "10.0.0.2:10911"
    assert push.command.fields == {
        "minBrokerId": "1",
        "minBrokerAddr": "10.0.0.2:10911",
        "offlineBrokerAddr": "10.0.0.1:10911",
    }


def test_members_are_told_nothing_by_default() -> None:
    server = NameServer()
    server.register(TOPICS, broker_id=1, address="10.0.0.2:10911", enableActingMaster="true")
    server.register(TOPICS, enableActingMaster="true")
    assert server.naming.pushes == []


def test_what_happens_to_brokers_is_noted() -> None:
    server = NameServer()
    server.register(TOPICS)
    server.register(TOPICS)
    server.register(["T"], name="broker-b", address="10.0.0.2:10911")
    server.naming.channel_closed(1, server.now_ms)
    assert [(note.level, note.event) for note in server.naming.notes] == [
        ("info", "broker registered"),
        ("warning", "registration refused: one topic from a broker that is not here"),
        ("warning", "broker gone"),
    ]
