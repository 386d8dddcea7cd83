"""Which files of the key index are believed after an end, and from where on the log is indexed again."""

import os
import shutil

import pytest

from shmq.errors import StoreError
from shmq.store import key_recover
from shmq.store.checkpoint import Checkpoint
from shmq.store.key_files import KeyFiles
from shmq.store.key_index import COUNT, entry_at
from shmq.store.key_mark import KeyMark, read_key_mark
from shmq.store.key_shape import KeyIndexShape
from tests.support.indexed_store import SHAPE, IndexedStore
from tests.support.key_ground import Ground, made_ground


@pytest.fixture
def ground(tmp_path):
    return made_ground(tmp_path)


@pytest.mark.parametrize("clean", [True, False])
def test_what_the_mark_vouches_for_stays(ground, clean):
    before = ground.store.index_files
    mark = read_key_mark(ground.paths.index_checkpoint)
    assert ground.recover(clean=clean) == ground.store.end
    assert ground.store.index_files == before
    assert read_key_mark(ground.paths.index_checkpoint) == mark


def test_records_behind_the_mark_are_indexed_again_after_a_crash(ground):
    indexed = ground.store.end
    for number in range(9):
        ground.store.add(f"v{number}", "k1")
    ground.store.run_index(indexed)
    resume = ground.recover()
    assert resume == indexed
    assert len(ground.files) == 7
    ground.finish(resume)


def test_after_a_clean_end_everything_stays_though_the_mark_is_older(ground):
    """As where a RocketMQ broker had the store in between."""
    ground.store.add("v", "k1")
    ground.store.run_index()
    last = ground.store.records[-1][0]
    resume = ground.recover(clean=True)
    assert resume == last
    ground.finish(resume)


def test_slots_and_entries_that_a_power_cut_mixed_up_are_made_anew(ground):
    store = ground.store
    marked = store.index_files[-1]
    for number in range(2):
        store.add(f"v{number}", "k1")
    store.run_index()
    store.patch(6, 40, ">5i", 3, 9, 12, -1, 1)
    store.patch(6, 8, ">q", 2)
    store.patch(6, 24, ">qi", 1, 5)
    resume = ground.recover()
    in_use = entry_at(SHAPE.slots, 9)
    assert store.index_files[-1][:in_use] == marked[:in_use]
    ground.finish(resume)


@pytest.mark.parametrize("lost", [0, 3, 6])
@pytest.mark.parametrize("clean", [True, False])
def test_a_file_that_is_missing_has_the_index_built_anew(ground, lost, clean):
    ground.files[lost].unlink()
    resume = ground.recover(clean=clean)
    assert resume == 0
    assert any("missing" in line for line in ground.said)
    ground.finish(resume)


def test_the_whole_index_may_be_missing(ground):
    shutil.rmtree(ground.store.index)
    resume = ground.recover(clean=True)
    assert resume == 0
    ground.finish(resume)


def test_old_files_of_records_that_are_gone_are_not_missed(ground):
    ground.files[0].unlink()
    begin = ground.store.records[6][0]
    assert ground.recover(clean=True, begin=begin) == ground.store.end
    assert len(ground.files) == 6


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("size", [0, 100, SHAPE.file_bytes - 1, SHAPE.file_bytes + 1])
def test_a_file_of_another_size_goes_with_all_behind_it(ground, size, clean):
    os.truncate(ground.files[4], size)
    resume = ground.recover(clean=clean)
    assert len(ground.files) == 4
    assert resume == ground.store.records[19][0]
    ground.finish(resume)


@pytest.mark.parametrize(
    ("at", "layout", "value"),
    [(COUNT, ">i", 12), (16, ">q", -1), (16, ">q", 1 << 40), (16, ">q", 0)],
)
def test_a_file_with_a_header_that_cannot_be_goes_too(ground, at, layout, value):
    ground.store.patch(4, at, layout, value)
    resume = ground.recover(clean=True)
    assert len(ground.files) == 4
    ground.finish(resume)


def test_another_configured_size_has_everything_built_anew(ground):
    shape = KeyIndexShape(7, 13)
    assert ground.recover(clean=True, shape=shape) == 0
    assert ground.files == []


def test_entries_of_records_that_the_log_has_lost_are_cut(ground):
    store = ground.store
    end = store.records[22][0]
    resume = ground.recover(end=end)
    assert resume == store.records[21][0]
    assert len(ground.files) == 5
    ground.finish(resume)


def test_a_log_that_lost_everything_leaves_no_index(ground):
    assert ground.recover(end=0) == 0
    assert ground.files == []
    assert read_key_mark(ground.paths.index_checkpoint) == KeyMark(0)


def test_a_newest_file_with_fewer_entries_than_the_mark_says_goes(ground):
    """It is another file, or was put back from a copy."""
    ground.store.patch(6, COUNT, ">i", 4)
    resume = ground.recover()
    assert len(ground.files) == 6
    ground.finish(resume)


class TestWithoutAMark:
    """The store of a RocketMQ broker."""

    @pytest.fixture(autouse=True)
    def _no_mark(self, ground):
        ground.paths.index_checkpoint.unlink()

    def test_after_a_clean_end_all_files_stay(self, ground):
        assert ground.recover(clean=True) == ground.store.records[-1][0]
        assert len(ground.files) == 7

    def test_after_a_crash_those_that_its_checkpoint_vouches_for(self, ground):
        full_ms = ground.store.records[19][5]
        resume = ground.recover(checkpoint=Checkpoint(index_timestamp_ms=full_ms))
        assert len(ground.files) == 4
        assert resume == ground.store.records[19][0]
        ground.finish(resume)

    def test_after_a_crash_without_a_checkpoint_none(self, ground):
        assert ground.recover() == 0
        assert ground.files == []

    def test_an_empty_file_is_removed(self, ground):
        """RocketMQ makes it with the first message, whether or not that has keys."""
        for path in ground.files:
            path.unlink()
        (ground.store.index / "20231115061320123").write_bytes(bytes(SHAPE.file_bytes))
        assert ground.recover(clean=True) == 0
        assert ground.files == []


def test_without_keys_nothing_is_walked_again(tmp_path):
    ground = Ground(IndexedStore(tmp_path))
    for _ in range(10):
        ground.store.add()
    ground.store.run_index()
    ground.mark()
    assert ground.recover(clean=True) == ground.store.end
    assert ground.recover() == ground.store.end


@pytest.mark.parametrize("place", ["write_key_mark", "sync_directory", "rebuild_slots"])
@pytest.mark.parametrize("is_behind", [False, True])
def test_recovery_may_be_killed_anywhere(ground, monkeypatch, place, is_behind):
    store = ground.store
    end = store.records[22][0]
    real = getattr(key_recover, place)

    def die(*args):
        if is_behind:
            real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(key_recover, place, die)
    with pytest.raises(KeyboardInterrupt):
        ground.recover(end=end)
    monkeypatch.undo()
    ground.finish(ground.recover(end=end))


def test_a_disk_that_refuses_is_an_error(ground):
    ground.paths.index_checkpoint.unlink()
    ground.paths.index_checkpoint.mkdir()
    with pytest.raises((StoreError, OSError)):
        ground.recover(clean=True)


def test_the_files_can_be_written_on_after_recovery(ground):
    resume = ground.recover()
    ground.store.add("v1", "k2")
    ground.finish(resume)
    assert KeyFiles(ground.store.index, SHAPE).last_part() == (ground.store.records[-1][0], 2)
