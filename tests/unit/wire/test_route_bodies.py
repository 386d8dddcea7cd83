import pytest

from shmq.errors import RequestError
from shmq.wire.route_bodies import BrokerData, BrokerMemberGroup, ClusterInfo, QueueData, TopicRouteData

BROKER = BrokerData("DefaultCluster", "broker-a", {1: "127.0.0.1:10921", 0: "127.0.0.1:10911"})
ROUTE = TopicRouteData(queues=(QueueData("broker-a", 4, 4, 6),), brokers=(BROKER,))
LEGACY = (
    b'{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:10911",1:"127.0.0.1:10921"},"brokerName":"broker-a",'
    b'"cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},'
    b'"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}'
)


def test_a_route_for_old_clients_has_bare_broker_ids():
    assert ROUTE.to_bytes() == LEGACY
    assert TopicRouteData.from_bytes(LEGACY) == ROUTE


def test_a_route_in_standard_json_has_them_quoted():
    standard = LEGACY.replace(b'{0:"', b'{"0":"').replace(b',1:"', b',"1":"')
    assert ROUTE.to_bytes(standard=True) == standard
    assert TopicRouteData.from_bytes(standard) == ROUTE


def test_no_form_of_a_route_holds_a_blank():
    assert b" " not in ROUTE.to_bytes() + ROUTE.to_bytes(standard=True)


def test_what_a_route_rarely_has_is_read_and_written():
    route = TopicRouteData(
        queues=ROUTE.queues,
        brokers=(BrokerData("c", "b", {0: "h:1"}, enable_acting_master=True, zone_name="z"),),
        filter_servers={"h:1": ("f:1", "f:2")},
        order_topic_config="b:4",
        queue_mappings={"b": {"bname": "b", "currIdMap": {"0": 0}}},
    )
    for standard in (False, True):
        assert TopicRouteData.from_bytes(route.to_bytes(standard=standard)) == route


def test_a_cluster_is_read_and_written():
    info = ClusterInfo({"broker-a": BROKER}, {"DefaultCluster": ("broker-a",)})
    assert info.to_bytes() == (
        b'{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"127.0.0.1:10911",1:"127.0.0.1:10921"},'
        b'"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}},'
        b'"clusterAddrTable":{"DefaultCluster":["broker-a"]}}'
    )
    assert ClusterInfo.from_bytes(info.to_bytes()) == info


def test_a_member_group_is_read_and_written():
    group = BrokerMemberGroup("c", "b", {0: "h:1"})
    assert (
        group.to_bytes() == b'{"brokerMemberGroup":{"brokerAddrs":{0:"h:1"},"brokerName":"b","cluster":"c"}}'
    )
    assert BrokerMemberGroup.from_bytes(group.to_bytes()) == group
    assert BrokerMemberGroup("c", "b").to_bytes().startswith(b'{"brokerMemberGroup":{"brokerAddrs":{},')


def test_a_broker_id_that_is_no_number_is_refused():
    with pytest.raises(RequestError):
        TopicRouteData.from_bytes(b'{"brokerDatas":[{"brokerAddrs":{"master":"h:1"}}]}')
