import pytest

from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.message import parse_properties
from tests.support.fake_broker import FakeBroker, stored_fields

_SEND = RequestCode.SEND_MESSAGE_V2


def _bodies(broker):
    return [bytes(request.body) for request in broker.received(_SEND)]


def test_a_body_is_sent(shmq, broker):
    result = shmq("produce", "T", "--body", "hello")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "sent 1 message to T\n")
    assert _bodies(broker) == [b"hello"]


def test_each_line_of_standard_input_is_a_message(shmq, broker):
    result = shmq("produce", "T", given=b"one\r\ntwo\n\nth\xff ree")
    assert (result.exit_code, result.stderr) == (0, "sent 3 messages to T\n")
    assert _bodies(broker) == [b"one", b"two", b"th\xff ree"]


def test_no_line_is_no_message(shmq):
    result = shmq("produce", "T", given=b"")
    assert (result.exit_code, result.stderr) == (0, "sent 0 messages to T\n")


def test_a_message_can_be_sent_many_times(shmq, broker):
    shmq("produce", "T", "--body", "x", "-n", "3")
    assert _bodies(broker) == [b"x"] * 3


def test_keys_and_tag_are_the_messages_own(shmq, broker):
    shmq("produce", "T", "--body", "x", "-k", "k1 k2", "-t", "A")
    properties = parse_properties(broker.received(_SEND)[0].fields["i"])
    assert (properties["KEYS"], properties["TAGS"]) == ("k1 k2", "A")


def test_verbose_tells_each_message_id_and_place(shmq, broker):
    result = shmq("produce", "T", "--body", "x", "--verbose")
    message_id = parse_properties(broker.received(_SEND)[0].fields["i"])["UNIQ_KEY"]
    queue_id = broker.received(_SEND)[0].fields["e"]
    assert result.stderr.splitlines()[0] == f"SEND_OK fake/{queue_id}/0 {message_id}"


def test_a_message_that_is_not_safe_yet_is_told(shmq, broker):
    broker.script[_SEND] = lambda request: request.reply(
        ResponseCode.FLUSH_DISK_TIMEOUT, fields=stored_fields(broker, 0, 0)
    )
    result = shmq("produce", "T", "--body", "x")
    assert result.exit_code == 0
    assert result.stderr.startswith("FLUSH_DISK_TIMEOUT fake/0/0 ")


def test_the_option_beats_the_environment(shmq, broker):
    result = shmq("produce", "T", "--body", "x", "--namesrv", broker.address, namesrv="127.0.0.1:1")
    assert result.exit_code == 0


def test_a_name_server_that_is_down_is_one_line(shmq):
    with FakeBroker() as gone:
        pass
    result = shmq("produce", "T", "--body", "x", namesrv=gone.address)
    assert result.exit_code == 1
    assert result.stderr == f"error: cannot connect to {gone.address}: Connection refused\n"


def test_a_topic_without_route_is_one_line(shmq):
    result = shmq("produce", "Nowhere", "--body", "x")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the topic Nowhere has no route")
    assert result.stderr.count("\n") == 1


def test_a_failure_half_way_tells_how_many_were_sent(shmq, broker):
    def refuse_the_second(request):
        if bytes(request.body) == b"two":
            return request.reply(ResponseCode.MESSAGE_ILLEGAL, "no")
        return request.reply(fields=stored_fields(broker, 0, 0))

    broker.script[_SEND] = refuse_the_second
    result = shmq("produce", "T", given=b"one\ntwo\nthree\n")
    assert result.exit_code == 1
    assert result.stderr == (
        f"sent 1 message to T\nerror: {broker.address} answered MESSAGE_ILLEGAL (13): no\n"
    )


@pytest.mark.parametrize("namesrv", ["nonsense", "h:0"])
def test_what_is_no_address_is_the_operators_fault(shmq, namesrv):
    result = shmq("produce", "T", "--body", "x", namesrv=namesrv)
    assert result.exit_code == 2
    assert "HOST:PORT" in result.stderr
