import pytest

from shmq.naming.absences import REMEMBERED_MS
from shmq.store.host import Host
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.route_bodies import ClusterInfo, TopicRouteData
from shmq.wire.topic_bodies import TopicConfig
from tests.support.broker_registrations import LOCAL, NameServer

TOPICS = ("T", "U")
GO_VERSION = 317
FAQ = "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."


def reason(server: NameServer, topic: str = "T", **fields: str) -> str:
    answer = server.route(topic, **fields)
    assert answer.code == ResponseCode.TOPIC_NOT_EXIST
    assert answer.remark is not None
    first, why, faq = answer.remark.split("\n")
    assert first == f"No topic route info in name server for the topic: {topic}"
    assert faq == FAQ
    return why


def shown(server: NameServer, **given: str | Host) -> dict[int, str]:
    (broker,) = TopicRouteData.from_bytes(server.route("T", **given).body).brokers
    return dict(broker.addresses)


def test_old_clients_get_bare_ids_and_new_ones_standard_json() -> None:
    server = NameServer()
    server.register([TopicConfig("T", 4, 4), "U"])
    server.register(TOPICS, broker_id=1, address="10.0.0.2:10911")
    legacy = (
        b'{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"broker-a",'
        b'"cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":['
        b'{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}'
    )
    standard = legacy.replace(b'{0:"', b'{"0":"').replace(b',1:"', b',"1":"')
    assert server.route("T", version=GO_VERSION).body == legacy
    assert server.route("T", version=GO_VERSION, acceptStandardJsonOnly="true").body == standard
    assert server.route("T", version=401).body == standard


def test_the_order_of_topics_is_shown_where_that_is_wanted() -> None:
    server = NameServer()
    server.register(TOPICS)
    server.ask(RequestCode.PUT_KV_CONFIG, namespace="ORDER_TOPIC_CONFIG", key="T", value="broker-a:4")
    assert TopicRouteData.from_bytes(server.route("T").body).order_topic_config is None
    server.naming.settings.order_message_enable = True
    assert TopicRouteData.from_bytes(server.route("T").body).order_topic_config == "broker-a:4"
    assert TopicRouteData.from_bytes(server.route("U").body).order_topic_config is None


def test_no_route_is_given_before_the_server_is_ready_where_it_waits() -> None:
    server = NameServer(wait_for_service=True, wait_seconds=45)
    server.register(TOPICS)
    server.now_ms += 44_999
    answer = server.route("T")
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "name server not ready")
    server.now_ms += 1
    assert server.route("T").code == ResponseCode.SUCCESS


def test_a_client_is_told_the_address_of_the_interface_it_came_in_on() -> None:
    server = NameServer()
    server.register(
        TOPICS, advertisedListeners="127.0.0.1:20911,192.168.0.7:30911,[fe80::1]:40911,a.name:1,?"
    )
    assert shown(server) == {0: "127.0.0.1:20911"}
    assert shown(server, local=Host(b"\xc0\xa8\x00\x07", 9876)) == {0: "192.168.0.7:30911"}
    assert shown(server, local=Host(b"\x0a\x00\x00\x63", 9876)) == {0: "10.0.0.1:10911"}
    v6 = Host(b"\xfe\x80" + bytes(13) + b"\x01", 9876)
    assert shown(server, local=v6) == {0: "[fe80::1]:40911"}
    ignored = [note.fields["listener"] for note in server.naming.notes if "ignored" in note.event]
    assert ignored == ["a.name:1", "?"]


def test_an_administrator_is_told_the_same_addresses() -> None:
    server = NameServer()
    server.register(TOPICS, advertisedListeners="127.0.0.1:20911")
    info = ClusterInfo.from_bytes(server.ask(RequestCode.GET_BROKER_CLUSTER_INFO, local=LOCAL).body)
    assert info.brokers["broker-a"].addresses == {0: "127.0.0.1:20911"}
    assert info.clusters == {"DefaultCluster": ("broker-a",)}


def test_the_smallest_slave_is_shown_as_master_where_that_is_wanted() -> None:
    server = NameServer(support_acting_master=True)
    for broker_id in (2, 1):
        server.register(
            TOPICS, broker_id=broker_id, address=f"10.0.0.{broker_id}:10911", enableActingMaster="true"
        )
    assert shown(server) == {0: "10.0.0.1:10911", 2: "10.0.0.2:10911"}
    server.naming.settings.support_acting_master = False
    assert shown(server) == {1: "10.0.0.1:10911", 2: "10.0.0.2:10911"}


def test_a_slave_is_not_shown_as_master_where_writing_is_allowed() -> None:
    server = NameServer(support_acting_master=True)
    server.register(TOPICS, broker_id=1, enableActingMaster="true")
    server.ask(RequestCode.ADD_WRITE_PERM_OF_BROKER, brokerName="broker-a")
    assert shown(server) == {1: "10.0.0.1:10911"}


def test_a_client_of_a_zone_sees_that_zone_and_brokers_without_master() -> None:
    server = NameServer()
    server.register(TOPICS, name="a", address="10.0.0.1:1", __ZONE_NAME="East")
    server.register(TOPICS, name="b", address="10.0.0.2:1", __ZONE_NAME="west")
    server.register(TOPICS, name="c", address="10.0.0.3:1", broker_id=1, enableActingMaster="true")

    def names(**zone: str) -> list[str]:
        route = TopicRouteData.from_bytes(server.route("T", **zone).body)
        assert [queue.broker_name for queue in route.queues] == [each.broker_name for each in route.brokers]
        return [each.broker_name for each in route.brokers]

    assert names(__ZONE_MODE="true", __ZONE_NAME="east") == ["a", "c"]
    assert names(__ZONE_MODE="false", __ZONE_NAME="east") == ["a", "b", "c"]
    assert names(__ZONE_MODE="true", __ZONE_NAME=" ") == ["a", "b", "c"]


def test_no_route_because_no_broker_ever_registered() -> None:
    assert reason(NameServer()) == "No broker has registered with this name server."


def test_no_route_because_the_last_broker_has_left() -> None:
    server = NameServer()
    server.register(TOPICS)
    server.unregister("broker-a", "10.0.0.1:10911")
    server.now_ms += 61_999
    assert reason(server, "other") == (
        "No broker is registered with this name server any more: the last, broker-a, "
        "unregistered, as one that stops does, 61 s ago."
    )


def test_no_route_because_no_broker_has_the_topic() -> None:
    server = NameServer()
    for index in range(7):
        server.register(TOPICS, name=f"broker-{index}", address=f"10.0.0.{index}:10911")
    assert reason(server, "other") == (
        "None of the brokers here (broker-0, broker-1, broker-2, broker-3, broker-4 and 2 more) has it, "
        "and none creates topics by itself (TBW102 is not there): create it first."
    )


def test_no_route_though_a_send_would_create_the_topic() -> None:
    server = NameServer()
    server.register(["T", "TBW102"])
    server.register(TOPICS, name="broker-b", address="10.0.0.2:10911")
    assert reason(server, "other") == (
        "None of the brokers here (broker-a, broker-b) has it; a producer's first send creates it where TBW102 is: "
        "broker-a."
    )


def test_no_route_because_the_broker_went_silent() -> None:
    server = NameServer()
    server.register(TOPICS)
    server.now_ms += 130_000
    server.naming.expire(server.now_ms)
    server.now_ms += 12_000
    assert reason(server) == "It was here until its last broker broker-a went silent 12 s ago."


def test_no_route_because_the_broker_closed_its_connection() -> None:
    server = NameServer()
    server.register(TOPICS)
    server.register(("X", "Y"), name="broker-b", address="10.0.0.2:10911", channel_id=2)
    server.naming.channel_closed(1, server.now_ms)
    assert reason(server) == "It was here until its last broker broker-a closed its connection 0 s ago."


@pytest.mark.parametrize("cluster", ["", "DefaultCluster"])
def test_no_route_because_the_topic_was_deleted(cluster: str) -> None:
    server = NameServer()
    server.register(TOPICS)
    server.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="T", clusterName=cluster)
    server.now_ms += 3000
    assert reason(server) == "It was deleted by an administrator 3 s ago."


def test_no_route_because_the_broker_registered_without_the_topic() -> None:
    server = NameServer(delete_topic_with_broker_registration=True)
    server.register(TOPICS)
    server.register(["U", "V"], data_version=None)
    assert reason(server) == "It was here until its last broker broker-a registered without it 0 s ago."


def test_no_route_because_no_broker_is_in_the_zone() -> None:
    server = NameServer()
    server.register(TOPICS, __ZONE_NAME="west")
    assert reason(server, __ZONE_MODE="true", __ZONE_NAME="east") == (
        "It is on broker-a, outside the zone east that the client asks for."
    )


def test_what_became_of_a_topic_is_forgotten_after_a_while_and_when_it_comes_back() -> None:
    server = NameServer()
    server.register(TOPICS)
    server.naming.channel_closed(1, server.now_ms)
    server.now_ms += REMEMBERED_MS + 1
    assert reason(server) == "No broker has registered with this name server."
    server.register(TOPICS)
    server.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="T")
    server.register(TOPICS)
    assert server.route("T").code == ResponseCode.SUCCESS
    assert server.naming.routes.absences.topic("T", server.now_ms) is None
