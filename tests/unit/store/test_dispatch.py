"""The dispatcher's walk over the log."""

import struct

import pytest

from shmq.errors import StoreError
from shmq.store import dispatch
from shmq.store.dispatch import Dispatch
from shmq.store.position import NONE
from tests.support.small_store import DELAYS_MS, SmallStore, names

BLANK = (0, 0x7FFFFFFF, 0)


@pytest.fixture
def store(tmp_path):
    return SmallStore(tmp_path)


def test_each_record_gets_an_entry_in_its_queue(store):
    first = store.append(b"T", 0)
    other = store.append(b"U", 3, tag="TagA")
    second = store.append(b"T", 0)
    result = store.run()
    assert (result.reached, result.records, result.problem, result.blanks) == (store.end, 3, "", 0)
    assert store.entries(b"T", 0) == [(*first, 0), (*second, 0)]
    assert store.entries(b"U", 3) == [(*other, 2598919)]
    slot = store.slot(b"T", 0)
    assert store.queues.max[slot] == 2
    assert store.queues.end_position[slot] == sum(second)


def test_a_step_says_which_queues_moved_and_when_the_last_record_was_stored(store):
    store.append(b"T", 0, store_ms=5)
    store.append(b"T", 0, store_ms=6)
    store.append(b"T", 1, store_ms=7)
    result = store.run()
    assert sorted(result.moved) == sorted([store.slot(b"T", 0), store.slot(b"T", 1)])
    assert result.store_ms == 7
    again = store.run(result.reached)
    assert (again.moved, again.store_ms, again.records) == ([], NONE, 0)


def test_prepared_and_rolled_back_records_have_no_entry(store):
    store.append(sys_flag=0x4)
    committed = store.append(sys_flag=0x8)
    store.append(sys_flag=0xC)
    assert store.run().records == 3
    assert store.entries() == [(*committed, 0)]


def test_the_schedule_topic_holds_the_time_of_delivery(store):
    topic = dispatch.SCHEDULE_TOPIC
    store.append(topic, 1, store_ms=10_000, properties=b"DELAY\x012\x02TAGS\x01TagA\x02")
    store.append(topic, 2, store_ms=10_000, properties=b"DELAY\x0199\x02")
    store.append(topic, 0, store_ms=10_000, properties=b"TAGS\x01TagA\x02")
    store.run()
    assert store.entries(topic, 1)[0][2] == 10_000 + DELAYS_MS[1]
    assert store.entries(topic, 2)[0][2] == 10_000 + DELAYS_MS[-1]
    assert store.entries(topic, 0)[0][2] == 2598919


def test_it_is_known_behind_which_record_none_has_keys(store):
    store.append(properties=b"TAGS\x01TagA\x02")
    store.run()
    assert store.dispatch.keyed_end == 0
    for properties in (b"KEYS\x01k\x02", b"UNIQ_KEY\x01u\x02TAGS\x01TagA\x02"):
        begin = store.end
        keyed = store.append(properties=properties)
        store.append(properties=b"KEYS\x01\x02")
        store.run(begin)
        assert store.dispatch.keyed_end == sum(keyed)
    store.dispatch.begin_keyed(store.end)
    assert store.dispatch.keyed_end == store.end


def test_a_prepared_record_may_have_keys(store):
    store.append()
    prepared = store.append(sys_flag=0x4)
    store.append()
    store.run()
    assert store.dispatch.keyed_end == sum(prepared)


def test_a_delay_means_nothing_in_an_ordinary_topic(store):
    store.append(b"T", 0, properties=b"DELAY\x012\x02TAGS\x01TagA\x02")
    store.run()
    assert store.entries()[0][2] == 2598919


def test_records_over_many_files_of_log_and_queue(store):
    placed = [store.append(body=b"b" * 300) for _ in range(45)]
    result = store.run()
    assert (result.reached, result.records) == (store.end, 45)
    assert store.end > 3 * store.log_file_bytes
    assert store.entries() == [(*place, 0) for place in placed]
    found = names(store.consumequeue / "T" / "0")
    assert found == [f"{start:020d}" for start in range(0, 1000, 200)]


def test_a_queue_file_is_not_made_before_its_first_entry(store):
    for _ in range(10):  # exactly one file
        store.append()
    store.run()
    assert len(names(store.consumequeue / "T" / "0")) == 1
    store.append()
    store.run(store.records[-1][0])
    assert len(names(store.consumequeue / "T" / "0")) == 2


def test_what_was_dispatched_may_be_dispatched_again(store):
    for number in range(25):
        store.append(b"T", number % 2)
    store.run()
    before = store.queue_bytes(b"T", 0), store.queue_bytes(b"T", 1), store.queues.max.tolist()
    result = store.run()
    assert (result.records, result.moved) == (25, [])
    assert (store.queue_bytes(b"T", 0), store.queue_bytes(b"T", 1), store.queues.max.tolist()) == before


def test_a_dispatcher_killed_between_max_and_end_position_is_put_right(store):
    store.append()
    store.append()
    store.run()
    slot = store.slot(b"T")
    store.queues.end_position[slot] = store.records[0][1]  # as before the second record
    store.start_dispatcher()
    assert store.run().problem == ""
    assert store.queues.max[slot] == 2
    assert store.queues.end_position[slot] == store.end


def test_a_dispatcher_killed_between_entry_and_max_is_put_right(store):
    store.append()
    store.append()
    store.run()
    before = store.queue_bytes()
    slot = store.slot(b"T")
    store.queues.max[slot] = 1
    store.queues.end_position[slot] = store.records[0][1]
    store.start_dispatcher()
    store.run(store.records[1][0])
    assert store.queues.max[slot] == 2
    assert store.queue_bytes() == before


def test_nothing_beyond_the_confirmed_end_is_dispatched(store):
    store.append()
    end = store.end
    store.append()
    result = store.dispatch.step(0, end, 1 << 40)
    assert (result.reached, result.records, result.problem) == (end, 1, "")


@pytest.mark.parametrize("confirmed_bytes", [1, 7, 8, 60])
def test_a_record_confirmed_in_part_is_waited_for(store, confirmed_bytes):
    store.append()
    end = store.end
    store.append()
    result = store.dispatch.step(0, end + confirmed_bytes, 1 << 40)
    assert (result.reached, result.problem) == (end, "")


def test_the_rest_of_a_file_confirmed_in_part_is_waited_for(store):
    store.append(body=b"x" * 3000)
    end = store.end
    store.append(body=b"x" * 3000)
    result = store.dispatch.step(0, end + 20, 1 << 40)
    assert (result.reached, result.problem) == (end, "")
    assert store.run(end).reached == store.end


def test_a_step_begins_no_record_behind_its_budget(store):
    for _ in range(5):
        store.append()
    size = store.records[0][1]
    assert store.run(0, size).reached == size
    assert store.run(0, size + 1).reached == 2 * size


def test_what_is_no_record_is_a_problem_and_is_not_passed_over(store):
    store.append()
    end = store.end
    store.append()
    store.write(end + 4, b"\0\0\0\0")  # its magic
    result = store.run()
    assert result.reached == end
    assert str(end) in result.problem


def test_a_log_file_that_is_gone_is_a_problem(store):
    store.append()
    store.run()
    assert "no file" in store.dispatch.step(1 << 20, 2 << 20, 100).problem


def test_an_unknown_queue_is_a_problem_for_who_may_not_add_it(store):
    store.append(b"T", 0)
    strict = Dispatch(store.topics, store.queues, store.log, store.files, DELAYS_MS)
    assert "unknown queue" in strict.step(0, store.end, 1 << 40).problem
    store.add_queue(b"T", 0)
    assert strict.step(0, store.end, 1 << 40).records == 1


def test_a_negative_queue_id_is_a_problem(store):
    store.append(b"T", -3)
    assert "unknown queue" in store.run().problem


def test_a_topic_that_leads_out_of_the_store_is_refused(store):
    store.append(b"../T", 0)
    with pytest.raises(StoreError, match="directory"):
        store.run()


def test_a_queue_that_begins_late_begins_with_blanks_and_a_min(store):
    place = store.append(queue_offset=13)
    store.run()
    assert store.entries() == [BLANK] * 3 + [(*place, 0)]  # the file of offsets 10..19
    slot = store.slot(b"T")
    assert (store.queues.min[slot], store.queues.max[slot]) == (13, 14)


def test_a_gap_is_filled_with_blanks_over_files(store):
    first = store.append(queue_offset=0)
    second = store.append(queue_offset=24)
    result = store.run()
    assert result.blanks == 23
    assert store.entries() == [(*first, 0)] + [BLANK] * 23 + [(*second, 0)]
    assert store.queues.min[store.slot(b"T")] == 0


def test_an_absurd_gap_is_refused(store):
    store.append(queue_offset=0)
    store.append(queue_offset=1 << 50)
    with pytest.raises(StoreError, match="offset"):
        store.run()


def test_an_offset_given_twice_keeps_its_first_entry(store):
    first = store.append(queue_offset=0)
    store.append(queue_offset=0)
    third = store.append(queue_offset=1)
    store.run()
    assert store.entries() == [(*first, 0), (*third, 0)]


def test_more_queues_than_windows(tmp_path):
    store = SmallStore(tmp_path, windows_max=3)
    for number in range(60):
        store.append(b"T%d" % (number % 10), 0)
    assert store.run().records == 60
    for number in range(10):
        topic = b"T%d" % number
        expected = [(place[0], place[1], 0) for place in store.records if place[2] == topic]
        assert store.entries(topic) == expected
    assert len([address for address in store.files.addresses if address]) <= 3


def test_an_entry_is_twenty_bytes_big_endian(store):
    position, size = store.append(tag="TagBBBBBB")
    store.run()
    assert store.queue_bytes()[:20] == struct.pack(">qi", position, size) + bytes.fromhex("ffffffffbfc92cba")
