"""Finding messages by time and by position."""

import random

import pytest

from shmq.store.log import LogReader
from shmq.store.position import NONE
from shmq.store.read import QueueReader
from shmq.store.search import (
    Boundary,
    Queue,
    earliest_store_ms,
    message_at,
    offset_by_time,
    position_at,
    store_ms_at,
)
from shmq.store.segment import file_name
from shmq.store.store_files import StoreSizes
from tests.support.small_store import SmallStore

TIMES = (100, 200, 200, 200, 300, 500, 500)


@pytest.fixture
def store(tmp_path):
    made = SmallStore(tmp_path, queue_file_bytes=60)  # three entries a file
    made.log_reader = LogReader(tmp_path / "commitlog", made.log_file_bytes)
    made.reader = QueueReader(
        made.consumequeue, StoreSizes(made.log_file_bytes, 60), made.queues, made.log_reader
    )
    yield made
    made.reader.close()


def fill(store, times=TIMES, **how):
    for store_ms in times:
        store.append(store_ms=store_ms, **how)
    store.run()
    return Queue(store.slot(b"T"), (b"T", 0))


@pytest.mark.parametrize(
    ("time", "lower", "upper"),
    [
        *((-5, 0, 0), (0, 0, 0), (99, 0, 0), (100, 0, 0), (150, 1, 0), (200, 1, 3), (250, 4, 3)),
        *((300, 4, 4), (400, 5, 4), (500, 5, 6), (501, 7, 6), (1 << 60, 7, 6)),
    ],
)
def test_a_time_has_a_lower_and_an_upper_offset(store, time, lower, upper):
    queue = fill(store)
    assert offset_by_time(store.reader, queue, time, Boundary.LOWER) == lower
    assert offset_by_time(store.reader, queue, time, Boundary.UPPER) == upper


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("log_files_gone", [0, 1, 2])
def test_every_time_has_the_offsets_that_the_rules_give_it(store, seed, log_files_gone):
    """Runs of one time over borders of files, of the queue and of the log; entries whose messages are gone."""
    chance = random.Random(seed)
    times, now_ms = [], 100
    for _ in range(chance.randint(7, 23)):
        now_ms += chance.choice((0, 0, 0, 1, 7))
        times.append(now_ms)
    queue = fill(store, times, body=b"b" * 900)  # four to a file of the log
    for number in range(log_files_gone):
        (store.root / "commitlog" / file_name(number * store.log_file_bytes)).unlink(missing_ok=True)
    gone = [position < log_files_gone * store.log_file_bytes for position, *_ in store.records]
    known = [-1 if is_gone else time for is_gone, time in zip(gone, times, strict=True)]
    for min_offset in (0, 1, 3, len(times) - 1):
        store.queues.min[queue.slot] = min_offset
        for time in range(99, now_ms + 2):
            later = [offset for offset, at in enumerate(known) if at >= time and offset >= min_offset]
            earlier = [offset for offset, at in enumerate(known) if at <= time and offset >= min_offset]
            lower = offset_by_time(store.reader, queue, time, Boundary.LOWER)
            upper = offset_by_time(store.reader, queue, time, Boundary.UPPER)
            assert lower == min(later, default=len(times)), (min_offset, time)
            assert upper == max(earlier, default=min_offset), (min_offset, time)


def test_no_offset_below_the_min_is_found(store):
    queue = fill(store)
    store.queues.min[queue.slot] = 2
    assert offset_by_time(store.reader, queue, 0, Boundary.LOWER) == 2
    assert offset_by_time(store.reader, queue, 0, Boundary.UPPER) == 2
    assert earliest_store_ms(store.reader, queue) == 200


def test_an_empty_queue_has_its_only_offset(store):
    queue = Queue(store.add_queue(b"T", 0), (b"T", 0))
    for boundary in Boundary:
        assert offset_by_time(store.reader, queue, 5, boundary) == 0
        assert offset_by_time(store.reader, Queue(NONE, (b"U", 0)), 5, boundary) == 0
    assert earliest_store_ms(store.reader, queue) == NONE


def test_messages_that_are_gone_are_before_any_time(store):
    queue = fill(store, body=b"b" * 1500)  # two to a file
    (store.root / "commitlog" / file_name(0)).unlink()
    reader = QueueReader(
        store.consumequeue,
        StoreSizes(store.log_file_bytes, 60),
        store.queues,
        LogReader(store.root / "commitlog", store.log_file_bytes),
    )
    assert offset_by_time(reader, queue, 0, Boundary.LOWER) == 2
    assert earliest_store_ms(reader, queue) == NONE
    assert store_ms_at(reader, queue, 4) == 300
    reader.close()


def test_blanks_are_passed_over(store):
    store.append(store_ms=100, queue_offset=0)
    store.append(store_ms=300, queue_offset=8)
    store.run()
    queue = Queue(store.slot(b"T"), (b"T", 0))
    assert offset_by_time(store.reader, queue, 200, Boundary.LOWER) == 8
    assert offset_by_time(store.reader, queue, 200, Boundary.UPPER) == 0
    assert store_ms_at(store.reader, queue, 4) == NONE


def test_the_store_time_and_position_of_an_offset(store):
    queue = fill(store)
    assert [store_ms_at(store.reader, queue, offset) for offset in range(-1, 8)] == [NONE, *TIMES, NONE]
    assert position_at(store.reader, queue, 2) == store.records[2][0]
    assert position_at(store.reader, queue, 7) == NONE


def test_a_message_is_found_by_its_position(store):
    fill(store)
    for position, _, *_, content in store.records:
        assert bytes(message_at(store.log_reader, position, 0, store.end)) == content


@pytest.mark.parametrize("position", [-1, 1, 4, 1 << 40])
def test_where_no_record_begins_none_is_found(store, position):
    fill(store)
    assert message_at(store.log_reader, position, 0, store.end) is None


def test_a_record_outside_the_log_is_not_found(store):
    fill(store)
    first, second = store.records[0][0], store.records[1][0]
    assert message_at(store.log_reader, first, second, store.end) is None
    assert message_at(store.log_reader, second, 0, second) is None
    assert message_at(store.log_reader, first, 0, second - 1) is None


def test_a_record_that_claims_another_position_is_not_found(store):
    fill(store)
    end = store.end
    store.write(end, store.records[0][-1])
    assert message_at(store.log_reader, end, 0, end + 1000) is None
