"""Records, blanks and queue units byte for byte as RocketMQ writes them."""

import ctypes

import numpy as np
import pytest

from shmq.memory.block import address_of
from shmq.memory.endian import store_i32
from shmq.store import properties, queue_entry, record
from shmq.store.host import Host
from shmq.store.record import NewRecord

POSITION = 1073741824
STORED_MS = 1700000000123
PROPERTIES = {"KEYS": "k1", "UNIQ_KEY": "7F0000010001AABBCCDD000000000001", "TAGS": "TagA"}


def unhex(text: str) -> bytes:
    return bytes.fromhex("".join(text.split()))


PROPERTIES_HEX = """
4b455953 01 6b31 02  554e49515f4b4559 01 3746303030303031303030314141424243434444303030303030303030303031 02
54414753 01 54616741 02
"""
BODY_HEX = "0000000e 68656c6c6f20526f636b65744d51"

ORDINARY = unhex(
    f"""
000000ae daa320a7 24ac1d35 00000003 00000000 0000000000000005 0000000040000000 00000000
0000018bcfe56800 7f000001 0000d431 0000018bcfe5687b 7f000001 00002a9f 00000000 0000000000000000
{BODY_HEX}  09 546f70696354657374  003c {PROPERTIES_HEX}
"""
)
BORN_V6 = unhex(
    f"""
000000ba daa320a7 24ac1d35 00000003 00000000 0000000000000005 0000000040000000 00000010
0000018bcfe56800 20010db8000000000000000000000001 0000d431 0000018bcfe5687b 7f000001 00002a9f
00000000 0000000000000000 {BODY_HEX}  09 546f70696354657374  003c {PROPERTIES_HEX}
"""
)
LONG_TOPIC = unhex(
    f"""
00000126 daa320ab 24ac1d35 00000003 00000000 0000000000000005 0000000040000000 00000000
0000018bcfe56800 7f000001 0000d431 0000018bcfe5687b 7f000001 00002a9f 00000000 0000000000000000
{BODY_HEX}  0080 {b"%RETRY%".hex()} {"67" * 121}  003c {PROPERTIES_HEX}
"""
)

BORN = Host(bytes([127, 0, 0, 1]), 54321)
BORN_HOST_V6 = Host(unhex("20010db8000000000000000000000001"), 54321)
STORED = Host(bytes([127, 0, 0, 1]), 10911)


def new_record(topic: bytes = b"TopicTest", born_host: Host = BORN) -> NewRecord:
    return NewRecord(
        topic=topic,
        queue_id=3,
        flag=0,
        sys_flag=0,
        born_timestamp_ms=1700000000000,
        born_host=born_host,
        store_host=STORED,
        reconsume_times=0,
        prepared_position=0,
        body=b"hello RocketMQ",
        properties=properties.join(PROPERTIES),
    )


GOLDEN = [
    pytest.param(new_record(), ORDINARY, id="ordinary"),
    pytest.param(new_record(born_host=BORN_HOST_V6), BORN_V6, id="born at an IPv6 host"),
    pytest.param(new_record(topic=b"%RETRY%" + b"g" * 121), LONG_TOPIC, id="long topic"),
]


@pytest.mark.parametrize(("message", "golden"), GOLDEN)
def test_an_encoded_and_patched_record_is_rocketmqs(message: NewRecord, golden: bytes) -> None:
    buffer = np.zeros(len(golden) + 16, dtype=np.uint8)
    assert record.size_of(message) == len(golden)
    assert record.encode_into(message, memoryview(buffer), 8) == len(golden)
    record.patch(address_of(buffer) + 8, 5, POSITION, STORED_MS)
    assert bytes(buffer[8:-8]) == golden
    assert not buffer[:8].any()
    assert not buffer[-8:].any()


@pytest.mark.parametrize(("message", "golden"), GOLDEN)
def test_rocketmqs_record_decodes_to_what_was_sent(message: NewRecord, golden: bytes) -> None:
    stored = record.decode(memoryview(golden))
    assert (stored.queue_offset, stored.position, stored.store_timestamp_ms) == (5, POSITION, STORED_MS)
    assert (stored.topic, stored.queue_id, bytes(stored.body)) == (message.topic, 3, b"hello RocketMQ")
    assert (stored.born_host, stored.store_host) == (message.born_host, STORED)
    assert properties.parse(stored.properties) == PROPERTIES


@pytest.mark.parametrize(("message", "golden"), GOLDEN)
def test_kernels_find_every_part_of_rocketmqs_record(message: NewRecord, golden: bytes) -> None:
    buffer = np.frombuffer(golden, dtype=np.uint8)
    address = address_of(buffer)
    assert record.verify(address, len(golden), True) == len(golden)
    assert record.store_timestamp(address) == STORED_MS
    assert record.store_timestamp_at(address) == (68 if message.born_host == BORN_HOST_V6 else 56)
    topic, topic_bytes = record.topic_at(address)
    assert golden[topic : topic + topic_bytes] == message.topic
    text, text_bytes = record.properties_at(address)
    assert golden[text : text + text_bytes] == message.properties
    assert record.tag_hash(address) == 2598919
    key = np.frombuffer(b"KEYS", dtype=np.uint8)
    value, value_bytes = record.property_at(address, address_of(key), 4)
    assert golden[value : value + value_bytes] == b"k1"


def test_a_record_of_a_plain_batch_ends_as_rocketmqs() -> None:
    tail = unhex(
        "00000002 6230 01 41 001d 4b45595301 6b6230 02 5741495401 74727565 02 5441475301 54616742 02"
    )
    message = NewRecord(
        topic=b"A",
        queue_id=0,
        flag=0,
        sys_flag=0,
        born_timestamp_ms=1700000000000,
        born_host=BORN,
        store_host=STORED,
        reconsume_times=0,
        prepared_position=0,
        body=b"b0",
        properties=properties.join({"KEYS": "kb0", "WAIT": "true", "TAGS": "TagB"}),
    )
    buffer = np.zeros(123, dtype=np.uint8)
    assert record.encode_into(message, memoryview(buffer), 0) == 123
    record.patch(address_of(buffer), 3, 8602, STORED_MS)
    assert bytes(buffer[-len(tail) :]) == tail


def test_rocketmqs_blank_is_the_end_of_a_file() -> None:
    buffer = np.zeros(65362, dtype=np.uint8)
    buffer[:8] = np.frombuffer(unhex("0000ff52 cbd43194"), dtype=np.uint8)
    assert record.verify(address_of(buffer), len(buffer), True) == record.BLANK
    ours = np.zeros(8, dtype=np.uint8)
    store_i32(address_of(ours), len(buffer))
    store_i32(address_of(ours) + 4, record.BLANK_MAGIC)
    assert bytes(ours) == bytes(buffer[:8])


def test_a_queue_unit_is_rocketmqs() -> None:
    unit = unhex("0000000040000000 000000ae 000000000027a807")
    blank = unhex("0000000000000000 7fffffff 0000000000000000")
    buffer = np.zeros(120, dtype=np.uint8)
    address = address_of(buffer)
    queue_entry.fill_pre_blank(address, 5)
    queue_entry.encode(address + 100, POSITION, 174, 2598919)
    assert bytes(buffer) == 5 * blank + unit
    assert queue_entry.decode(address + 100) == (POSITION, 174, 2598919)
    assert not queue_entry.is_message(queue_entry.decode(address).record_size)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("TagA", 2598919),
        ("order-paid", 710106603),
        ("TagBBBBBB", -1077334854),
        ("polygenelubricants", -2147483648),
    ],
)
def test_a_tag_hashes_as_in_java(text: str, expected: int) -> None:
    encoded = ctypes.create_string_buffer(text.encode())
    assert properties.java_hash(ctypes.addressof(encoded), len(text)) == expected
