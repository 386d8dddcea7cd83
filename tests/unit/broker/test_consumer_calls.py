"""What consumers are asked on an administrator's behalf."""

import pytest

from shmq.broker.clients import Client
from shmq.broker.consumer_calls import (
    handle_consume_directly,
    handle_consumer_status,
    handle_running_info,
)
from shmq.broker.outcome import Call, Channel, Reply
from shmq.errors import RequestError
from shmq.wire import fastjson
from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import Language, RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.heartbeat_bodies import ConsumerData, SubscriptionData
from shmq.wire.message import Host, decode_messages, offset_message_id
from shmq.wire.reset_bodies import ConsumerStatus
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import NOW_MS, SmallMetadata

QUEUE = MessageQueue("T", "b", 1)
HOST = Host(b"\x7f\x00\x00\x01", 10911)


@pytest.fixture
def broker(tmp_path):
    made = SmallMetadata(tmp_path)
    made.state.topics.put(TopicConfig("T", 4, 4, topic_sys_flag=2), NOW_MS)
    made.state.groups.find("g", NOW_MS)
    return made


def join(broker, client_id="x", *, version=413, connection=7, seen_ms=NOW_MS):
    channel = Channel(0, 1, connection)
    client = Client(channel, client_id, Language.JAVA, version, "h:1", seen_ms)
    data = ConsumerData("g", subscriptions=(SubscriptionData("T"),))
    broker.state.clients.hear_consumer(client, data, 0, notify=False)
    return channel


def ask(broker, handler=handle_running_info, code=RequestCode.GET_CONSUMER_RUNNING_INFO, **fields):
    given = {"consumerGroup": "g", "clientId": "x", "jstackEnable": "true"} | fields
    return broker.call(handler, code, given)


def refused(call):
    with pytest.raises(RequestError) as caught:
        call()
    return caught.value.code, caught.value.remark


def test_the_consumer_is_asked_as_the_administrator_asked_and_its_answer_passed_on(broker):
    channel = join(broker)
    outcome = ask(broker)
    assert isinstance(outcome, Call)
    assert outcome.channel == channel
    assert outcome.command.code == RequestCode.GET_CONSUMER_RUNNING_INFO
    assert outcome.command.fields == {"consumerGroup": "g", "clientId": "x", "jstackEnable": "true"}
    answer = outcome.then(Command(0, remark="well", fields={"a": "b"}, body=b"{}"))
    assert isinstance(answer, Reply)
    told = answer.command
    assert (told.opaque, told.is_response) == (7, True)
    assert (told.code, told.remark, told.fields, told.body) == (0, "well", {"a": "b"}, b"{}")


def test_who_is_not_there_or_too_old_or_silent_is_an_error(broker):
    assert refused(lambda: ask(broker)) == (ResponseCode.SYSTEM_ERROR, "The Consumer <g> <x> not online")
    join(broker)
    silent = ask(broker)
    assert refused(lambda: silent.then(None))[0] == ResponseCode.CONSUME_MSG_TIMEOUT
    join(broker, "old", version=61, connection=8)
    assert "too low" in refused(lambda: ask(broker, clientId="old"))[1]


def test_a_client_that_came_back_is_asked_on_its_new_connection(broker):
    join(broker, connection=7)
    new = join(broker, connection=9, seen_ms=NOW_MS + 1)
    assert ask(broker).channel == new


def test_a_consumer_is_given_the_message_that_lies_at_an_id(broker):
    join(broker)
    broker.append("T")
    position = broker.append("T", 1, body=b"Hello")
    identity = offset_message_id(HOST, position)
    outcome = ask(
        broker, handle_consume_directly, RequestCode.CONSUME_MESSAGE_DIRECTLY, msgId=identity, topic="T"
    )
    fields = outcome.command.fields
    assert (fields["brokerName"], fields["topicSysFlag"], fields["groupSysFlag"]) == ("b", "2", "0")
    assert fields["msgId"] == identity
    (message,) = decode_messages(outcome.command.body)
    assert (message.body, message.queue_id) == (b"Hello", 1)


@pytest.mark.parametrize(
    ("identity", "code"),
    [
        (None, ResponseCode.SYSTEM_ERROR),
        ("x", ResponseCode.INVALID_PARAMETER),
        (offset_message_id(HOST, 3), ResponseCode.SYSTEM_ERROR),
    ],
)
def test_an_id_of_nothing_is_an_error(broker, identity, code):
    join(broker)
    broker.append("T")

    def call():
        ask(broker, handle_consume_directly, RequestCode.CONSUME_MESSAGE_DIRECTLY, msgId=identity)

    assert refused(call)[0] == code


def status(broker, **fields):
    given = {"topic": "T", "group": "g"} | fields
    return broker.call(handle_consumer_status, RequestCode.INVOKE_BROKER_TO_GET_CONSUMER_STATUS, given)


def test_all_consumers_are_asked_how_far_they_are_and_who_is_silent_is_left_out(broker):
    for connection, client_id in enumerate(("x", "y", "z")):
        join(broker, client_id, connection=connection)
    first = status(broker)
    assert first.command.code == RequestCode.GET_CONSUMER_STATUS_FROM_CLIENT
    assert first.command.fields == {"topic": "T", "group": "g"}
    second = first.then(Command(0, body=ConsumerStatus({QUEUE: 5}).to_bytes()))
    third = second.then(None)
    assert [each.channel.connection for each in (first, second, third)] == [0, 1, 2]
    answer = third.then(Command(0, body=ConsumerStatus({QUEUE: 7}).to_bytes()))
    table = fastjson.loads(answer.command.body)["consumerTable"]
    assert set(table) == {"x", "z"}
    assert list(table["z"].values()) == [7]


def test_one_consumer_alone_can_be_asked(broker):
    join(broker, "x", connection=1)
    join(broker, "y", connection=2)
    only = status(broker, clientAddr="y")
    assert only.channel.connection == 2
    assert isinstance(only.then(None), Reply)


def test_nobody_online_has_no_status(broker):
    assert refused(lambda: status(broker))[0] == ResponseCode.SYSTEM_ERROR
    join(broker, version=27)
    assert refused(lambda: status(broker))[0] == ResponseCode.SYSTEM_ERROR
