import zlib

import pytest

from shmq.naming.registration import (
    NEVER_MS,
    RETRY_MS,
    Announcer,
    BrokerIdentity,
    Due,
    read_answer,
    registration,
    unregistration,
)
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.topic_bodies import RegisterBrokerBody, TopicConfig
from tests.support.broker_registrations import NameServer, version

IDENTITY = BrokerIdentity("C", "broker-a", 0, "10.0.0.1:10911", "10.0.0.1:10912")
NOW_MS = 1_000_000


def test_a_registration_says_who_and_what() -> None:
    command = registration(IDENTITY, [TopicConfig("T", 4, 4), TopicConfig("U")], version(3))
    assert command.code == RequestCode.REGISTER_BROKER
    assert command.fields == {
        "brokerName": "broker-a",
        "brokerAddr": "10.0.0.1:10911",
        "clusterName": "C",
        "haServerAddr": "10.0.0.1:10912",
        "brokerId": "0",
        "enableActingMaster": "false",
        "compressed": "false",
        "bodyCrc32": str(zlib.crc32(command.body) & 0x7FFFFFFF),
    }
    body = RegisterBrokerBody.from_bytes(command.body)
    assert body.table.data_version == version(3)
    assert body.table.topics == {"T": TopicConfig("T", 4, 4), "U": TopicConfig("U")}


def test_our_name_server_takes_our_registration_and_what_takes_it_back() -> None:
    server = NameServer()
    identity = BrokerIdentity("C", "broker-a", 0, "10.0.0.1:1", "10.0.0.1:2", ("127.0.0.1:1", "10.9.9.9:1"))
    command = registration(identity, [TopicConfig("T"), TopicConfig("U")], version())
    assert command.fields["advertisedListeners"] == "127.0.0.1:1,10.9.9.9:1"
    answer = server.ask(command.code, bytes(command.body), **command.fields)
    assert read_answer(answer).is_accepted
    assert set(server.naming.routes.topics) == {"T", "U"}
    command = unregistration(identity)
    assert server.ask(command.code, **command.fields).code == ResponseCode.SUCCESS
    assert server.naming.routes.topics == {}


@pytest.mark.parametrize(("allowed", "registered"), [(6, 7), (4, 4), (2, 2)])
def test_a_broker_that_allows_less_restricts_its_topics(allowed: int, registered: int) -> None:
    identity = BrokerIdentity("C", "b", 0, "h:1", "h:2", permission=allowed)
    command = registration(identity, [TopicConfig("T", permission=7, topic_sys_flag=1)], version())
    (topic,) = RegisterBrokerBody.from_bytes(command.body).table.topics.values()
    assert (topic.permission, topic.topic_sys_flag) == (registered, 1)


def test_an_answer_says_what_a_slave_must_know() -> None:
    fields = {"masterAddr": "h:1", "haServerAddr": "h:2"}
    answer = read_answer(Command(ResponseCode.SUCCESS, fields=fields, body=b'{"table":{"T":"b:4"}}'))
    assert (answer.master_address, answer.ha_address, answer.order_topics) == ("h:1", "h:2", {"T": "b:4"})
    assert read_answer(Command(ResponseCode.SUCCESS)).order_topics is None


def test_a_refusal_says_why() -> None:
    refused = Command(ResponseCode.SYSTEM_ERROR, remark="register broker failed")
    assert read_answer(refused) == (False, "register broker failed", None, None, None)
    assert read_answer(Command(ResponseCode.SYSTEM_BUSY)).remark == "code 2"


def test_nothing_is_due_while_no_name_server_is_reached() -> None:
    announcer = Announcer(["a", "b"], 30_000)
    announcer.topics_changed(["T"])
    assert announcer.take_due(NOW_MS) == []
    assert announcer.next_due_ms == NEVER_MS


def test_all_topics_are_due_at_once_where_a_name_server_is_reached() -> None:
    announcer = Announcer(["a", "b"], 30_000)
    announcer.topics_changed(["T"])
    announcer.connected("b")
    assert announcer.next_due_ms <= NOW_MS
    assert announcer.take_due(NOW_MS) == [Due("b", None)]
    announcer.connected("b")
    assert announcer.take_due(NOW_MS) == [Due("b", None)]
    announcer.disconnected("b")
    assert announcer.take_due(NOW_MS + 60_000) == []


@pytest.mark.parametrize(("wanted_ms", "taken_ms"), [(30_000, 30_000), (1000, 10_000), (600_000, 60_000)])
def test_all_topics_are_due_again_after_an_interval_within_bounds(wanted_ms: int, taken_ms: int) -> None:
    announcer = Announcer(["a"], wanted_ms)
    announcer.connected("a")
    announcer.take_due(NOW_MS)
    assert announcer.next_due_ms == NOW_MS + taken_ms
    assert announcer.take_due(NOW_MS + taken_ms - 1) == []
    assert announcer.take_due(NOW_MS + taken_ms) == [Due("a", None)]


def test_topics_that_changed_are_due_at_once_and_once() -> None:
    announcer = Announcer(["a", "b"], 30_000)
    announcer.connected("a")
    announcer.connected("b")
    announcer.take_due(NOW_MS)
    announcer.topics_changed(["U", "T"])
    announcer.topics_changed(["T"])
    assert announcer.next_due_ms <= NOW_MS
    assert announcer.take_due(NOW_MS + 1) == [Due("a", ("T", "U")), Due("b", ("T", "U"))]
    assert announcer.take_due(NOW_MS + 2) == []
    announcer.topics_changed(None)
    assert announcer.take_due(NOW_MS + 3) == [Due("a", None), Due("b", None)]


def test_a_refused_increment_makes_everything_due_at_once() -> None:
    announcer = Announcer(["a"], 30_000)
    announcer.connected("a")
    announcer.take_due(NOW_MS)
    announcer.topics_changed(["T"])
    (due,) = announcer.take_due(NOW_MS + 1)
    announcer.failed(due, NOW_MS + 2)
    assert announcer.take_due(NOW_MS + 2) == [Due("a", None)]


def test_a_refused_registration_is_tried_again_a_little_later() -> None:
    announcer = Announcer(["a"], 60_000)
    announcer.connected("a")
    (due,) = announcer.take_due(NOW_MS)
    announcer.failed(due, NOW_MS + 5)
    assert announcer.take_due(NOW_MS + 5) == []
    assert announcer.take_due(NOW_MS + 5 + RETRY_MS) == [Due("a", None)]
