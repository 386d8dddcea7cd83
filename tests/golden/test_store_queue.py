"""RocketMQ's own bytes of a consume queue, captured from its store (spec section 11), beside what they mean."""

import pytest

from shmq.store.dispatch import SCHEDULE_TOPIC
from shmq.store.log import LogReader
from shmq.store.read import QueueReader
from shmq.store.search import message_at
from shmq.store.store_files import StoreSizes
from tests.support.small_store import SmallStore

POSITION = 1 << 30  # the first byte of the log's second file
RECORD = bytes.fromhex(
    "000000aedaa320a724ac1d35000000030000000000000000000000050000000040000000000000000000018bcfe568007f000001"
    "0000d4310000018bcfe5687b7f00000100002a9f0000000000000000000000000000000e68656c6c6f20526f636b65744d51"
    "09546f70696354657374003c4b455953016b3102554e49515f4b455901374630303030303130303031414142424343444430"
    "303030303030303030303102544147530154616741" + "02"
)
ENTRY = bytes.fromhex("0000000040000000 000000ae 000000000027a807")
BLANK = bytes.fromhex("0000000000000000 7fffffff 0000000000000000")


@pytest.fixture
def store(tmp_path):
    return SmallStore(tmp_path, log_file_bytes=1 << 30, queue_file_bytes=6_000_000)


def dispatch_golden_record(store):
    store.write(POSITION, RECORD)
    store.end = POSITION + len(RECORD)
    return store.run(POSITION)


def test_the_queue_entry_of_the_captured_record(store):
    result = dispatch_golden_record(store)
    assert (result.reached, result.store_ms, result.problem) == (POSITION + 174, 1700000000123, "")
    path = store.consumequeue / "TopicTest" / "3" / "00000000000000000000"
    assert path.stat().st_size == 6_000_000
    with path.open("rb") as file:
        assert file.read(140) == BLANK * 5 + ENTRY + bytes(20)


def test_the_captured_record_is_read_back_unchanged(store):
    dispatch_golden_record(store)
    log = LogReader(store.root / "commitlog", 1 << 30)
    reader = QueueReader(store.consumequeue, StoreSizes(1 << 30, 6_000_000), store.queues, log)
    slot = store.slot(b"TopicTest", 3)
    result = reader.read(slot, (b"TopicTest", 3), 5, 32, store.end, frozenset({0x27A807}))
    assert [bytes(piece) for piece in result.slices] == [RECORD]
    assert (result.min_offset, result.max_offset, result.next_offset) == (5, 6, 6)
    assert bytes(message_at(log, POSITION, POSITION, store.end)) == RECORD


def test_the_entry_of_a_delayed_message_holds_its_time_of_delivery(store):
    position, size = store.append(
        SCHEDULE_TOPIC, 2, store_ms=1700000000123, body=b"b" * 35, properties=b"DELAY\x013\x02"
    )
    assert (position, size) == (0, 153)
    store.run()
    assert store.queue_bytes(SCHEDULE_TOPIC, 2)[:20].hex() == "0000000000000000000000990000018bcfe58f8b"


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("TagA", 2598919),
        ("order-paid", 710106603),
        ("TagBBBBBB", -1077334854),
        ("polygenelubricants", -2147483648),
        ("", 0),
    ],
)
def test_the_tag_hash_of_an_entry(store, tag, value):
    store.append(tag=tag)
    store.run()
    assert store.queue_bytes()[12:20] == value.to_bytes(8, "big", signed=True)
