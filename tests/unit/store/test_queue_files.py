"""The windows of the dispatcher on queue files."""

import gc
import resource
import struct
from contextlib import contextmanager
from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store.queue_entry import QueueEntry, encode
from shmq.store.queue_files import QueueFiles, Unsynced, default_windows_max, part_windows_max, sync_files
from tests.support.small_store import names

QUEUE = (b"TopicTest", 3)
ENTRY = QueueEntry(4096, 174, 7)


@pytest.fixture
def files(tmp_path):
    made = QueueFiles(tmp_path, 200, 8, 4)
    yield made
    made.close()


def write(files, slot, offset, entry):
    address = int(files.addresses[slot]) + (offset - int(files.firsts[slot])) * 20
    encode(address, *entry)
    files.dirty[slot] = 1


def test_a_new_file_holds_its_first_entry_and_has_full_length(files, tmp_path):
    files.open(0, QUEUE, 0, ENTRY)
    content = (tmp_path / "TopicTest" / "3" / ("0" * 20)).read_bytes()
    assert content == struct.pack(">qiq", *ENTRY) + bytes(180)


def test_a_window_covers_the_file_of_the_offset(files):
    files.open(2, QUEUE, 17, ENTRY)
    assert (files.firsts[2], files.ends[2]) == (17, 20)
    assert files.addresses[2] != 0


def test_who_syncs_a_new_file_is_told_in_which_directories_names_were_made(tmp_path):
    root = tmp_path / "store" / "consumequeue"
    root.parent.mkdir()
    files = QueueFiles(root, 200, 8, 4)
    topic = root / "TopicTest"
    files.open(0, QUEUE, 0, ENTRY)
    assert files.take_dirty().directories == [root.parent, root, topic, topic / "3"]
    files.open(0, QUEUE, 10, ENTRY)
    assert files.take_dirty().directories == [topic / "3"]
    files.open(1, (b"TopicTest", 4), 0, ENTRY)
    assert files.take_dirty().directories == [topic, topic / "4"]
    files.close()


def test_what_is_written_through_a_window_is_in_the_file(files, tmp_path):
    files.open(0, QUEUE, 0, ENTRY)
    write(files, 0, 1, QueueEntry(1, 2, 3))
    content = (tmp_path / "TopicTest" / "3" / ("0" * 20)).read_bytes()
    assert content[20:40] == struct.pack(">qiq", 1, 2, 3)


def test_nothing_but_whole_files_lies_in_the_directory(files, tmp_path):
    for offset in range(0, 40, 10):
        files.open(0, QUEUE, offset, ENTRY)
    folder = tmp_path / "TopicTest" / "3"
    assert names(folder) == [f"{start:020d}" for start in (0, 200, 400, 600)]
    assert {path.stat().st_size for path in folder.iterdir()} == {200}
    assert names(tmp_path) == ["TopicTest"]


def test_blocks_are_reserved_ahead_of_use_in_steps(tmp_path):
    files = QueueFiles(tmp_path, 6_000_000, 1, 4)
    files.open(0, QUEUE, 0, ENTRY)
    path = tmp_path / "TopicTest" / "3" / ("0" * 20)
    assert path.stat().st_size == 6_000_000
    first_end = int(files.ends[0])
    assert first_end * 20 <= path.stat().st_blocks * 512 < 1_000_000
    offset = first_end
    while offset < 300_000:
        files.open(0, QUEUE, offset, ENTRY)
        assert files.ends[0] > offset
        offset = int(files.ends[0])
    assert offset == 300_000
    assert path.stat().st_blocks * 512 >= 6_000_000
    files.close()


def test_a_file_of_another_size_is_refused(files, tmp_path):
    (tmp_path / "TopicTest" / "3").mkdir(parents=True)
    (tmp_path / "TopicTest" / "3" / ("0" * 20)).write_bytes(b"short")
    with pytest.raises(StoreError, match="5 bytes"):
        files.open(0, QUEUE, 0, ENTRY)


def test_a_directory_that_cannot_be_made_is_a_store_error(files, tmp_path):
    (tmp_path / "TopicTest").write_bytes(b"a file")
    with pytest.raises(StoreError):
        files.open(0, QUEUE, 0, ENTRY)


@contextmanager
def no_room():
    """No file may grow beyond 100 bytes, as on a full disk; that of the test's own report neither."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_and_leaves_no_file(files, tmp_path):
    with pytest.raises(StoreError, match="TopicTest"), no_room():
        files.open(0, QUEUE, 0, ENTRY)
    assert names(tmp_path / "TopicTest" / "3") == []
    assert files.addresses[0] == 0


def test_the_oldest_window_makes_room(files):
    for slot in range(5):
        files.open(slot, (b"T", slot), 0, ENTRY)
    assert files.addresses[0] == 0
    assert all(files.addresses[slot] for slot in range(1, 5))


def test_dirty_files_are_taken_once(files, tmp_path):
    files.open(0, QUEUE, 0, ENTRY)
    path = tmp_path / "TopicTest" / "3" / ("0" * 20)
    assert files.take_dirty().files == [path]  # it was created
    assert files.take_dirty() == ([], [])
    write(files, 0, 1, ENTRY)
    assert files.take_dirty() == ([path], [])
    sync_files(Unsynced([path, tmp_path / "gone"], [path.parent, tmp_path / "gone"]))


def test_a_file_whose_window_went_stays_dirty(files, tmp_path):
    files.open(0, QUEUE, 0, ENTRY)
    files.take_dirty()
    write(files, 0, 9, ENTRY)
    files.open(0, QUEUE, 10, ENTRY)
    folder = tmp_path / "TopicTest" / "3"
    assert files.take_dirty().files == [folder / f"{0:020d}", folder / f"{200:020d}"]


def test_no_gap_is_filled_where_there_are_no_files(files, tmp_path):
    files.fill_gap(0, QUEUE, 0, 15)
    assert names(tmp_path) == []
    assert files.open(0, QUEUE, 15, ENTRY)
    assert not files.open(0, QUEUE, 20, ENTRY)
    content = (tmp_path / "TopicTest" / "3" / f"{200:020d}").read_bytes()
    assert content[:120] == struct.pack(">qiq", 0, 0x7FFFFFFF, 0) * 5 + struct.pack(">qiq", *ENTRY)


def test_the_bound_on_windows_leaves_mappings_for_others():
    assert 32_000 <= part_windows_max() <= int(Path("/proc/sys/vm/max_map_count").read_text()) - 1000


def test_the_bound_on_descriptors_leaves_some_for_others():
    assert 16 <= default_windows_max() <= 4096


def test_a_window_costs_no_descriptor(files):
    gc.collect()  # what other tests have left is closed now, not while we count
    before = len(list(Path("/proc/self/fd").iterdir()))
    for slot in range(4):
        files.open(slot, QUEUE, 0, ENTRY)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_very_many_files_are_synced_at_once(tmp_path):
    many = QueueFiles(tmp_path, 4096 // 20 * 20, 1001)
    for slot in range(1001):
        many.open(slot, (b"T", slot), 0, ENTRY)
    assert many.take_dirty() == ([tmp_path], [])
    assert many.take_dirty() == ([], [])
    sync_files(Unsynced([tmp_path], []))
    many.close()


def test_an_entry_before_the_window_is_written_to_its_place(tmp_path):
    files = QueueFiles(tmp_path, 200_000, 1)
    files.open(0, QUEUE, 0, ENTRY)
    files.open(0, QUEUE, 4000, ENTRY)
    files.open(0, QUEUE, 1, ENTRY)
    write(files, 0, 1, QueueEntry(1, 2, 3))
    files.close()
    content = (tmp_path / "TopicTest" / "3" / ("0" * 20)).read_bytes()
    assert content[20:40] == struct.pack(">qiq", 1, 2, 3)


def test_a_queue_that_is_removed_leaves_nothing_and_begins_anew_at_its_offset(tmp_path):
    files = QueueFiles(tmp_path, 200, 8)
    for queue_id in (0, 1):
        for offset in range(12):
            files.open(queue_id, (b"T", queue_id), offset, QueueEntry(offset, 100, 0))
    files.remove(0, (b"T", 0))
    assert [path.name for path in (tmp_path / "T").iterdir()] == ["1"]
    assert files.addresses[0] == 0
    assert files.open(0, (b"T", 0), 12, QueueEntry(1200, 100, 0))
    assert (tmp_path / "T" / "0").exists()
    files.remove(1, (b"T", 1))
    files.remove(0, (b"T", 0))
    files.remove(0, (b"T", 0))
    assert list(tmp_path.iterdir()) == []
    sync_files(files.take_dirty())
    files.close()
