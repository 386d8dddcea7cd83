"""Frames as RocketMQ's own encoder writes them, beside what they mean: read one way, written the other."""

import json
from pathlib import Path

import pytest

from shmq.wire.codes import Language, RequestCode, ResponseCode
from shmq.wire.command import Command, Encoding, decode, encode, encode_head
from shmq.wire.consume_headers import PullResponseHeader
from shmq.wire.fields import read_header, write_header
from shmq.wire.frame import FrameReader
from shmq.wire.message import offset_message_id, parse_offset_message_id
from shmq.wire.send_headers import SendHeader, SendResponseHeader

GOLDEN = {
    name: bytes.fromhex(dump)
    for name, dump in json.loads((Path(__file__).parent / "wire.json").read_text()).items()
    if not dump.startswith("{")
}
UNIQUE_KEY = "7F0000010001000000000000000000AA"
SEND_HEADER = SendHeader(
    producer_group="PG",
    topic="TopicTest",
    default_topic="TBW102",
    default_topic_queue_count=4,
    queue_id=1,
    sys_flag=0,
    born_timestamp_ms=1_700_000_000_000,
    flag=0,
    properties=f"UNIQ_KEY\x01{UNIQUE_KEY}\x02WAIT\x01true\x02TAGS\x01TagA\x02",
    broker_name="broker-a",
)
SEND_RESPONSE = SendResponseHeader(
    message_id="7F00000100002A9F0000000000000064",
    queue_id=1,
    queue_offset=5,
    transaction_id=UNIQUE_KEY,
    trace_on=True,
    region_id="DefaultRegion",
)
PULL_RESPONSE = PullResponseHeader(
    suggested_broker_id=0,
    next_offset=6,
    min_offset=0,
    max_offset=6,
    topic_sys_flag=0,
    group_sys_flag=0,
)


def read(dump: bytes) -> Command:
    (frame,) = FrameReader().feed(dump)
    return decode(frame)


@pytest.mark.parametrize("name", ["send_json", "send_binary"])
def test_a_send_request(name):
    command = read(GOLDEN[name])
    assert (command.code, command.opaque, command.flag) == (RequestCode.SEND_MESSAGE_V2, 7, 0)
    assert (command.language, command.version, command.body) == (Language.JAVA, 479, b"Hello")
    assert read_header(SendHeader, command.fields, short=True) == SEND_HEADER
    written = Command(
        code=RequestCode.SEND_MESSAGE_V2,
        opaque=7,
        fields=write_header(SEND_HEADER, short=True),
        body=b"Hello",
        encoding=command.encoding,
    )
    assert encode(written) == GOLDEN[name]


def test_a_send_response_in_binary():
    command = read(GOLDEN["send_response"])
    assert command.is_response
    assert (command.code, command.opaque, command.remark) == (ResponseCode.SUCCESS, 7, None)
    assert read_header(SendResponseHeader, command.fields) == SEND_RESPONSE
    fields = write_header(SEND_RESPONSE)
    fields["MSG_REGION"] = fields.pop("MSG_REGION")  # the dump has it last
    reply = Command(code=RequestCode.SEND_MESSAGE_V2, opaque=7, encoding=Encoding.ROCKETMQ).reply(
        fields=fields
    )
    assert encode(reply) == GOLDEN["send_response"]


def test_a_send_response_in_json_says_what_the_binary_one_says():
    binary = read(GOLDEN["send_response"])
    reply = Command(code=RequestCode.SEND_MESSAGE_V2, opaque=7).reply(fields=binary.fields)
    again = read(encode(reply))
    assert again.encoding is Encoding.JSON
    assert again.fields == binary.fields


def test_a_pull_response_in_binary():
    command = read(GOLDEN["pull_response"])
    assert (command.code, command.opaque, command.remark) == (ResponseCode.SUCCESS, 8, "FOUND")
    assert read_header(PullResponseHeader, command.fields) == PULL_RESPONSE
    request = Command(code=RequestCode.PULL_MESSAGE, opaque=8, encoding=Encoding.ROCKETMQ)
    reply = request.reply(remark="FOUND", fields=write_header(PULL_RESPONSE))
    assert encode(reply) == GOLDEN["pull_response"]
    head = encode_head(reply, len(GOLDEN["message"]))
    assert head[:4] == bytes.fromhex("00000153")
    assert head[4:] == GOLDEN["pull_response"][4:]


@pytest.mark.parametrize(
    ("name", "encoding"), [("unsupported_json", Encoding.JSON), ("unsupported_binary", Encoding.ROCKETMQ)]
)
def test_the_answer_to_an_unknown_request(name, encoding):
    request = Command(code=9999, opaque=9, encoding=encoding)
    reply = request.reply(ResponseCode.REQUEST_CODE_NOT_SUPPORTED, " request type 9999 not supported")
    assert encode(reply) == GOLDEN[name]
    assert read(GOLDEN[name]) == reply


def test_the_head_of_a_heartbeat_in_binary():
    request = Command(code=RequestCode.HEART_BEAT, opaque=1, encoding=Encoding.ROCKETMQ)
    assert encode(request) == GOLDEN["heartbeat_head"]
    assert read(GOLDEN["heartbeat_head"]) == request


def test_an_offset_message_id():
    host, position = parse_offset_message_id("7F00000100002A9F0000000000000064")
    assert (str(host), position) == ("127.0.0.1:10911", 100)
    assert offset_message_id(host, position) == "7F00000100002A9F0000000000000064"
