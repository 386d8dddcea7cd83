import ipaddress
import struct

import pytest

from shmq.errors import PeerError, RequestError
from shmq.wire.flags import BORN_HOST_V6, STORE_HOST_V6
from shmq.wire.message import (
    MAGIC_V1,
    MAGIC_V2,
    Host,
    decode_messages,
    offset_message_id,
    parse_offset_message_id,
    parse_properties,
    unique_message_id,
    write_properties,
)

V4 = Host(ipaddress.ip_address("10.0.0.1").packed, 10911)
V6 = Host(ipaddress.ip_address("fe80::1").packed, 10911)


def stored(
    magic: int = MAGIC_V1, born: Host = V4, store: Host = V4, topic: bytes = b"T", body: bytes = b"body"
) -> bytes:
    sys_flag = (BORN_HOST_V6 if len(born.address) == 16 else 0) | (
        STORE_HOST_V6 if len(store.address) == 16 else 0
    )
    properties = b"TAGS\x01a\x02"
    rest = b"".join(
        (
            struct.pack(">IIiiqqiq", magic, 0, 3, -1, 9, 1 << 40, sys_flag, 1_700_000_000_000),
            born.address,
            struct.pack(">i", born.port),
            struct.pack(">q", 1_700_000_000_001),
            store.address,
            struct.pack(">i", store.port),
            struct.pack(">iqi", 2, 0, len(body)),
            body,
            struct.pack(">B" if magic == MAGIC_V1 else ">h", len(topic)),
            topic,
            struct.pack(">h", len(properties)),
            properties,
        )
    )
    return struct.pack(">i", 4 + len(rest)) + rest


@pytest.mark.parametrize("magic", [MAGIC_V1, MAGIC_V2])
@pytest.mark.parametrize("born", [V4, V6])
@pytest.mark.parametrize("store", [V4, V6])
def test_every_form_of_a_message_is_read(magic, born, store):
    dump = stored(magic, born, store)
    (message,) = decode_messages(dump)
    assert (message.born_host, message.store_host) == (born, store)
    assert (message.topic, message.body, message.properties) == ("T", b"body", {"TAGS": "a"})
    assert (message.queue_id, message.queue_offset, message.position) == (3, 9, 1 << 40)
    assert (message.flag, message.reconsume_times, message.size_bytes) == (-1, 2, len(dump))


def test_a_long_topic_needs_the_second_form():
    (message,) = decode_messages(stored(MAGIC_V2, topic=b"t" * 200))
    assert message.topic == "t" * 200


def test_messages_stand_back_to_back():
    assert [message.body for message in decode_messages(stored(body=b"1") + stored(body=b"22"))] == [
        b"1",
        b"22",
    ]
    assert decode_messages(b"") == []


@pytest.mark.parametrize(
    "body",
    [
        b"\x00",
        bytes(4),
        stored()[:-1],
        stored() + b"\x00\x00",
        stored(magic=0xDAA320A8),
        struct.pack(">i", 48) + stored()[4:48],
        struct.pack(">i", len(stored()) - 1) + stored()[4:-1],
        struct.pack(">i", len(stored()) + 1) + stored()[4:] + b"\x00",
        stored()[:84] + struct.pack(">i", -1) + stored()[88:],
        stored()[:84] + struct.pack(">i", 1000) + stored()[88:],
    ],
)
def test_bytes_that_no_store_writes_are_the_peers_fault(body):
    with pytest.raises(PeerError):
        decode_messages(body)


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("", {}),
        ("a\x01b\x02", {"a": "b"}),
        ("a\x01b", {"a": "b"}),
        ("a\x01b\x02a\x01c\x02", {"a": "c"}),
        ("a\x01\x02b\x02\x01c\x02\x02d\x01e\x02", {"d": "e"}),
        ("a\x01b\x01c\x02", {"a": "b\x01c"}),
    ],
)
def test_properties_are_read_as_java_reads_them(text, properties):
    assert parse_properties(text) == properties


def test_properties_end_with_their_mark():
    assert write_properties({"a": "b", "c": "d"}) == "a\x01b\x02c\x01d\x02"


@pytest.mark.parametrize("host", [V4, V6])
def test_an_offset_id_leads_back_to_its_message(host):
    assert parse_offset_message_id(offset_message_id(host, 1 << 50)) == (host, 1 << 50)


@pytest.mark.parametrize(
    "text", ["", "xyz", "0" * 31, "0" * 34, "g" * 32, " " * 32, "7F0000010001000000000000000000A "]
)
def test_other_texts_are_no_offset_ids(text):
    with pytest.raises(RequestError):
        parse_offset_message_id(text)


def test_a_unique_id_holds_its_parts_cut_to_size():
    message_id = unique_message_id(bytes((127, 0, 0, 1)), 0x12345, 0x1_AABBCCDD, 0x1_00000002, 0x10003)
    assert message_id == "7F0000012345AABBCCDD000000020003"


def test_an_address_is_shown_with_its_port():
    assert str(V4) == "10.0.0.1:10911"
    assert str(V6) == "fe80::1:10911"
