"""Records and properties against a slow reading in plain Python."""

import ctypes
import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.memory.block import address_of
from shmq.store import properties, queue_entry, record
from shmq.store.record import NewRecord
from tests.support.plain_record import I32, I64, PAIRS, RECORDS, java_string_hash, read_plainly


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
    plain = read_plainly(bytes(buffer))
    stored = record.decode(memoryview(buffer))
    assert (plain.queue_id, plain.flag, plain.queue_offset, plain.position, plain.sys_flag) == (
        *(stored.queue_id, stored.flag, stored.queue_offset, stored.position, stored.sys_flag),
    )
    assert (plain.born_ms, plain.store_ms, plain.reconsume_times, plain.prepared_position, plain.crc) == (
        *(stored.born_timestamp_ms, stored.store_timestamp_ms, stored.reconsume_times),
        *(stored.prepared_position, stored.body_crc),
    )
    assert (plain.born_host, plain.store_host, plain.body, plain.topic, plain.properties) == (
        *(stored.born_host, stored.store_host, stored.body, stored.topic, stored.properties),
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
