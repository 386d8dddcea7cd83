"""RocketMQ's own bytes of the key index, captured from its store (spec section 11), beside what they mean."""

import os

import numpy as np
import pytest

from shmq.memory.block import address_of
from shmq.store.key_index import Key, key_hash_of, put, slot_at
from shmq.store.key_query import KeyIndexReader, KeyQuery, hash_of_key
from shmq.store.key_shape import KeyIndexShape
from shmq.store.log import LogReader
from shmq.store.properties import java_hash
from shmq.store.segment import Segment, file_name

STORED_MS = 1_700_000_000_123
POSITION = 1 << 30  # the first byte of the log's second file
RECORD = bytes.fromhex(
    "000000aedaa320a724ac1d35000000030000000000000000000000050000000040000000000000000000018bcfe568007f000001"
    "0000d4310000018bcfe5687b7f00000100002a9f0000000000000000000000000000000e68656c6c6f20526f636b65744d51"
    "09546f70696354657374003c4b455953016b3102554e49515f4b455901374630303030303130303031414142424343444430"
    "30303030303030303030310254414753015461674102"
)
HEADER = bytes.fromhex(
    "0000018bcfe5687b 0000018bcfe5687b 0000000040000000 0000000040000000 00000002 00000003"
)
KEYS = ("7F0000010001AABBCCDD000000000001", "k1")
HASHES = {"TopicTest#7F0000010001AABBCCDD000000000001": 1307982452, "TopicTest#k1": 2746024}
PIECES = {
    0: HEADER,
    11929848: bytes.fromhex("00000001"),
    10984136: bytes.fromhex("00000002"),
    20000060: bytes.fromhex("4df63a74 0000000040000000 00000000 00000000"),
    20000080: bytes.fromhex("0029e6a8 0000000040000000 00000000 00000000"),
}
SHAPE = KeyIndexShape()
FILE_BYTES = 420_000_040


def hashed(text, hash_):
    encoded = np.frombuffer(text.encode(), dtype=np.uint8)
    return hash_(address_of(encoded), len(encoded))


def sparse(path, size_bytes, pieces):
    """A file of these pieces, and of zeros that take no room."""
    path.parent.mkdir(parents=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.ftruncate(descriptor, size_bytes)
    for at, piece in pieces.items():
        os.pwrite(descriptor, piece, at)
    os.close(descriptor)
    return path


def written_bytes(path):
    """The bytes of a sparse file that are not zero, by where they lie."""
    with path.open("rb") as file:
        found, at = {}, 0
        while True:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return found
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            data = np.frombuffer(os.pread(file.fileno(), end - at, at), dtype=np.uint8)
            found |= {at + int(index): int(data[index]) for index in np.flatnonzero(data)}
            at = end


def test_the_default_shape_is_rocketmqs():
    assert SHAPE.file_bytes == FILE_BYTES


@pytest.mark.parametrize("text", HASHES)
def test_the_hash_of_a_topic_and_a_key(text):
    assert hashed(text, hash_of_key) == HASHES[text]


def test_the_keys_of_the_captured_record_are_put_as_rocketmq_does(tmp_path):
    path = sparse(tmp_path / "index" / "20231114221320123", FILE_BYTES, {36: bytes([0, 0, 0, 1])})
    segment = Segment.open(path, 0, FILE_BYTES, writable=True)
    for key_hash in HASHES.values():
        key = Key(key_hash, slot_at(SHAPE.slots, key_hash), POSITION, STORED_MS)
        put(segment.address, SHAPE.slots, key)
    segment.sync(0, FILE_BYTES)
    segment.close()
    expected = {at + index: byte for at, piece in PIECES.items() for index, byte in enumerate(piece) if byte}
    assert written_bytes(path) == expected


@pytest.mark.parametrize("key", KEYS)
def test_both_keys_find_the_captured_record_in_the_captured_file(tmp_path, key):
    sparse(tmp_path / "index" / "20231114221320123", FILE_BYTES, PIECES)
    sparse(tmp_path / "commitlog" / file_name(POSITION), 1 << 30, {0: RECORD})
    log = LogReader(tmp_path / "commitlog", 1 << 30)
    reader = KeyIndexReader(tmp_path / "index", SHAPE, log)
    query = KeyQuery("TopicTest", key, 32, 1 << 20, STORED_MS, STORED_MS)
    answer = reader.find(query, POSITION, POSITION + len(RECORD))
    assert [bytes(message) for message in answer.messages] == [RECORD]
    assert answer[1:] == (STORED_MS, POSITION)


@pytest.mark.parametrize(
    ("text", "expected", "key_hash"),
    [
        ("TagA", 2598919, 2598919),
        ("order-paid", 710106603, 710106603),
        ("TagBBBBBB", -1077334854, 1077334854),
        ("polygenelubricants", -2147483648, 0),
    ],
)
def test_a_key_hash_is_never_negative(text, expected, key_hash):
    assert hashed(text, java_hash) == expected
    assert key_hash_of(expected) == key_hash
    assert hashed(text, hash_of_key) == key_hash
