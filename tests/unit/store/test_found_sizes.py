"""Sizes that no file of a store states are found out from the files."""

import pytest

from shmq.store.found_sizes import Stated, find_sizes
from shmq.store.key_shape import KeyIndexShape
from shmq.store.store_files import StorePaths, StoreSizes
from tests.support.indexed_store import IndexedStore

CONFIGURED = StoreSizes(1 << 20, 2000, KeyIndexShape(500, 2000))


def found(root, stated=Stated(), configured=CONFIGURED):  # noqa: B008 - it is immutable
    return find_sizes(StorePaths(root), configured, stated)


def made(root, shape, messages=8):
    store = IndexedStore(root, shape=shape)
    for number in range(messages):
        store.add(unique=f"U{number}", keys=f"a{number} b{number}")
    store.run()
    store.run_index()
    return store


def test_an_empty_directory_has_the_configured_sizes(tmp_path):
    assert found(tmp_path) == CONFIGURED
    assert found(tmp_path / "absent") == CONFIGURED


@pytest.mark.parametrize(
    "shape",
    [
        KeyIndexShape(13, 52),  # four entries a slot
        KeyIndexShape(500, 41),  # the configured slots
        KeyIndexShape(15, 2000),  # the configured entries
    ],
)
def test_sizes_are_those_of_the_files(tmp_path, shape):
    made(tmp_path, shape)
    assert found(tmp_path) == StoreSizes(4096, 200, shape)


def test_the_shape_that_fits_the_size_must_fit_the_entries_too(tmp_path):
    made(tmp_path, KeyIndexShape(31, 40))
    by_ratio = KeyIndexShape(11, 44)
    assert by_ratio.file_bytes == KeyIndexShape(31, 40).file_bytes
    assert found(tmp_path, configured=StoreSizes(4096, 200, KeyIndexShape(31, 7))).key_index == (31, 40)


def test_a_stated_size_is_taken_whatever_there_is(tmp_path):
    made(tmp_path, KeyIndexShape(13, 52))
    assert found(tmp_path, Stated(commit_log=True)).commit_log_file_bytes == 1 << 20
    assert found(tmp_path, Stated(consume_queue=True)).consume_queue_file_bytes == 2000
    assert found(tmp_path, Stated(key_index=True)).key_index == (500, 2000)


def test_one_odd_file_does_not_decide(tmp_path):
    store = made(tmp_path, KeyIndexShape(13, 52), messages=100)
    logs = sorted((tmp_path / "commitlog").iterdir())
    assert len(logs) > 2
    with logs[-1].open("r+b") as file:
        file.truncate(100)
    (store.consumequeue / "T" / "0" / ("9" * 20)).write_bytes(b"x" * 20)
    (store.consumequeue / "T" / "0" / "notes").write_bytes(b"x" * 40)
    assert found(tmp_path).commit_log_file_bytes == 4096
    assert found(tmp_path).consume_queue_file_bytes == 200
