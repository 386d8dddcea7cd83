import struct

import numpy as np
import pytest

from shmq.memory.block import address_of
from shmq.store import append, record
from shmq.store.host import Host
from tests.support.writer_ground import encode, message

V6 = Host(bytes(range(16)), 10911)
STORE_MS = 1_700_000_000_123


def placed(content, count, *, topic=b"A", queue_id=0, position=1000, queue_offset=5, target_bytes=1024):
    """Place bytes that are followed by nothing that may be read; return the offset after them and the target."""
    source, name = np.frombuffer(bytes(content), dtype=np.uint8), np.frombuffer(topic, dtype=np.uint8)
    target = np.zeros(target_bytes, dtype=np.uint8)
    to = append.Destination(queue_id, address_of(name), len(topic), address_of(target), position, STORE_MS)
    return append.place(address_of(source), len(content), count, queue_offset, to), target


def judge(content, count, queue_id=0):
    """Whether bytes are good; what is not leaves nothing behind."""
    after, target = placed(content, count, queue_id=queue_id)
    assert (after == append.BAD) == (not target.any())
    return after != append.BAD


def place(records):
    """Place records; return the offset after them and what was written."""
    return placed(encode(records), len(records))


def test_whole_records_of_one_queue_are_good():
    assert judge(encode([message()]), 1)
    assert judge(encode([message(body=b""), message(body=b"longer"), message()]), 3)


@pytest.mark.parametrize("count", [-1, 0, 1, 3, 2**31 - 1])
def test_another_count_than_there_are_records_is_bad(count):
    assert not judge(encode([message(), message()]), count)


def test_another_queue_is_bad():
    assert not judge(encode([message()]), 1, queue_id=1)
    assert not judge(encode([message((b"A", 1)), message((b"A", 0))]), 2, queue_id=1)


def test_records_cut_off_anywhere_are_bad():
    content = encode([message(body=b"body", properties=b"K\x01V\x02"), message()])
    for size in range(len(content)):
        assert not judge(content[:size], 2)


def test_a_blank_is_no_record():
    content = bytearray(encode([message()]))
    struct.pack_into(">ii", content, 0, len(content), record.BLANK_MAGIC)
    assert not judge(content, 1)


def test_records_fit_where_their_files_blank_still_does():
    assert append.fits(92, 100)
    assert not append.fits(93, 100)


def test_a_placed_record_is_what_was_encoded_and_what_the_writer_knows():
    after, target = place([message(body=b"one"), message(body=b"two", properties=b"K\x01V\x02")])
    first = record.decode(memoryview(target.data))
    second = record.decode(memoryview(target.data), first.total_size)
    assert after == 7
    assert (first.queue_offset, first.position, first.store_timestamp_ms) == (5, 1000, STORE_MS)
    assert (second.queue_offset, second.position) == (6, 1000 + first.total_size)
    assert (bytes(first.body), bytes(second.body), second.properties) == (b"one", b"two", b"K\x01V\x02")
    assert not target[first.total_size + second.total_size :].any()


@pytest.mark.parametrize(("born", "store"), [(V6, V6), (V6, None), (None, V6)])
def test_the_store_time_goes_to_its_place_behind_any_hosts(born, store):
    plain = message()
    hosts = {"born_host": born or plain.born_host, "store_host": store or plain.store_host}
    made = record.NewRecord(**{name: getattr(plain, name) for name in plain.__slots__} | hosts)
    _, target = place([made])
    found = record.decode(memoryview(target.data))
    assert found.store_timestamp_ms == STORE_MS
    assert (found.born_host, found.store_host) == (hosts["born_host"], hosts["store_host"])


@pytest.mark.parametrize(("sys_flag", "takes_offset"), [(0x0, True), (0x4, False), (0x8, True), (0xC, False)])
def test_only_ordinary_and_committed_records_take_an_offset(sys_flag, takes_offset):
    after, target = place([message(sys_flag=sys_flag)])
    assert after == (6 if takes_offset else 5)
    assert record.decode(memoryview(target.data)).queue_offset == (5 if takes_offset else 0)


def test_the_total_size_is_stored_last(monkeypatch):
    """Whoever dies before it leaves no head that a reader would believe."""
    target = np.zeros(256, dtype=np.uint8)
    source = np.frombuffer(encode([message(), message()]), dtype=np.uint8)
    name = np.frombuffer(b"A", dtype=np.uint8)
    sizes_seen = []

    def store_i32(address, value):
        sizes_seen.append((address, value, target[:4].tolist(), target[4:].any(), target[56:64].any()))

    monkeypatch.setattr(append, "store_i32", store_i32)
    python_form = getattr(append.place, "py_func", append.place)
    to = append.Destination(0, address_of(name), 1, address_of(target), 0, STORE_MS)
    python_form(address_of(source), len(source), 2, 0, to)
    assert sizes_seen == [(address_of(target), 93, [0, 0, 0, 0], True, True)]


def test_a_blank_says_how_much_is_left():
    target = np.zeros(64, dtype=np.uint8)
    append.place_blank(address_of(target), 64)
    assert target[:8].tobytes() == struct.pack(">ii", 64, record.BLANK_MAGIC)
    assert not target[8:].any()
    assert record.verify(address_of(target), 64, False) == record.BLANK
