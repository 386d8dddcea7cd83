"""Reading a queue for a pull."""

import numpy as np
import pytest

from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.store.entry_scan import ReadLimits
from shmq.store.log import LogReader
from shmq.store.position import NONE
from shmq.store.properties import java_hash
from shmq.store.read import QueueReader, ReadStatus
from shmq.store.segment import file_name
from shmq.store.store_files import StoreSizes
from tests.support.small_store import SmallStore

TAG_A, TAG_B = 2598919, 2598920  # String.hashCode of TagA and TagB


class Reading(SmallStore):
    """A small store with a reader."""

    def reader(self, **limits):
        sizes = StoreSizes(self.log_file_bytes, self.queue_file_bytes)
        log = LogReader(self.root / "commitlog", self.log_file_bytes)
        return QueueReader(self.consumequeue, sizes, self.queues, log, ReadLimits(**limits))

    def read(self, offset=0, count_max=32, tags=None, topic=b"T", queue_id=0, **limits):
        reader = self.reader(**limits)
        result = reader.read(self.slot(topic, queue_id), (topic, queue_id), offset, count_max, self.end, tags)
        content = b"".join(result.slices)
        assert result.size_bytes == len(content)
        self.last_content = content
        for piece in result.slices:
            piece.release()
        reader.close()
        return result

    def bytes_of(self, *numbers):
        return b"".join(self.records[number][-1] for number in numbers)


@pytest.fixture
def store(tmp_path):
    return Reading(tmp_path)


def fill(store, count, **how):
    for _ in range(count):
        store.append(**how)
    store.run()


def test_a_queue_that_was_never_made(store):
    result = store.read(offset=7)
    assert (result.status, result.next_offset, result.max_offset) == (ReadStatus.NO_MATCHED_LOGIC_QUEUE, 0, 0)


def test_an_empty_queue(store):
    store.add_queue(b"T", 0)
    result = store.read(offset=7)
    assert (result.status, result.next_offset) == (ReadStatus.NO_MESSAGE_IN_QUEUE, 0)


def test_an_offset_before_the_first(store):
    fill(store, 5)
    store.queues.min[store.slot(b"T")] = 3
    result = store.read(offset=2)
    assert (result.status, result.next_offset) == (ReadStatus.OFFSET_TOO_SMALL, 3)
    assert (result.min_offset, result.max_offset) == (3, 5)


def test_a_negative_offset_is_before_the_first(store):
    fill(store, 1)
    assert store.read(offset=-1).status == ReadStatus.OFFSET_TOO_SMALL


def test_the_offset_after_the_last(store):
    fill(store, 5)
    result = store.read(offset=5)
    assert (result.status, result.next_offset, result.slices) == (ReadStatus.OFFSET_OVERFLOW_ONE, 5, ())


def test_an_offset_far_after_the_last(store):
    fill(store, 5)
    result = store.read(offset=6)
    assert (result.status, result.next_offset) == (ReadStatus.OFFSET_OVERFLOW_BADLY, 5)


def test_messages_are_given_as_they_lie_in_the_log(store):
    fill(store, 5)
    result = store.read(offset=1)
    assert (result.status, result.next_offset, result.count) == (ReadStatus.FOUND, 5, 4)
    assert store.last_content == store.bytes_of(1, 2, 3, 4)
    assert len(result.slices) == 1  # neighbours in the log share one


def test_messages_that_others_lie_between_are_slices_of_their_own(store):
    for number in range(6):
        store.append(b"T", (0, 0, 1)[number % 3])
    store.run()
    result = store.read()
    assert (result.count, len(result.slices)) == (4, 2)
    assert store.last_content == store.bytes_of(0, 1, 3, 4)


def test_no_more_messages_than_asked_for(store):
    fill(store, 5)
    assert store.read(count_max=2).next_offset == 2
    assert store.read(count_max=0).count == 1  # the first is always given


def test_one_read_stays_in_one_queue_file(store):
    fill(store, 25)  # ten entries a file
    assert (store.read(offset=4).next_offset, store.read(offset=10).next_offset) == (10, 20)
    assert store.read(offset=20).count == 5


def test_a_read_goes_over_log_files(store):
    fill(store, 10, body=b"b" * 1500)  # two to a file
    result = store.read()
    assert (result.count, len(result.slices)) == (10, 5)
    assert store.last_content == store.bytes_of(*range(10))


def test_only_dispatched_messages_are_given(store):
    fill(store, 3)
    store.append()
    assert store.read().count == 3


def test_near_messages_are_bounded_by_count_and_bytes(store):
    fill(store, 9)
    size = store.records[0][1]
    assert store.read(near_count=4).count == 4
    assert store.read(near_bytes=3 * size).count == 3
    assert store.read(near_bytes=3 * size - 1).count == 2
    assert store.read(near_bytes=1).count == 1


def test_far_messages_have_bounds_of_their_own(store):
    fill(store, 9)
    size = store.records[0][1]
    far = {"near_distance_bytes": 0}
    assert store.read(far_count=2, **far).count == 2
    assert store.read(far_bytes=3 * size, **far).count == 3
    assert store.read(far_bytes=1, **far).count == 1


def test_a_message_is_near_by_its_distance_from_the_end_of_the_log(store):
    fill(store, 9)
    sixth_from_the_end = store.end - store.records[3][0]
    # Offsets 0..2 are far; the fourth is near, so that only the near bounds hold for it.
    result = store.read(near_distance_bytes=sixth_from_the_end, far_count=3, near_count=5)
    assert result.count == 5


def test_an_answer_is_bounded_whatever_the_distance(store):
    fill(store, 5)
    assert store.read(answer_bytes=2 * store.records[0][1]).count == 2


def test_a_message_too_large_for_any_bound_is_given_alone(store):
    fill(store, 2, body=b"b" * 2000)
    assert store.read(near_bytes=100, answer_bytes=100).count == 1


def test_tags_choose_messages(store):
    for tag in ("TagA", "TagB", "", "TagA"):
        store.append(tag=tag)
    store.run()
    result = store.read(tags=frozenset({TAG_A}))
    assert (result.count, result.next_offset) == (2, 4)
    assert store.last_content == store.bytes_of(0, 3)
    assert store.read(tags=frozenset({TAG_A, TAG_B, 5, -7})).count == 3


def test_a_negative_tag_hash_matches(store):
    store.append(tag="TagBBBBBB")
    store.run()
    assert store.read(tags=frozenset({-1077334854})).count == 1


def test_an_extended_entry_has_no_hash_and_passes(store):
    """RocketMQ keeps its hash in a file that we do not read; the client compares the tags."""
    fill(store, 3, tag="TagA")
    path = next((store.consumequeue / "T" / "0").iterdir())
    with path.open("r+b") as file:
        file.seek(20 + 12)
        file.write((-(1 << 63) + 48).to_bytes(8, "big", signed=True))
    assert store.read(tags=frozenset({TAG_B})).count == 1
    assert store.last_content == store.bytes_of(1)
    assert store.read(tags=frozenset({TAG_A})).count == 3


def test_where_no_tag_matches_the_next_read_goes_on_behind(store):
    fill(store, 5, tag="TagA")
    result = store.read(tags=frozenset({TAG_B}))
    assert (result.status, result.next_offset, result.count) == (ReadStatus.NO_MATCHED_MESSAGE, 5, 0)
    assert store.read(tags=frozenset()).status == ReadStatus.NO_MATCHED_MESSAGE


def test_entries_looked_at_are_bounded(store):
    fill(store, 9, tag="TagA")
    assert store.read(tags=frozenset({TAG_B}), filter_bytes=60, count_max=1).next_offset == 3
    assert store.read(tags=frozenset({TAG_B}), filter_bytes=61, count_max=1).next_offset == 4
    assert store.read(tags=frozenset({TAG_B}), filter_bytes=60, count_max=5).next_offset == 5


def test_blanks_are_passed_over(store):
    store.append(queue_offset=0)
    store.append(queue_offset=4)
    store.run()
    result = store.read()
    assert (result.count, result.next_offset) == (2, 5)
    assert store.read(offset=1, filter_bytes=20, count_max=1).status == ReadStatus.NO_MATCHED_MESSAGE


def test_messages_of_a_removed_log_file_are_passed_over(store):
    fill(store, 10, body=b"b" * 1500)  # two to a file
    for start in (0, 2 * store.log_file_bytes):
        (store.root / "commitlog" / file_name(start)).unlink()
    result = store.read()
    assert (result.status, result.count, result.next_offset) == (ReadStatus.FOUND, 6, 10)
    assert store.last_content == store.bytes_of(2, 3, 6, 7, 8, 9)


def test_where_all_messages_are_removed_the_next_read_goes_on_behind(store):
    fill(store, 4, body=b"b" * 1500)
    for path in (store.root / "commitlog").iterdir():
        path.unlink()
    result = store.read()
    assert (result.status, result.next_offset) == (ReadStatus.MESSAGE_WAS_REMOVING, 4)


def test_a_missing_queue_file_is_passed_over(store):
    fill(store, 15)
    (store.consumequeue / "T" / "0" / file_name(0)).unlink()
    result = store.read(offset=3)
    assert (result.status, result.next_offset) == (ReadStatus.OFFSET_FOUND_NULL, 10)


def test_a_queue_file_of_another_size_is_refused(store):
    fill(store, 1)
    (store.consumequeue / "T" / "0" / file_name(0)).write_bytes(b"x")
    with pytest.raises(StoreError):
        store.read()


def test_a_reader_sees_what_came_after_it_first_looked(store):
    fill(store, 1)
    reader = store.reader()
    slot = store.slot(b"T")
    assert reader.read(slot, (b"T", 0), 0, 32, store.end, None).count == 1
    fill(store, 1)
    assert reader.read(slot, (b"T", 0), 0, 32, store.end, None).count == 2
    assert reader.bounds(slot) == (0, 2)
    assert reader.bounds(NONE) == (0, 0)
    reader.close()


def test_a_forgotten_queue_is_opened_anew(store):
    fill(store, 1)
    reader = store.reader()
    slot = store.slot(b"T")
    reader.read(slot, (b"T", 0), 0, 32, store.end, None)
    (store.consumequeue / "T" / "0" / file_name(0)).unlink()
    assert reader.read(slot, (b"T", 0), 0, 32, store.end, None).status == ReadStatus.FOUND
    reader.forget(slot)
    assert reader.read(slot, (b"T", 0), 0, 32, store.end, None).status == ReadStatus.OFFSET_FOUND_NULL
    reader.close()


def test_a_slice_outlives_its_reader(store):
    fill(store, 1)
    reader = store.reader()
    piece = reader.read(store.slot(b"T"), (b"T", 0), 0, 32, store.end, None).slices[0]
    reader.close()
    assert bytes(piece) == store.bytes_of(0)


def test_the_hashes_of_these_tests_are_java_s():
    for text, expected in ((b"TagA", TAG_A), (b"TagB", TAG_B)):
        array = np.frombuffer(text, dtype=np.uint8)
        assert java_hash(address_of(array), len(text)) == expected


def test_kernels_find_the_files_that_were_read(store):
    fill(store, 25)  # ten entries a file
    reader = store.reader()
    slot = store.slot(b"T")
    assert len(reader.mappings) == 0
    entry = reader.entries_at(slot, (b"T", 0), 12)
    assert reader.mappings.find(slot, 10) == entry - 2 * 20
    assert sorted(reader.mappings) == [(slot, 10)]
    reader.entries_at(slot, (b"T", 0), 0)
    reader.forget(slot)
    assert len(reader.mappings) == 0
    reader.entries_at(slot, (b"T", 0), 20)
    reader.close()
    assert len(reader.mappings) == 0


def test_what_retention_removed_is_let_go_of_and_opened_anew(store):
    fill(store, 25)  # ten entries a file
    reader = store.reader()
    slot = store.slot(b"T")
    for offset in (0, 10, 20):
        reader.entries_at(slot, (b"T", 0), offset)
    store.queues.min[slot] = 12
    reader.forget_below(0)
    assert sorted(reader.mappings) == [(slot, 20)], (
        "a file with its first entries gone may be another one by now"
    )
    store.queues.min[slot] = 20
    reader.forget_below(0)
    assert sorted(reader.mappings) == [(slot, 20)]
    assert reader.read(slot, (b"T", 0), 12, 32, store.end, None).status == ReadStatus.OFFSET_TOO_SMALL
    assert reader.read(slot, (b"T", 0), 20, 32, store.end, None).count == 5
    reader.close()
