"""The files of a queue at rest."""

import struct

import numpy as np
import pytest

from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.store.queue_directory import (
    Extent,
    QueueDirectory,
    find_message,
    first_message,
    list_queues,
    queue_path,
)
from shmq.store.queue_trim import trim_queue
from tests.support.small_store import names

FILE_BYTES = 100  # five entries
BLANK = (0, 0x7FFFFFFF, 0)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "T" / "0"
    path.mkdir(parents=True)
    return path


def fill(folder, entries, first=0):
    """Files that hold these entries from an offset on that begins a file."""
    content = b"".join(struct.pack(">qiq", *entry) for entry in entries)
    for start in range(0, max(len(content), 1), FILE_BYTES):
        piece = content[start : start + FILE_BYTES].ljust(FILE_BYTES, b"\0")
        (folder / f"{first * 20 + start:020d}").write_bytes(piece)
    return QueueDirectory(folder, FILE_BYTES)


def read(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def entries(count, first=0):
    return [(1000 + 100 * number, 100, number) for number in range(first, first + count)]


def test_a_queue_without_files_is_empty(folder):
    assert QueueDirectory(folder, FILE_BYTES).recover() == Extent(0, 0)
    assert QueueDirectory(folder / "none", FILE_BYTES).recover() == Extent(0, 0)


@pytest.mark.parametrize("count", [1, 4, 5, 6, 17])
def test_the_extent_ends_behind_the_last_entry(folder, count):
    assert fill(folder, entries(count)).recover() == Extent(count, 1000 + 100 * count)
    assert len(names(folder)) == -(-count // 5)


def test_a_file_of_zeros_at_the_end_is_removed(folder):
    queue = fill(folder, entries(5))
    (folder / f"{100:020d}").write_bytes(bytes(FILE_BYTES))
    assert queue.recover() == Extent(5, 1500)
    assert names(folder) == [f"{0:020d}"]


@pytest.mark.parametrize("lost", [3, 4, 5, 6])
@pytest.mark.parametrize("kept", [5, 7])
def test_of_files_of_zeros_none_stays_however_many_there_are(folder, kept, lost):
    queue = fill(folder, entries(kept))
    for number in range(lost):
        (folder / f"{-(-kept // 5) * 100 + 100 * number:020d}").write_bytes(bytes(FILE_BYTES))
    assert queue.recover() == Extent(kept, 1000 + 100 * kept)
    assert names(folder) == [f"{100 * number:020d}" for number in range(-(-kept // 5))]


def test_of_a_queue_of_zeros_nothing_stays(folder):
    for number in range(6):
        (folder / f"{100 * number:020d}").write_bytes(bytes(FILE_BYTES))
    assert QueueDirectory(folder, FILE_BYTES).recover() == Extent(0, 0)
    assert names(folder) == []


def test_an_empty_last_file_is_removed(folder):
    queue = fill(folder, entries(5))
    (folder / f"{100:020d}").write_bytes(b"")
    assert queue.recover() == Extent(5, 1500)
    assert names(folder) == [f"{0:020d}"]


def test_what_lies_behind_a_hole_is_zeroed_and_later_files_go(folder):
    units = entries(13)
    units[7] = (0, 0, 0)
    queue = fill(folder, units)
    assert queue.recover() == Extent(7, 1700)
    assert read(folder) == b"".join(struct.pack(">qiq", *unit) for unit in units[:7]) + bytes(60)


def test_blanks_count_as_offsets_and_not_as_messages(folder):
    assert fill(folder, [*entries(2), BLANK, BLANK]).recover() == Extent(4, 1200)
    assert fill(folder, [BLANK, BLANK]).recover() == Extent(2, 0)


def test_a_queue_may_begin_late(folder):
    assert fill(folder, entries(3), first=20).recover() == Extent(23, 1300)


def test_a_stray_file_is_refused_by_its_path(folder):
    queue = fill(folder, entries(3))
    (folder / "stray").write_bytes(bytes(FILE_BYTES))
    with pytest.raises(StoreError, match="stray"):
        queue.recover()


@pytest.mark.parametrize(
    ("position", "kept"), [(1000, 0), (1001, 1), (1400, 4), (1500, 5), (1501, 6), (2200, 12), (5000, 13)]
)
def test_truncation_keeps_what_lies_below_the_position(folder, position, kept):
    units = entries(13)
    queue = fill(folder, units)
    end = 1000 + 100 * kept if kept else 0
    assert queue.truncate(position) == Extent(kept, end)
    content = b"".join(struct.pack(">qiq", *unit) for unit in units[:kept])
    assert read(folder) == content.ljust(-(-kept // 5) * FILE_BYTES, b"\0")
    assert queue.recover() == Extent(kept, end)


def test_truncation_of_all_keeps_the_number_of_the_first_file(folder):
    assert fill(folder, entries(3), first=20).truncate(0) == Extent(20, 0)


def test_the_min_is_the_first_message_that_is_still_in_the_log(folder):
    queue = fill(folder, entries(13))
    assert queue.find_min(13, 0) == 0
    assert queue.find_min(13, 1000) == 0
    assert queue.find_min(13, 1001) == 1
    assert queue.find_min(13, 1700) == 7  # in the second file
    assert queue.find_min(13, 9999) == 13


def test_the_min_is_never_a_blank(folder):
    queue = fill(folder, [BLANK, BLANK, *entries(2)])
    assert queue.find_min(4, 0) == 2
    assert fill(folder, [BLANK, BLANK]).find_min(2, 0) == 2


def test_leading_files_below_the_log_are_removed_but_never_the_last(folder):
    fill(folder, entries(12))

    def remove_below(position):
        removable = trim_queue(folder, FILE_BYTES, 12, position).removable
        for path in removable:
            path.unlink()
        return list(removable)

    assert [path.name for path in remove_below(1401)] == [f"{0:020d}"]
    assert remove_below(1900) == []
    assert [path.name for path in remove_below(9999)] == [f"{100:020d}"]
    assert names(folder) == [f"{200:020d}"]


def test_a_queue_is_removed_with_its_directory(folder):
    fill(folder, entries(12)).remove()
    assert not folder.exists()


def test_queues_are_listed_by_topic_and_number(tmp_path):
    for name in ("T/0", "T/10", "T/x", "T/007", "T/-1", "T/٣", f"T/{1 << 31}", "%RETRY%g/1", "my.host/2"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "T" / "notes").write_bytes(b"")
    (tmp_path / ".DS_Store").write_bytes(b"")
    assert sorted(list_queues(tmp_path)) == [
        (b"%RETRY%g", 1),
        (b"T", 0),
        (b"T", 10),
        (b"my.host", 2),
    ]
    assert list(list_queues(tmp_path / "none")) == []


@pytest.mark.parametrize("topic", [b"", b".", b"..", b"a/b", b"a\0b"])
def test_a_topic_that_is_no_name_has_no_path(tmp_path, topic):
    with pytest.raises(StoreError):
        queue_path(tmp_path, topic, 0)


@pytest.mark.parametrize("name", ["T/7", "file"])
def test_a_file_where_a_directory_belongs_is_refused(tmp_path, name):
    (tmp_path / "T").mkdir()
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(StoreError, match=f"{name} is where a directory of queues belongs"):
        list(list_queues(tmp_path))


@pytest.mark.parametrize("blanks", [0, 1, 4])
@pytest.mark.parametrize("hole", [None, 0, 2, 4])
def test_the_first_message_is_found_by_bisection_as_one_by_one(blanks, hole):
    units = [BLANK] * blanks + entries(5 - blanks)
    if hole is not None and hole < 4:
        units[hole] = (0, 0, 0)
    content = np.frombuffer(b"".join(struct.pack(">qiq", *unit) for unit in units), dtype=np.uint8)
    at = address_of(content)
    last = units[-1][0]
    for position in (0, 1, *range(950, last + 1, 50)):
        assert find_message(at, 5, position) == first_message(at, 5, position), position


def test_garbage_among_the_entries_ends_a_queue(folder):
    for spoiled in ((1000, 100, 1), (1 << 50, 100, 1), (-5, 100, 1), (2000, -1, 0), (2000, 1 << 30, 0)):
        for path in folder.iterdir():
            path.unlink()
        units = entries(9)
        units[7] = spoiled
        assert fill(folder, units).recover(log_end=5000) == Extent(7, 1700)


def test_a_queue_is_found_and_cut_at_once(folder):
    assert fill(folder, entries(13)).recover(below=1501) == Extent(6, 1600)
    assert names(folder) == [f"{0:020d}", f"{100:020d}"]
