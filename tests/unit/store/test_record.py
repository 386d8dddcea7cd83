"""Records: what verification accepts, and what it calls the rest."""

import mmap

import numpy as np
import pytest

from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.store import properties, record
from shmq.store.host import Host
from shmq.store.record import NewRecord

HOST = Host(bytes([10, 0, 0, 1]), 1234)


def encoded(body: bytes = b"body", sys_flag: int = 0, **pairs: str) -> np.ndarray:
    message = NewRecord(b"Topic", 1, 7, sys_flag, 1000, HOST, HOST, 2, 99, body, properties.join(pairs))
    buffer = np.zeros(record.size_of(message), dtype=np.uint8)
    record.encode_into(message, memoryview(buffer), 0)
    return buffer


def verify(buffer: np.ndarray, check_crc: bool = True) -> int:
    return record.verify(address_of(buffer), len(buffer), check_crc)


def test_a_whole_record_verifies_to_its_size() -> None:
    buffer = encoded()
    assert verify(buffer) == len(buffer)
    assert verify(np.concatenate([buffer, np.zeros(50, dtype=np.uint8)])) == len(buffer)


def test_a_record_without_a_body_or_properties_verifies() -> None:
    assert verify(encoded(b"")) == 88 + 1 + 5 + 2


def test_a_body_too_many_bytes_short_is_invalid() -> None:
    assert verify(encoded()[:-1]) == record.INVALID


@pytest.mark.parametrize("readable_bytes", [0, 4, 7])
def test_too_few_bytes_for_a_head_are_invalid(readable_bytes: int) -> None:
    assert verify(encoded()[:readable_bytes].copy()) == record.INVALID


def test_unwritten_space_is_invalid() -> None:
    assert verify(np.zeros(1000, dtype=np.uint8)) == record.INVALID


def test_a_head_without_its_total_size_is_invalid() -> None:
    buffer = encoded()
    buffer[:4] = 0
    assert verify(buffer) == record.INVALID


def test_a_flipped_body_byte_is_seen_only_by_the_checksum() -> None:
    buffer = encoded()
    buffer[88] ^= 1
    assert verify(buffer) == record.INVALID
    assert verify(buffer, check_crc=False) == len(buffer)


def test_parts_that_do_not_add_up_name_the_claimed_size() -> None:
    buffer = np.concatenate([encoded(), np.zeros(10, dtype=np.uint8)])
    buffer[3] += 1
    assert record.disagreement(verify(buffer)) == int(buffer[3])
    assert verify(buffer) < record.INVALID


def test_a_negative_topic_size_is_invalid() -> None:
    buffer = encoded()
    buffer[88 + 4] = 0x80
    assert verify(buffer) == record.INVALID


def test_verification_reads_nothing_beyond_the_readable_bytes() -> None:
    whole = encoded(b"x" * 100, TAGS="a")
    mapping = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    pages = np.frombuffer(mapping, dtype=np.uint8)
    for size_bytes in range(len(whole) + 1):
        at = mmap.PAGESIZE - size_bytes
        pages[at : mmap.PAGESIZE] = whole[:size_bytes]
        pages[mmap.PAGESIZE : mmap.PAGESIZE + len(whole) - size_bytes] = whole[size_bytes:]
        result = record.verify(address_of(pages) + at, size_bytes, True)
        assert result == (len(whole) if size_bytes == len(whole) else record.INVALID)


def test_the_flags_follow_the_hosts() -> None:
    v6 = Host(bytes(16), 1)
    message = NewRecord(b"T", 0, 0, record.BORN_HOST_V6, 0, HOST, v6, 0, 0, b"", b"")
    buffer = np.zeros(record.size_of(message), dtype=np.uint8)
    record.encode_into(message, memoryview(buffer), 0)
    assert record.decode(memoryview(buffer)).sys_flag == record.STORE_HOST_V6


def test_a_topic_of_128_bytes_takes_two_bytes_of_size() -> None:
    for topic_bytes, magic in ((127, record.MAGIC_V1), (128, record.MAGIC_V2)):
        message = NewRecord(b"t" * topic_bytes, 0, 0, 0, 0, HOST, HOST, 0, 0, b"", b"")
        buffer = np.zeros(record.size_of(message), dtype=np.uint8)
        record.encode_into(message, memoryview(buffer), 0)
        stored = record.decode(memoryview(buffer))
        assert (stored.magic, stored.topic) == (magic, message.topic)


@pytest.mark.parametrize(
    ("delay", "level"),
    [("3", 3), ("18", 18), ("-1", 0), ("0", 0), ("x", 0), ("+4", 4), ("", 0), ("99999999999", 0)],
)
def test_a_delay_level_is_a_positive_number_or_0(delay: str, level: int) -> None:
    assert record.delay_level(address_of(encoded(DELAY=delay, TAGS="t"))) == level


def test_a_record_without_tags_hashes_to_0() -> None:
    assert record.tag_hash(address_of(encoded(KEYS="k"))) == 0
    assert record.tag_hash(address_of(encoded())) == 0


@pytest.mark.parametrize(("kind", "dispatched"), [(0, True), (4, False), (8, True), (0xC, False)])
def test_only_ordinary_and_committed_records_have_a_place_in_their_queue(kind: int, dispatched: bool) -> None:
    assert record.is_dispatched(kind | 0x113) == dispatched


@pytest.mark.parametrize("size_bytes", [0, 30, 60, 90, 95])
def test_decoding_a_cut_record_is_a_store_error(size_bytes: int) -> None:
    with pytest.raises(StoreError):
        record.decode(memoryview(encoded())[:size_bytes])


def test_decoding_what_is_no_record_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="magic"):
        record.decode(memoryview(bytes(200)))
