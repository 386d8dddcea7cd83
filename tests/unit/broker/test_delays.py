"""Delivery of messages that wait."""

import pytest

from shmq.broker.delays import BATCH_COUNT_MAX, RETRY_MS
from shmq.broker.effects import DocumentName
from shmq.broker.outcome import PutStatus
from shmq.errors import StoreError
from shmq.store import properties
from shmq.store.host import Host
from shmq.store.record import BLANK_BYTES_MIN, NewRecord, size_of
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import LOG_FILE_BYTES, NOW_MS, SmallMetadata

BORN, STORED = Host(b"\x0a\x00\x00\x01", 999), Host(b"\x0a\x00\x00\x02", 10911)
SCHEDULE = b"SCHEDULE_TOPIC_XXXX"


@pytest.fixture
def broker(tmp_path):
    made = SmallMetadata(tmp_path)
    made.state.topics.put(TopicConfig("T", 4, 4), NOW_MS)
    return made


def wait(broker, body, level=1, *, topic="T", queue_id=1, store_ms=NOW_MS, **pairs):
    """Store a delayed message as a send does."""
    text = properties.join(
        {"TAGS": "a", "DELAY": str(level), "REAL_TOPIC": topic, "REAL_QID": str(queue_id)} | pairs
    )
    record = NewRecord(SCHEDULE, level - 1, 5, 1, 77, BORN, STORED, 2, 0, body, text)
    broker.put(record, store_ms)


def due(broker, now_ms):
    return broker.state.delays.due(now_ms)


def settle(broker, deliveries, now_ms, status=PutStatus.PUT_OK):
    for delivery in deliveries:
        if status == PutStatus.PUT_OK:
            for record in delivery.records:
                broker.put(record, now_ms)
        broker.state.delays.settle(delivery, status, now_ms)


def bodies(deliveries):
    return [[record.body for record in delivery.records] for delivery in deliveries]


def test_a_message_is_delivered_when_it_is_due_and_not_before(broker):
    wait(broker, b"Hello")
    assert due(broker, NOW_MS + 999) == []
    assert broker.state.delays.offset(1) == 0
    (delivery,) = due(broker, NOW_MS + 1000)
    assert (delivery.level, delivery.slot) == (1, broker.state.topics.slots("T")[1])
    text = properties.join({"TAGS": "a", "DELAY": "1", "REAL_TOPIC": "T", "REAL_QID": "1"})
    assert delivery.records == (NewRecord(b"T", 1, 5, 1, 77, BORN, STORED, 2, 0, b"Hello", text),)
    settle(broker, [delivery], NOW_MS + 1000)
    assert broker.state.delays.offset(1) == 1
    (stored,) = broker.stored("T", 1)
    assert (bytes(stored.body), stored.properties, stored.reconsume_times) == (b"Hello", text, 2)


def test_a_checksum_of_the_waiting_record_is_not_passed_on(broker):
    wait(broker, b"x", **{"__CRC32#": "0123456789"})
    ((record,),) = [delivery.records for delivery in due(broker, NOW_MS + 1000)]
    text = properties.join({"TAGS": "a", "DELAY": "1", "REAL_TOPIC": "T", "REAL_QID": "1"})
    assert record.properties == text


def test_each_level_has_its_own_delay(broker):
    wait(broker, b"18", 18)
    wait(broker, b"2", 2)
    assert due(broker, NOW_MS + 4999) == []
    assert bodies(due(broker, NOW_MS + 5000)) == [[b"2"]]
    assert due(broker, NOW_MS + 7_199_999) == []
    assert bodies(due(broker, NOW_MS + 7_200_000)) == [[b"18"]]


def test_a_level_looks_no_further_until_its_batch_is_stored(broker):
    wait(broker, b"1")
    first = due(broker, NOW_MS + 1000)
    wait(broker, b"2")
    assert due(broker, NOW_MS + 5000) == []
    settle(broker, first, NOW_MS + 5000)
    assert bodies(due(broker, NOW_MS + 5000)) == [[b"2"]]


def test_a_batch_is_parted_by_queue_and_keeps_the_order_in_each(broker):
    for number, queue_id in enumerate((0, 1, 0, 1, 0)):
        wait(broker, b"%d" % number, queue_id=queue_id)
    deliveries = due(broker, NOW_MS + 1000)
    assert bodies(deliveries) == [[b"0", b"2", b"4"], [b"1", b"3"]]
    settle(broker, deliveries[:1], NOW_MS + 1000)
    assert broker.state.delays.offset(1) == 0
    settle(broker, deliveries[1:], NOW_MS + 1000)
    assert broker.state.delays.offset(1) == 5


def test_a_delivery_that_fails_is_sent_again_and_the_others_are_not(broker):
    wait(broker, b"0", queue_id=0)
    wait(broker, b"1", queue_id=1)
    now = NOW_MS + 1000
    stored, failed = due(broker, now)
    settle(broker, [stored], now)
    settle(broker, [failed], now, PutStatus.SYSTEM_BUSY)
    assert due(broker, now + RETRY_MS - 1) == []
    assert due(broker, now + RETRY_MS) == [failed]
    settle(broker, [failed], now + RETRY_MS)
    assert broker.state.delays.offset(1) == 2
    assert due(broker, now + 9999) == []


def test_what_was_stored_though_not_flushed_is_not_sent_again(broker):
    wait(broker, b"0")
    settle(broker, due(broker, NOW_MS + 1000), NOW_MS, PutStatus.FLUSH_DISK_TIMEOUT)
    assert broker.state.delays.offset(1) == 1


def test_a_due_time_beyond_the_delay_counts_as_past(broker):
    wait(broker, b"from the future", store_ms=NOW_MS + 1)
    assert bodies(due(broker, NOW_MS)) == [[b"from the future"]]


def test_a_long_queue_is_delivered_in_batches(broker):
    count = BATCH_COUNT_MAX + 3
    for number in range(count):
        wait(broker, b"%d" % number)
    seen = []
    while deliveries := due(broker, NOW_MS + 1000):
        assert sum(len(delivery.records) for delivery in deliveries) <= BATCH_COUNT_MAX
        seen += [body for part in bodies(deliveries) for body in part]
        settle(broker, deliveries, NOW_MS + 1000)
    assert seen == [b"%d" % number for number in range(count)]


def test_a_batch_is_never_longer_than_an_append_can_take(broker):
    for number in range(20):
        wait(broker, b"%d" % (number % 10) * 20_000)
    seen = []
    while deliveries := due(broker, NOW_MS + 1000):
        sizes = [sum(map(size_of, delivery.records)) for delivery in deliveries]
        assert sum(sizes) <= LOG_FILE_BYTES - BLANK_BYTES_MIN
        seen += [body[:1] for part in bodies(deliveries) for body in part]
        settle(broker, deliveries, NOW_MS + 1000)
    assert seen == [b"%d" % (number % 10) for number in range(20)]


def test_what_no_longer_fits_a_log_file_is_dropped_and_holds_nothing_up(broker):
    topic = "t" * 127
    wait(broker, b"x", topic=topic)
    record = broker.state.reader.message(0)
    spare = LOG_FILE_BYTES - BLANK_BYTES_MIN - record.total_size
    wait(broker, b"x" * (spare + 1), topic=topic)
    wait(broker, b"after", topic=topic)
    assert bodies(due(broker, NOW_MS + 1000)) == [[b"x", b"after"]]
    assert broker.state.delays.dropped == 1


def test_what_can_go_nowhere_is_dropped(broker):
    wait(broker, b"0", topic="RMQ_SYS_TRANS_HALF_TOPIC")
    wait(broker, b"1", topic="../x")
    wait(broker, b"2", REAL_QID="x")
    wait(broker, b"3", queue_id=-1)
    assert due(broker, NOW_MS + 1000) == []
    assert (broker.state.delays.dropped, broker.state.delays.offset(1)) == (4, 4)


def test_a_message_whose_topic_is_gone_is_stored_all_the_same(broker):
    wait(broker, b"0", topic="Gone", queue_id=7)
    (delivery,) = due(broker, NOW_MS + 1000)
    settle(broker, [delivery], NOW_MS + 1000)
    (stored,) = broker.stored("Gone", 7)
    assert bytes(stored.body) == b"0"


def test_offsets_come_back_after_a_restart(broker):
    wait(broker, b"0")
    wait(broker, b"1", 2)
    settle(broker, due(broker, NOW_MS + 1000), NOW_MS)
    document = broker.state.document(DocumentName.DELAY_OFFSETS, NOW_MS)
    assert document["offsetTable"] == {"1": 1}
    successor = SmallMetadata(broker.root, {DocumentName.DELAY_OFFSETS: document}, broker.tables)
    assert bodies(due(successor, NOW_MS + 5000)) == [[b"1"]]


def test_an_offset_outside_the_queue_is_corrected(broker):
    for number in range(3):
        wait(broker, b"%d" % number)
    broker.tables.queues.min[broker.state.topics.slots("SCHEDULE_TOPIC_XXXX")[0]] = 1
    low = broker.state.delays
    assert bodies(low.due(NOW_MS + 1000)) == [[b"1", b"2"]]
    high = {DocumentName.DELAY_OFFSETS: {"offsetTable": {"1": 99}}}
    successor = SmallMetadata(broker.root, high, broker.tables)
    assert due(successor, NOW_MS + 1000) == []
    assert successor.state.delays.offset(1) == 3


def test_offsets_of_levels_that_are_gone_are_kept(tmp_path):
    saved = {"offsetTable": {2: 5, 19: 7}}
    delays = SmallMetadata(tmp_path, {DocumentName.DELAY_OFFSETS: saved}).state.delays
    assert delays.to_json()["offsetTable"] == {"2": 5, "19": 7}


@pytest.mark.parametrize("document", [[], {"offsetTable": {"x": 1}}, {"offsetTable": {"1": "x"}}])
def test_a_document_that_is_none_of_delays_is_the_stores_fault(tmp_path, document):
    with pytest.raises(StoreError, match=r"delayOffset\.json"):
        SmallMetadata(tmp_path, {DocumentName.DELAY_OFFSETS: document})


def test_runtime_information_says_how_far_each_level_is(broker):
    wait(broker, b"0")
    assert broker.state.delays.describe()["scheduleMessageOffset_1"] == "0,1"


def test_where_the_entry_is_an_address_the_message_tells_when_it_is_due(broker):
    """Its queue has an extension."""
    wait(broker, b"Hello")
    path = broker.store.consumequeue / SCHEDULE.decode() / "0" / f"{0:020d}"
    content = bytearray(path.read_bytes())
    content[12:20] = (-(1 << 63)).to_bytes(8, "big", signed=True)
    with path.open("r+b") as file:
        file.write(content)
    assert due(broker, NOW_MS + 999) == []
    assert bodies(due(broker, NOW_MS + 1000)) == [[b"Hello"]]
