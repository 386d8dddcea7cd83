"""Names of key index files, and what may be vouched for."""

import time

import pytest

from shmq.store.key_files import KeyFiles, list_key_files
from shmq.store.key_mark import KeyMark
from shmq.store.key_shape import KeyIndexShape
from tests.support.indexed_store import IndexedStore
from tests.support.small_store import names

SHAPE = KeyIndexShape(3, 2)
NOW_MS = 1_700_000_000_123


@pytest.fixture
def _in_shanghai(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_in_shanghai")
def test_a_file_is_named_after_the_local_time(tmp_path):
    KeyFiles(tmp_path, SHAPE).make_room(NOW_MS)
    assert names(tmp_path) == ["20231115061320123"]


@pytest.mark.usefixtures("_in_shanghai")
@pytest.mark.parametrize(
    ("last", "following"),
    [
        ("20231115061320123", "20231115061320124"),
        ("20231231235959999", "20240101000000000"),
        ("20991231235959998", "20991231235959999"),
        ("99999999999999000", "99999999999999001"),
    ],
)
def test_names_rise_even_where_the_clock_does_not(tmp_path, last, following):
    (tmp_path / last).write_bytes(bytes(36) + SHAPE.entries.to_bytes(4, "big") + bytes(SHAPE.file_bytes - 40))
    KeyFiles(tmp_path, SHAPE).make_room(NOW_MS)
    assert names(tmp_path) == [last, following]


def test_what_is_named_otherwise_is_no_file_of_the_index(tmp_path):
    (tmp_path / "20231115061320123").mkdir()
    for name in ("readme", "2023", "20231115061320124"):
        (tmp_path / name).touch()
    assert list_key_files(tmp_path) == [tmp_path / "20231115061320124"]
    assert list_key_files(tmp_path / "absent") == []


def test_the_mark_names_the_files_and_how_far_the_newest_is_filled(tmp_path):
    store = IndexedStore(tmp_path, shape=KeyIndexShape(3, 4))
    assert store.keys.mark(0) == KeyMark(0)
    for number in range(5):
        store.add(f"u{number}")
    store.run_index()
    first, last = (int(path.name) for path in list_key_files(store.index))
    assert store.keys.mark(store.end) == KeyMark(store.end, first, last, 2, 3)


def test_what_was_written_since_the_last_sync_is_to_be_synced(tmp_path):
    store = IndexedStore(tmp_path, shape=KeyIndexShape(3, 4))
    for number in range(4):
        store.add(f"u{number}")
    store.run_index()
    paths = list_key_files(store.index)
    assert [segment.path for segment in store.keys.take_unsynced()] == paths
    assert [segment.path for segment in store.keys.take_unsynced()] == paths[-1:]


def test_a_file_has_its_full_length_and_blocks_for_its_slots_only(tmp_path):
    shape = KeyIndexShape(100_000, 10_000_000)
    KeyFiles(tmp_path, shape).make_room(NOW_MS)
    (path,) = list_key_files(tmp_path)
    status = path.stat()
    assert status.st_size == shape.file_bytes
    assert 400_000 <= 512 * status.st_blocks < 4_000_000


def test_old_files_are_counted_until_all_their_records_are_gone(tmp_path):
    store = IndexedStore(tmp_path, shape=KeyIndexShape(3, 4))
    positions = [store.add(f"u{number}") for number in range(8)]
    store.run_index()
    paths = list_key_files(store.index)
    assert len(paths) == 3, "three entries a file"
    assert store.keys.forget_below(positions[2]) == []
    assert store.keys.forget_below(positions[3]) == paths[:1]
    assert store.keys.forget_below(positions[3]) == []
    assert store.keys.mark(store.end)[1:4] == (int(paths[1].name), int(paths[2].name), 2)
    assert store.keys.forget_below(store.end) == paths[1:2], "the newest stays"
    assert store.keys.mark(store.end)[1:4] == (int(paths[2].name), int(paths[2].name), 1)
    assert list_key_files(store.index) == paths, "whoever has the mark written removes them"


def test_a_file_that_is_gone_already_is_counted_no_more(tmp_path):
    store = IndexedStore(tmp_path, shape=KeyIndexShape(3, 4))
    for number in range(8):
        store.add(f"u{number}")
    store.run_index()
    first, second, _ = list_key_files(store.index)
    first.unlink()
    assert store.keys.forget_below(1) == [first]
    assert store.keys.mark(store.end).first_file == int(second.name)
