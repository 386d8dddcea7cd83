"""What the conductor reads of the store."""

import pytest

from shmq.broker.delays import ScheduleEntry
from shmq.store.position import NONE
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import NOW_MS, QUEUE_FILE_BYTES, SmallMetadata

FILE_ENTRIES = QUEUE_FILE_BYTES // 20


@pytest.fixture
def broker(tmp_path):
    made = SmallMetadata(tmp_path)
    made.state.topics.put(TopicConfig("T", 1, 1), NOW_MS)
    return made


def test_a_message_is_found_where_its_record_begins_and_nowhere_else(broker):
    broker.append("T", body=b"first")
    position = broker.append("T", body=b"second")
    reader = broker.state.reader
    assert bytes(reader.message(position).body) == b"second"
    assert [reader.message(wrong) for wrong in (position - 1, position + 1, -1, 1 << 40, 1 << 62)] == [
        None
    ] * 5


def test_a_record_copied_elsewhere_is_not_believed(broker):
    position = broker.append("T", body=b"x" * 200)
    copy = broker.store.records[0][-1]
    broker.store.write(broker.store.end, copy)
    assert broker.state.reader.message(position) is not None
    assert broker.state.reader.message(broker.store.end) is None


def test_entries_of_a_level_end_with_the_file_and_with_the_queue(broker):
    slot = broker.state.topics.slots("SCHEDULE_TOPIC_XXXX")[0]
    delayed = b"DELAY\x011\x02"
    positions = [
        broker.append("SCHEDULE_TOPIC_XXXX", 0, store_ms=number, properties=delayed)
        for number in range(FILE_ENTRIES + 2)
    ]
    entries = [ScheduleEntry(offset, position, 1000 + offset) for offset, position in enumerate(positions)]
    schedule = broker.state.reader.schedule
    assert schedule(slot, 0, 0, 3) == entries[:3]
    assert schedule(slot, 0, 1, 99) == entries[1:FILE_ENTRIES]
    assert schedule(slot, 0, FILE_ENTRIES, 99) == entries[FILE_ENTRIES:]
    assert schedule(slot, 0, FILE_ENTRIES + 2, 99) == []


def test_the_store_time_of_an_offset_is_told(broker):
    slot = broker.state.topics.slots("T")[0]
    for store_ms in (5, 9):
        broker.append("T", store_ms=store_ms)
    assert [broker.state.reader.stored_ms(slot, "T", 0, offset) for offset in (0, 1, 2, -1)] == [
        5,
        9,
        NONE,
        NONE,
    ]
