"""From records to the entries of the key index."""

import struct

import pytest

from shmq.errors import StoreError
from shmq.store import key_files
from shmq.store.key_files import KeyFiles, list_key_files
from shmq.store.key_index import COUNT, END_POSITION, entry_at
from shmq.store.key_shape import KeyIndexShape
from shmq.store.key_walk import ROWS
from shmq.store.position import NONE
from shmq.store.record import MAGIC
from tests.support.indexed_store import ROLLED_BACK, SHAPE, START_MS, IndexedStore


@pytest.fixture
def store(tmp_path):
    return IndexedStore(tmp_path)


def test_the_unique_id_comes_first_then_each_word_of_the_keys(store):
    store.add("7F0000010001", "k1 k2")
    store.run_index()
    store.check_index()
    assert [len(file.puts) for file in store.model.files] == [3]


def test_a_record_without_keys_has_no_entry_and_makes_no_file(store):
    store.add()
    assert store.run_index() == store.end
    assert not store.index.exists()


@pytest.mark.parametrize("keys", ["a", " a", "a ", "a  b", "   ", "a a", "订单 b", "a\x01b", "x" * 300])
def test_keys_are_parted_by_blanks_and_empty_ones_are_none(store, keys):
    store.add("", keys)
    store.run_index()
    store.check_index()


def test_of_two_properties_of_one_name_the_last_counts(store):
    store.add("", "second", extra=[("KEYS", "first")])
    store.run_index()
    store.check_index()


def test_a_rolled_back_record_has_no_keys(store):
    store.add("u1", "k", sys_flag=ROLLED_BACK)
    store.add("u2", "k", sys_flag=0x8)
    store.add("u3", "k", sys_flag=0x4)
    store.run_index()
    store.check_index()
    assert len(store.model.files[0].puts) == 4


def test_entries_go_on_in_new_files_that_begin_with_the_end_of_the_one_before(store):
    for number in range(40):
        store.add(f"u{number}", f"k{number % 3}", after_ms=1234)
    store.run_index()
    store.check_index()
    assert len(store.model.files) == 8
    names = [path.name for path in list_key_files(store.index)]
    assert names == sorted(set(names))


def test_a_record_may_have_more_keys_than_are_found_at_once_or_than_a_file_has_room_for(tmp_path):
    store = IndexedStore(tmp_path, shape=KeyIndexShape(7, 3 * ROWS // 2))
    store.add("u", " ".join(f"key{number}" for number in range(2 * ROWS + 5)))
    store.add("v", "key1")
    store.run_index()
    store.check_index()
    assert len(store.model.files) == 2


@pytest.mark.parametrize("step_bytes", [1, 150, 1 << 20])
def test_steps_of_any_length_over_many_files_of_the_log(store, step_bytes):
    for number in range(60):
        store.add(f"u{number}", "k" * (number % 4))
    assert store.end > store.log_file_bytes
    assert store.run_index(bytes_max=step_bytes) == store.end
    store.check_index()


def test_a_successor_may_begin_anywhere_before_the_last_record_that_has_entries(store):
    positions = [store.add(f"u{number}", f"a{number} b") for number in range(12)]
    middle = positions[8]
    store.run_index(end=middle)
    for begin in (0, positions[3], positions[7], middle):
        store.start_indexer()
        store.run_index(begin, middle)
    store.start_indexer()
    store.run_index(positions[5])
    store.check_index()


@pytest.mark.parametrize("missing", range(10))
def test_a_successor_goes_on_within_a_record(store, missing):
    """With the first of a record's keys that the predecessor had not put in, over the border of two files too."""
    store.add("u1", "a b c d e")
    last = store.add("u2", "a b c d e f g h")
    store.run_index()
    whole = store.index_files
    assert [len(file.puts) for file in store.model.files] == [10, 5]
    for entry in range(missing):
        forget_last(store, 1 if entry < 5 else 0)
    if missing > 5:  # at 5 the new file is there, and empty
        list_key_files(store.index)[1].unlink()
    store.start_indexer()
    store.run_index(last)
    assert store.index_files == whole


def number_of_next(store, file):
    return struct.unpack_from(">i", store.index_files[file], COUNT)[0]


def forget_last(store, file):
    """As if the last entry of a file had never been put."""
    number = number_of_next(store, file) - 1
    content = store.index_files[file]
    at = entry_at(SHAPE.slots, number)
    key_hash, _, _, previous = struct.unpack_from(">iqii", content, at)
    store.patch(file, at, ">iqii", 0, 0, 0, 0)
    store.patch(file, 40 + 4 * (key_hash % SHAPE.slots), ">i", previous)
    used_slots = struct.unpack_from(">i", content, 32)[0] - (previous == 0)
    store.patch(file, 32, ">ii", used_slots, number)
    if number == 1:  # a new file begins with the end of the one before
        store.patch(file, 0, "32s", store.index_files[0][8:16] * 2 + store.index_files[0][24:32] * 2)


def test_an_entry_that_was_not_counted_is_put_again_with_what_it_follows(store):
    """Killed between the slot and the count: the slot names the entry that is written next."""
    store.add("u1")
    store.add("u2")
    last = store.add("u1")
    store.run_index()
    whole = store.index_files
    store.patch(0, COUNT, ">i", number_of_next(store, 0) - 1)
    store.patch(0, END_POSITION, ">q", last)
    store.start_indexer()
    store.run_index(last)
    assert store.index_files == whole


def test_what_is_no_record_is_passed_over_to_the_end_of_its_file(store):
    store.add("u0")
    bad = store.add("u1")
    while store.end < store.log_file_bytes:
        store.add("", "")
    store.model.files[0].puts.pop()
    good = store.add("u2")
    store.write(bad + MAGIC, b"\0\0\0\0")
    store.write(bad - bad % store.log_file_bytes, store.records[0][-1])
    step = store.build.step(0, store.end, 1 << 40, START_MS)
    assert (step.reached, step.skipped, step.keys) == (store.end, bad, 2)
    assert store.build.step(good, store.end, 1 << 40, START_MS).skipped == NONE


def test_files_of_the_log_that_are_gone_are_passed_over(store):
    for number in range(60):
        store.add(f"u{number}")
    first = store.root / "commitlog" / f"{0:020d}"
    first.unlink()
    step = store.build.step(0, store.end, 1 << 40, START_MS)
    expected = sum(position >= store.log_file_bytes for position, *_ in store.records)
    assert (step.reached, step.keys) == (store.end, expected)


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 4, 5])
def test_a_full_disk_is_an_error_and_the_step_may_be_tried_again(store, monkeypatch, calls):
    for number in range(25):
        store.add(f"u{number}", "a b")
    reserve = key_files.preallocate
    left = [calls]

    def preallocate(*range_):
        left[0] -= 1
        if left[0] == -1:
            raise OSError(28, "No space left on device")
        reserve(*range_)

    monkeypatch.setattr(key_files, "preallocate", preallocate)
    with pytest.raises(StoreError, match="No space left"):
        store.run_index()
    store.run_index()
    store.check_index()


def test_the_file_of_another_broker_may_have_holes(store):
    store.add("u1", "k")
    store.run_index()
    (path,) = list_key_files(store.index)
    content = path.read_bytes()
    path.unlink()
    with path.open("wb") as sparse:  # as RocketMQ makes it
        sparse.truncate(len(content))
        sparse.write(content[:300])
    store.start_indexer()
    store.add("u2", "k")
    store.run_index()
    store.check_index()


def test_a_file_of_another_size_is_refused(store):
    store.add("u1")
    store.run_index()
    with pytest.raises(StoreError, match="configured"):
        KeyFiles(store.index, KeyIndexShape(5, 12))
