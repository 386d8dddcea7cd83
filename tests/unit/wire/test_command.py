import struct

import orjson
import pytest

from shmq.errors import PeerError, RequestError
from shmq.wire.codes import Language, RequestCode, ResponseCode
from shmq.wire.command import Command, Encoding, decode, encode, encode_head
from shmq.wire.frame import FRAME_BYTES_MAX, Frame, FrameReader


def from_json(header: bytes, body: bytes = b"") -> Command:
    return decode(Frame(len(header), header, body))


def from_binary(header: bytes) -> Command:
    return decode(Frame(1 << 24 | len(header), header, b""))


def binary_header(code: int, fields: bytes, flag: int = 0) -> bytes:
    return struct.pack(">hbhiii", code, 0, 479, 1, flag, 0) + struct.pack(">i", len(fields)) + fields


def binary_field(name: bytes, value: bytes) -> bytes:
    return struct.pack(">h", len(name)) + name + struct.pack(">i", len(value)) + value


def test_numbers_and_booleans_of_json_fields_become_text():
    command = from_json(b'{"code":310,"extFields":{"d":4,"m":false,"k":true,"g":1700000000000,"x":1.5}}\n')
    assert command.fields == {"d": "4", "m": "false", "k": "true", "g": "1700000000000", "x": "1.5"}


def test_null_fields_are_absent():
    assert from_json(b'{"code":1,"extFields":{"a":null,"b":""}}').fields == {"b": ""}


@pytest.mark.parametrize("header", [b'{"code":34}', b'{"code":34,"extFields":null,"remark":null}'])
def test_absent_and_null_members_take_their_defaults(header):
    assert from_json(header) == Command(code=34, version=0)


def test_unknown_members_and_any_order_are_accepted():
    command = from_json(b' {"zzz":[1],"version":317,"opaque":-5,"language":"GO","flag":2,"code":15} \r\n')
    assert command == Command(code=15, opaque=-5, flag=2, language=Language.GO, version=317)
    assert command.is_oneway
    assert not command.is_response


def test_an_unknown_language_is_other():
    assert from_json(b'{"code":1,"language":"COBOL"}').language is Language.OTHER
    assert from_json(b'{"code":1,"language":null}').language is Language.OTHER
    assert from_binary(b"\x00\x22\x63" + bytes(18)).language is Language.OTHER


def test_text_that_is_not_utf8_is_replaced():
    assert from_json(b'{"code":10,"remark":"\xc4\xe3"}').remark == "\ufffd\ufffd"
    assert from_binary(binary_header(10, binary_field(b"a", b"\xff"))).fields == {"a": "\ufffd"}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"code":"x"}',
        b'{"code":[]}',
        b'{"code":true}',
        b'{"code":1,"opaque":4294967296}',
        b'{"code":1,"extFields":[]}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_a_json_header_that_is_none_is_the_peers_fault(header):
    with pytest.raises(PeerError):
        from_json(header)


def test_an_unknown_header_encoding_is_the_peers_fault():
    with pytest.raises(PeerError, match="unknown header encoding 2"):
        decode(Frame(2 << 24, b"", b""))


@pytest.mark.parametrize(("cut", "whole"), [(3442, 200050), (3448, 200056), (3543, 200151)])
def test_pop_codes_cut_to_16_bits_are_mapped_back(cut, whole):
    assert from_binary(binary_header(cut, b"")).code == whole
    assert from_binary(binary_header(cut, b"", flag=1)).code == cut


def test_a_pop_request_survives_the_binary_header():
    command = Command(code=RequestCode.POP_MESSAGE, encoding=Encoding.ROCKETMQ)
    (frame,) = FrameReader().feed(encode(command))
    assert decode(frame) == command


def test_of_two_fields_of_one_name_the_last_counts():
    fields = binary_field(b"a", b"1") + binary_field(b"b", b"2") + binary_field(b"a", b"3")
    assert from_binary(binary_header(10, fields)).fields == {"a": "3", "b": "2"}


def test_an_empty_binary_text_is_absent():
    fields = binary_field(b"a", b"1") + binary_field(b"b", b"") + binary_field(b"", b"x")
    command = from_binary(binary_header(10, fields))
    assert command.fields == {"a": "1"}
    assert command.remark is None


@pytest.mark.parametrize(
    "header",
    [
        b"",
        bytes(20),
        struct.pack(">hbhiii", 1, 0, 1, 1, 0, 5) + bytes(4),
        struct.pack(">hbhiii", 1, 0, 1, 1, 0, -1) + bytes(4),
        struct.pack(">hbhiiii", 1, 0, 1, 1, 0, 0, 1),
        struct.pack(">hbhiiii", 1, 0, 1, 1, 0, 0, -1),
        binary_header(1, b"\x00"),
        binary_header(1, b"\x00\x01a\x00\x00\x00\x02b"),
        binary_header(1, b"\xff\xff"),
        binary_header(1, b"\x00\x01a\x00\x00\x00\x01b")[:-1],
    ],
)
def test_a_binary_header_with_lengths_out_of_bounds_is_the_peers_fault(header):
    with pytest.raises(PeerError):
        from_binary(header)


def test_a_reply_pairs_with_its_request_and_is_written_as_it_was():
    request = Command(code=105, opaque=-7, language=Language.GO, version=317, encoding=Encoding.ROCKETMQ)
    reply = request.reply(ResponseCode.TOPIC_NOT_EXIST, "no route", {"a": "1"}, b"body")
    assert reply.is_response
    assert (reply.opaque, reply.encoding, reply.version) == (-7, Encoding.ROCKETMQ, 479)
    (frame,) = FrameReader().feed(encode(reply))
    assert decode(frame) == reply


def test_a_written_json_header_has_sorted_keys_and_no_nulls():
    frame = encode(Command(code=1, fields={"b": "1", "a": "2"}))
    keys = list(orjson.loads(frame[8:]))
    assert keys == sorted(keys)
    assert "remark" not in keys
    assert b'"extFields":{"a":"2","b":"1"}' in frame


@pytest.mark.parametrize("encoding", Encoding)
def test_a_head_and_a_body_sent_apart_are_the_frame(encoding):
    command = Command(code=0, flag=1, fields={"a": "1"}, body=memoryview(b"body"), encoding=encoding)
    assert encode_head(command, 4) + b"body" == encode(command)


def test_a_frame_that_no_peer_would_read_is_not_written():
    with pytest.raises(RequestError) as caught:
        encode_head(Command(code=0), FRAME_BYTES_MAX)
    assert caught.value.code == ResponseCode.SYSTEM_ERROR
    with pytest.raises(RequestError):
        encode(Command(code=0, remark="x" * (1 << 24)))
