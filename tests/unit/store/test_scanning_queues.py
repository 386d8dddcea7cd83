import struct

import pytest

from shmq.errors import DamagedLogError, StoreError
from shmq.store.queue_entry import PRE_BLANK_SIZE
from shmq.store.scanning import scan
from shmq.store.segment import file_name
from tests.support.small_store import SmallStore

QUEUE = {"topic": "T", "queue_id": 0}
QUEUE_FILE_ENTRIES = 10


@pytest.fixture
def store(tmp_path):
    """Three queues that take turns, over several files of log and queue; the odd messages of each have a tag."""
    made = SmallStore(tmp_path)
    for number in range(105):
        made.append(b"TTU"[number % 3 : number % 3 + 1], number % 3, tag="odd" if number // 3 % 2 else "")
    made.run()
    made.files.close()
    return made


def offsets(batches):
    return [offset for batch in batches for offset in batch.rows["queue_offset"].tolist()]


def queue_file(store, first, topic="T", queue_id=0):
    return store.root / "consumequeue" / topic / str(queue_id) / file_name(first * 20)


def put_entry(store, offset, position, size, tag_hash=0):
    first = offset // QUEUE_FILE_ENTRIES * QUEUE_FILE_ENTRIES
    path = queue_file(store, first)
    content = bytearray(path.read_bytes())
    struct.pack_into(">qiq", content, (offset - first) * 20, position, size, tag_hash)
    path.write_bytes(content)


def test_a_queue_is_read_in_its_order(store):
    for queue in (("T", 0), ("T", 1), ("U", 2)):
        batches = list(scan(store.root, topic=queue[0], queue_id=queue[1]))
        assert offsets(batches) == list(range(35))
        assert {(each.topic(0), int(each.rows["queue_id"][0])) for each in batches} == {queue}


def test_only_its_records_are_looked_at(store):
    """Damage to another queue's record is not met."""
    position = next(each[0] for each in store.records if each[2] == b"U")
    store.write(position, b"damaged!")
    assert offsets(scan(store.root, **QUEUE)) == list(range(35))
    with pytest.raises(DamagedLogError):
        list(scan(store.root, **QUEUE, by_queue=False))


def test_a_range_of_offsets_may_cross_files(store):
    assert offsets(scan(store.root, **QUEUE, begin_offset=8, end_offset=23)) == list(range(8, 23))
    assert offsets(scan(store.root, **QUEUE, begin_offset=10, end_offset=10)) == []
    assert offsets(scan(store.root, **QUEUE, begin_offset=34)) == [34]
    assert offsets(scan(store.root, **QUEUE, begin_offset=35)) == []


def test_a_tag_is_found_by_its_hash_and_held_against_the_text(store):
    assert offsets(scan(store.root, **QUEUE, tag="odd")) == list(range(1, 35, 2))
    # The same hash in Java: 31 * "o" + "d" = 31 * "p" + "E".
    assert offsets(scan(store.root, **QUEUE, tag="pEd")) == []


def test_a_hash_that_is_not_written_yet_hides_nothing(store):
    position, size = store.records[3][:2]
    put_entry(store, 1, position, size, 0)
    assert offsets(scan(store.root, **QUEUE, tag="odd")) == list(range(1, 35, 2))


def test_what_stands_for_no_message_is_passed_over(store):
    put_entry(store, 4, 0, PRE_BLANK_SIZE)
    assert offsets(scan(store.root, **QUEUE)) == [*range(4), *range(5, 35)]


def test_an_entry_of_a_record_that_is_not_there_is_damage(store):
    put_entry(store, 4, store.records[12][0] + 1, store.records[12][1])
    batches = scan(store.root, **QUEUE)
    assert offsets([next(batches)]) == [0, 1, 2, 3]
    with pytest.raises(DamagedLogError) as told:
        next(batches)
    assert told.value.position == store.records[12][0] + 1


def test_an_entry_behind_the_log_is_damage(store):
    put_entry(store, 4, 1 << 40, 100)
    with pytest.raises(DamagedLogError, match=str(1 << 40)):
        list(scan(store.root, **QUEUE))


def test_an_entry_of_another_size_is_damage(store):
    put_entry(store, 4, store.records[12][0], store.records[12][1] + 1)
    with pytest.raises(DamagedLogError):
        list(scan(store.root, **QUEUE))


def test_a_queue_that_goes_on_behind_nothing_is_told(store):
    put_entry(store, 4, 0, 0)
    batches = scan(store.root, **QUEUE)
    assert offsets([next(batches)]) == [0, 1, 2, 3]
    with pytest.raises(StoreError, match="which is not full"):
        next(batches)


def test_entries_of_what_is_gone_from_the_log_are_passed_over(store):
    (store.root / "commitlog" / file_name(0)).unlink()
    expected = [each[4] for each in store.records if each[2:4] == (b"T", 0) and each[0] >= 4096]
    assert 0 < len(expected) < 35
    assert offsets(scan(store.root, **QUEUE)) == expected


def test_entries_of_what_goes_meanwhile_are_passed_over(store):
    batches = scan(store.root, **QUEUE, batch_messages=2)
    assert offsets([next(batches)]) == [0, 1]
    for start in (0, 4096):
        (store.root / "commitlog" / file_name(start)).unlink()
    left = [each[4] for each in store.records if each[2:4] == (b"T", 0) and each[0] >= 8192]
    mapped = [each[4] for each in store.records if each[2:4] == (b"T", 0) and each[0] < 4096]
    assert offsets(batches) == [*mapped[2:], *left]


def test_what_a_queue_gets_meanwhile_is_read_as_well(store):
    batches = scan(store.root, **QUEUE, batch_messages=7)
    assert offsets([next(batches)]) == list(range(7))
    behind = store.end
    for _ in range(30):
        store.append(b"T", 0)
    store.run(behind)
    store.files.close()
    assert offsets(batches) == list(range(7, 65))


def test_a_file_of_the_queue_that_goes_meanwhile_is_passed_over(store):
    batches = scan(store.root, **QUEUE, batch_messages=5)
    assert offsets([next(batches)]) == list(range(5))
    for first in (0, 10):
        queue_file(store, first).unlink()
    assert offsets(batches) == [*range(5, 10), *range(20, 35)]


def test_without_the_queue_the_log_is_read(store):
    for path in (store.root / "consumequeue" / "T" / "0").iterdir():
        path.unlink()
    assert offsets(scan(store.root, **QUEUE)) == list(range(35))


def test_a_topic_that_can_be_no_directory_is_looked_for_in_the_log(store):
    assert offsets(scan(store.root, topic="..", queue_id=0)) == []


@pytest.mark.parametrize("by_queue", [True, False])
def test_what_has_no_place_in_its_queue_is_none_of_its_messages(tmp_path, by_queue):
    store = SmallStore(tmp_path)
    positions = [store.append(sys_flag=kind)[0] for kind in (0x0, 0x4, 0x8, 0xC)]
    store.run()
    store.files.close()
    found = [int(at) for batch in scan(tmp_path, **QUEUE, by_queue=by_queue) for at in batch.rows["position"]]
    assert found == [positions[0], positions[2]]
    assert sum(len(batch) for batch in scan(tmp_path, topic="T")) == 4


def test_times_and_positions_bound_a_queue_too(store):
    begin, end = store.records[30][0], store.records[60][0]
    assert offsets(scan(store.root, **QUEUE, begin=begin, end=end)) == list(range(10, 20))


def test_delayed_messages_are_found_by_their_tag(tmp_path):
    """Entries of the schedule topic hold a time where others hold a hash."""
    store = SmallStore(tmp_path)
    for number in range(4):
        pairs = b"TAGS\x01%s\x02DELAY\x011\x02" % (b"a" if number % 2 else b"b")
        store.append(b"SCHEDULE_TOPIC_XXXX", 0, properties=pairs, store_ms=1_700_000_000_000)
    store.run()
    store.files.close()
    assert all(each[2] > 1 << 31 for each in store.entries(b"SCHEDULE_TOPIC_XXXX"))
    assert offsets(scan(tmp_path, topic="SCHEDULE_TOPIC_XXXX", queue_id=0, tag="a")) == [1, 3]
