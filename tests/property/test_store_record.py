"""Records and properties against a slow reading in plain Python."""

import ctypes
import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.memory.block import address_of
from shmq.store import properties, queue_entry, record
from shmq.store.host import Host
from shmq.store.record import NewRecord

HOSTS = st.builds(
    Host,
    st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
    st.integers(0, 65535),
)
I32 = st.integers(-(1 << 31), (1 << 31) - 1)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
NAMES = st.text(
    st.characters(exclude_characters="\x01\x02", exclude_categories=["Cs"]), min_size=1, max_size=8
)
VALUES = st.text(st.characters(exclude_characters="\x02", exclude_categories=["Cs"]), min_size=1, max_size=20)
PAIRS = st.dictionaries(st.one_of(st.sampled_from(["TAGS", "DELAY", "KEYS"]), NAMES), VALUES, max_size=5)
RECORDS = st.builds(
    NewRecord,
    topic=st.binary(min_size=1, max_size=255),
    queue_id=I32,
    flag=I32,
    sys_flag=st.integers(0, 0xFFFF),
    born_timestamp_ms=I64,
    born_host=HOSTS,
    store_host=HOSTS,
    reconsume_times=I32,
    prepared_position=I64,
    body=st.binary(max_size=300),
    properties=PAIRS.map(properties.join),
)


def java_string_hash(text: str) -> int:
    encoded = text.encode("utf-16-be", "surrogatepass")
    result = 0
    for at in range(0, len(encoded), 2):
        result = (31 * result + int.from_bytes(encoded[at : at + 2], "big")) & 0xFFFFFFFF
    return result - (1 << 32) if result >= 1 << 31 else result


def read_slowly(encoded: bytes) -> dict[str, object]:
    """The record as spec and specification alone tell: one field after another."""
    at = 0

    def number(size_bytes: int) -> int:
        nonlocal at
        at += size_bytes
        return int.from_bytes(encoded[at - size_bytes : at], "big", signed=True)

    def text(size_bytes: int) -> bytes:
        nonlocal at
        at += size_bytes
        return encoded[at - size_bytes : at]

    total_size, magic, crc, queue_id, flag = (number(4) for _ in range(5))
    queue_offset, position, sys_flag, born_ms = number(8), number(8), number(4), number(8)
    born = Host(text(16 if sys_flag & 0x10 else 4), number(4))
    store_ms = number(8)
    stored = Host(text(16 if sys_flag & 0x20 else 4), number(4))
    reconsume_times, prepared = number(4), number(8)
    body = text(number(4))
    topic = text(number(2 if magic & 0xFFFFFFFF == 0xDAA320AB else 1))
    pairs = text(number(2))
    assert at == total_size == len(encoded)
    return {
        "numbers": (queue_id, flag, queue_offset, position, sys_flag, born_ms, store_ms, reconsume_times),
        "rest": (prepared, born, stored, body, topic, pairs, crc),
    }


@settings(max_examples=200, deadline=None)
@given(RECORDS, I64, I64, I64)
def test_any_record_reads_back_field_by_field(
    message: NewRecord, queue_offset: int, position: int, store_ms: int
) -> None:
    buffer = np.zeros(record.size_of(message), dtype=np.uint8)
    assert record.encode_into(message, memoryview(buffer), 0) == len(buffer)
    address = address_of(buffer)
    record.patch(address, queue_offset, position, store_ms)
    assert record.verify(address, len(buffer), True) == len(buffer)
    assert record.store_timestamp(address) == store_ms
    slowly = read_slowly(bytes(buffer))
    stored = record.decode(memoryview(buffer))
    assert slowly["numbers"] == (
        *(stored.queue_id, stored.flag, stored.queue_offset, stored.position, stored.sys_flag),
        *(stored.born_timestamp_ms, stored.store_timestamp_ms, stored.reconsume_times),
    )
    assert slowly["rest"] == (
        *(stored.prepared_position, stored.born_host, stored.store_host, stored.body, stored.topic),
        *(stored.properties, stored.body_crc),
    )
    assert stored.body_crc == zlib.crc32(message.body) & 0x7FFFFFFF
    assert (stored.queue_offset, stored.position) == (queue_offset, position)
    assert (stored.topic, stored.body, stored.properties) == (message.topic, message.body, message.properties)
    pairs = properties.parse(message.properties)
    assert record.tag_hash(address) == java_string_hash(pairs.get("TAGS", ""))


@settings(max_examples=200, deadline=None)
@given(RECORDS, st.data())
def test_any_damage_is_answered_and_never_read_out_of_bounds(message: NewRecord, data: st.DataObject) -> None:
    whole = np.zeros(record.size_of(message), dtype=np.uint8)
    record.encode_into(message, memoryview(whole), 0)
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    readable_bytes = data.draw(st.integers(0, len(whole)))
    exact = whole[:readable_bytes].copy()
    result = record.verify(address_of(exact), readable_bytes, True)
    if result > 0:
        stored = record.decode(memoryview(exact))
        assert stored.total_size == result <= readable_bytes


@settings(max_examples=200, deadline=None)
@given(PAIRS)
def test_properties_read_back_in_their_order(pairs: dict[str, str]) -> None:
    assert list(properties.parse(properties.join(pairs)).items()) == list(pairs.items())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a", "\x01", "\x02", "TAGS", "ü"]), max_size=24).map("".join))
def test_a_kernel_finds_what_parsing_finds(text: str) -> None:
    encoded = text.encode()
    buffer = ctypes.create_string_buffer(encoded)
    name = ctypes.create_string_buffer(b"TAGS")
    at, size_bytes = properties.find(ctypes.addressof(buffer), len(encoded), ctypes.addressof(name), 4)
    value = properties.parse(encoded).get("TAGS")
    if value is None:
        assert (at, size_bytes) == (-1, 0)
    else:
        assert encoded[at : at + size_bytes] == value.encode()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_any_text_hashes_as_in_java(text: str) -> None:
    encoded = text.encode()
    buffer = ctypes.create_string_buffer(encoded)
    assert properties.java_hash(ctypes.addressof(buffer), len(encoded)) == java_string_hash(text)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([0x41, 0x80, 0xA0, 0xBF, 0xC1, 0xC3, 0xE0, 0xE4, 0xF0, 0xF4, 0xFF]), max_size=8)
)
def test_malformed_bytes_hash_as_replacement_characters(values: list[int]) -> None:
    encoded = bytes(values)
    buffer = ctypes.create_string_buffer(encoded)
    expected = java_string_hash(encoded.decode("utf-8", "replace"))
    assert properties.java_hash(ctypes.addressof(buffer), len(encoded)) == expected


def test_an_encoded_surrogate_hashes_as_one_replacement_character() -> None:
    buffer = ctypes.create_string_buffer(b"\xed\xa0\x80")
    assert properties.java_hash(ctypes.addressof(buffer), 3) == java_string_hash("\ufffd")


@settings(max_examples=100, deadline=None)
@given(I64, I32, I64)
def test_a_queue_unit_reads_back(position: int, record_size: int, tag_hash: int) -> None:
    buffer = np.zeros(20, dtype=np.uint8)
    queue_entry.encode(address_of(buffer), position, record_size, tag_hash)
    assert queue_entry.decode(address_of(buffer)) == (position, record_size, tag_hash)
    parsed = buffer.view(queue_entry.LAYOUT)[0]
    assert tuple(int(value) for value in parsed) == (position, record_size, tag_hash)
