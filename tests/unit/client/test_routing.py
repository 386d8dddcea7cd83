from time import monotonic

import pytest

from shmq.client.connection import BlockingTransport
from shmq.client.errors import NoRouteError, RefusedError, UnreachableError
from shmq.client.routing import TEMPLATE_TOPIC, Router, split_list
from shmq.errors import ConfigError, PeerError
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.route_bodies import BrokerData, QueueData, TopicRouteData
from tests.support.fake_broker import DEADLINE_S, FakeBroker


@pytest.fixture
def transport():
    opened = BlockingTransport()
    yield opened
    opened.close()


def _find(transport, router, topic="T", *, may_be_made=False):
    return transport.run(router.find(topic, monotonic() + DEADLINE_S, may_be_made=may_be_made))


def _route_requests(broker):
    return [request.fields["topic"] for request in broker.received(RequestCode.GET_ROUTEINFO_BY_TOPIC)]


def test_a_route_names_queues_and_addresses(transport, broker):
    route = _find(transport, Router(broker.address))
    queues = (MessageQueue("T", "fake", 0), MessageQueue("T", "fake", 1))
    assert (route.writable, route.readable) == (queues, queues)
    assert route.address("fake") == broker.address


def test_permissions_decide_what_queues_are_for(transport, broker):
    broker.routes["R"] = broker.route(1, permission=4)
    broker.routes["W"] = broker.route(1, permission=2)
    router = Router(broker.address)
    reads, writes = _find(transport, router, "R"), _find(transport, router, "W")
    assert (len(reads.readable), len(reads.writable)) == (1, 0)
    assert (len(writes.readable), len(writes.writable)) == (0, 1)


def test_a_slave_alone_can_be_read_but_not_written(transport, broker):
    broker.routes["S"] = TopicRouteData(
        (QueueData("fake", 1, 1, 6),), (BrokerData("c", "fake", {2: "127.0.0.1:9"}),)
    )
    route = _find(transport, Router(broker.address), "S")
    assert (len(route.readable), route.writable) == (1, ())
    assert route.address("fake", 1) == "127.0.0.1:9"


def test_a_known_route_is_not_asked_for_again(transport, broker):
    router = Router(broker.address)
    assert _find(transport, router) is _find(transport, router)
    assert _route_requests(broker) == ["T"]


def test_a_doubted_route_is_asked_for_again(transport, broker):
    router = Router(broker.address)
    _find(transport, router)
    broker.topics["T"] = 5
    router.doubt("T")
    assert len(_find(transport, router).writable) == 5


def test_an_old_route_stays_while_no_name_server_answers(transport, broker):
    router = Router(broker.address)
    known = _find(transport, router)
    broker.close()
    router.doubt("T")
    assert _find(transport, router) is known


def test_a_topic_that_is_gone_has_no_route(transport, broker):
    router = Router(broker.address)
    _find(transport, router)
    del broker.topics["T"]
    router.doubt("T")
    with pytest.raises(NoRouteError, match=r"the topic T has no route: No topic route info for T$"):
        _find(transport, router)


def test_a_new_topic_will_be_where_brokers_make_topics(transport, broker):
    broker.routes[TEMPLATE_TOPIC] = broker.route(8, permission=7)
    route = _find(transport, Router(broker.address), "New", may_be_made=True)
    assert route.writable == tuple(MessageQueue("New", "fake", queue_id) for queue_id in range(4))


def test_a_new_topic_has_no_route_for_who_cannot_have_it_made(transport, broker):
    broker.routes[TEMPLATE_TOPIC] = broker.route(8, permission=7)
    with pytest.raises(NoRouteError):
        _find(transport, Router(broker.address), "New")


def test_what_the_name_server_says_is_told_in_one_line(transport, broker):
    broker.script[RequestCode.GET_ROUTEINFO_BY_TOPIC] = lambda request: request.reply(
        ResponseCode.TOPIC_NOT_EXIST, "Not here\nSee https://example.org for further details."
    )
    with pytest.raises(NoRouteError) as told:
        _find(transport, Router(broker.address))
    assert str(told.value) == "the topic T has no route: Not here"


def test_a_new_topic_has_no_route_where_no_broker_makes_topics(transport, broker):
    with pytest.raises(NoRouteError):
        _find(transport, Router(broker.address), "New", may_be_made=True)


def test_the_next_name_server_is_asked_where_one_is_down(transport, broker):
    with FakeBroker() as gone:
        pass
    router = Router(f"{gone.address};{broker.address}")
    assert len(_find(transport, router).writable) == 2


def test_the_name_server_that_answered_is_asked_first(transport, broker):
    with FakeBroker({"T": 1}) as first:
        first.script[RequestCode.GET_ROUTEINFO_BY_TOPIC] = lambda request: request.reply(
            ResponseCode.SYSTEM_ERROR, "starting"
        )
        router = Router(f"{first.address};{broker.address}")
        _find(transport, router)
        router.doubt("T")
        _find(transport, router)
        assert (len(_route_requests(first)), len(_route_requests(broker))) == (1, 2)


def test_an_error_of_the_only_name_server_is_told(transport, broker):
    broker.script[RequestCode.GET_ROUTEINFO_BY_TOPIC] = lambda request: request.reply(
        ResponseCode.SYSTEM_ERROR, "starting"
    )
    with pytest.raises(RefusedError, match="starting"):
        _find(transport, Router(broker.address))


def test_a_name_server_that_is_down_cannot_be_reached(transport):
    with FakeBroker() as gone:
        pass
    with pytest.raises(UnreachableError):
        _find(transport, Router(gone.address))


def test_an_unreadable_route_is_the_name_servers_fault(transport, broker):
    broker.script[RequestCode.GET_ROUTEINFO_BY_TOPIC] = lambda request: request.reply(body=b"{[")
    with pytest.raises(PeerError, match="unreadable"):
        _find(transport, Router(broker.address))


@pytest.mark.parametrize("text", ["a:1;b:2", "a:1,b:2", " a:1 ; b:2 ;"])
def test_name_servers_are_joined_by_semicolons_or_commas(text):
    assert split_list(text) == ("a:1", "b:2")


@pytest.mark.parametrize("text", ["", ";", "a", "a:0", "a:1;b"])
def test_what_is_no_list_of_addresses_is_refused(text):
    with pytest.raises(ConfigError, match="HOST:PORT"):
        split_list(text)
