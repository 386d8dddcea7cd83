"""Replies: found their producer or not, stored or not."""

import pytest

from shmq.broker.clients import Client
from shmq.broker.outcome import Append, Appended, Call, Channel, PutStatus, Reply
from shmq.broker.replying import handle_reply
from shmq.errors import RequestError
from shmq.store import properties
from shmq.wire.codes import Language, RequestCode, ResponseCode
from shmq.wire.command import Command
from tests.support.small_metadata import NOW_MS, PEER, SmallMetadata

TOPIC = "c_REPLY_TOPIC"
GIVEN = {"MSG_TYPE": "reply", "CORRELATION_ID": "7", "REPLY_TO_CLIENT": "x"}
REQUESTER = Channel(1, 1, 4)


@pytest.fixture
def broker(tmp_path):
    return SmallMetadata(tmp_path)


def join(broker, client_id="x", channel=REQUESTER, seen_ms=NOW_MS):
    client = Client(channel, client_id, Language.JAVA, 413, "h:1", seen_ms)
    broker.state.clients.hear_producer("requesters", client)


def reply(broker, given=None, body=b"Hello", **changes):
    text = properties.join(GIVEN if given is None else given).decode()
    fields = {
        "a": "repliers", "b": TOPIC, "c": "TBW102", "d": 8, "e": 0, "f": 1, "g": 900, "h": 3, "i": text, "j": 0,
    } | changes  # fmt: skip
    return broker.call(handle_reply, RequestCode.SEND_REPLY_MESSAGE_V2, fields, body)


def store(outcome, status=PutStatus.PUT_OK):
    assert isinstance(outcome, Append)
    return outcome.then(Appended(status, 5, (64,), NOW_MS))


def test_a_reply_is_handed_to_its_producer_then_stored_then_answered(broker):
    join(broker)
    call = reply(broker)
    assert isinstance(call, Call)
    assert call.channel == REQUESTER
    pushed = call.command
    assert (pushed.code, pushed.body) == (RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT, b"Hello")
    assert properties.parse(pushed.fields["properties"].encode()) == GIVEN | {"PUSH_REPLY_TIME": str(NOW_MS)}
    assert pushed.fields["topic"] == TOPIC
    assert pushed.fields["sysFlag"] == "1"
    assert (pushed.fields["bornHost"], pushed.fields["storeHost"]) == ("127.0.0.1:50000", "127.0.0.1:10911")
    append = call.then(Command(0))
    (record,) = append.records
    assert append.slot == broker.state.topics.slots(TOPIC)[0]
    assert (record.topic, record.body, record.flag, record.sys_flag) == (TOPIC.encode(), b"Hello", 3, 1)
    assert properties.parse(record.properties) == GIVEN
    assert (record.born_host, record.store_host) == (PEER.host, PEER.advertised)
    answer = store(append).command
    assert answer.code == ResponseCode.SUCCESS
    assert answer.fields["msgId"] == f"7F00000100002A9F{64:016X}"
    assert (answer.fields["queueId"], answer.fields["queueOffset"]) == ("0", "5")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (GIVEN | {"REPLY_TO_CLIENT": "y"}, "channel of <y> not found"),
        ({"MSG_TYPE": "reply"}, "[REPLY_TO_CLIENT] is null"),
    ],
)
def test_a_reply_to_nobody_is_stored_and_an_error(broker, given, words):
    join(broker)
    answer = store(reply(broker, given)).command
    assert answer.code == ResponseCode.SYSTEM_ERROR
    assert words in answer.remark


@pytest.mark.parametrize("heard", [None, Command(1, remark="no")])
def test_a_producer_that_does_not_take_it_is_an_error(broker, heard):
    join(broker)
    answer = store(reply(broker).then(heard)).command
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "push reply message to xfail.")


def test_what_became_of_the_storing_is_no_matter_to_who_replies(broker):
    join(broker)
    answer = store(reply(broker).then(Command(0)), PutStatus.SERVICE_NOT_AVAILABLE).command
    assert (answer.code, answer.fields["msgId"]) == (ResponseCode.SUCCESS, "0")


def test_replies_need_not_be_stored(tmp_path):
    broker = SmallMetadata(tmp_path, store_reply_message_enable=False)
    join(broker)
    answer = reply(broker).then(Command(0))
    assert isinstance(answer, Reply)
    assert (answer.command.code, answer.command.fields["msgId"]) == (ResponseCode.SUCCESS, "0")


def test_a_body_that_no_record_can_have_is_passed_on_all_the_same(broker):
    join(broker)
    assert isinstance(reply(broker, body=b"").then(Command(0)), Reply)


def test_a_requester_that_came_back_is_found_on_its_new_connection(broker):
    join(broker)
    new = Channel(0, 1, 9)
    join(broker, channel=new, seen_ms=NOW_MS + 1)
    assert reply(broker).channel == new


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"b": "SCHEDULE_TOPIC_XXXX"}, ResponseCode.NO_PERMISSION),
        ({"b": "a b"}, ResponseCode.INVALID_PARAMETER),
        ({"b": "unknown", "c": "X"}, ResponseCode.TOPIC_NOT_EXIST),
        ({"e": 1}, ResponseCode.INVALID_PARAMETER),
    ],
)
def test_a_topic_that_takes_no_message_takes_no_reply(broker, changes, code):
    join(broker)
    with pytest.raises(RequestError) as caught:
        reply(broker, **changes)
    assert caught.value.code == code


def test_the_broker_chooses_a_queue_where_it_may(broker):
    join(broker)
    assert reply(broker, e=-1).then(Command(0)).slot == broker.state.topics.slots(TOPIC)[0]


def test_the_long_names_are_read_as_well(broker):
    join(broker)
    fields = {
        "producerGroup": "p", "topic": TOPIC, "defaultTopic": "TBW102", "defaultTopicQueueNums": 8, "queueId": 0,
        "sysFlag": 0, "bornTimestamp": 1, "flag": 0, "properties": properties.join(GIVEN).decode(),
    }  # fmt: skip
    assert isinstance(broker.call(handle_reply, RequestCode.SEND_REPLY_MESSAGE, fields, b"x"), Call)
