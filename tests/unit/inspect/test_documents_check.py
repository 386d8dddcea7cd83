"""What is wrong in checkpoint, index.checkpoint and documents is found."""

import struct
import time

import pytest

from shmq.store.checkpoint import LAYOUT
from shmq.store.key_mark import read_key_mark, write_key_mark
from shmq.store.store_files import mark_open
from tests.support.sound_store import NOWHERE, SoundStore, patch, told


@pytest.fixture
def store(tmp_path):
    return SoundStore(tmp_path)


@pytest.mark.parametrize("name", ["log_timestamp", "queues_timestamp", "index_timestamp"])
@pytest.mark.parametrize("wrong", ["newer", "negative"])
def test_a_time_that_cannot_be_is_one_finding(store, name, wrong):
    at = LAYOUT.fields[name][1]
    patch(store.paths.checkpoint, at, struct.pack(">q", store.now_ms + 1 if wrong == "newer" else -1))
    assert list(map(told, store.verify())) == [("checkpoint", "checkpoint", at, NOWHERE)]
    mark_open(store.paths)
    assert [finding.is_pending for finding in store.verify()] == [True]


def test_without_records_the_clock_is_the_limit(tmp_path):
    store = SoundStore(tmp_path, messages=1)
    store.patch_log(0, b"\0" * store.end)
    future_ms = time.time_ns() // 1_000_000 + 3_600_000
    patch(store.paths.checkpoint, 0, struct.pack(">q", future_ms))
    at = [finding.offset for finding in store.verify() if finding.kind == "checkpoint"]
    assert at == [0]


def test_a_position_behind_the_log_is_one_finding(store):
    at = LAYOUT.fields["confirmed_position"][1]
    patch(store.paths.checkpoint, at, struct.pack(">q", store.end + 1))
    assert list(map(told, store.verify())) == [("checkpoint", "checkpoint", at, store.end + 1)]


def test_a_checkpoint_cut_short_is_one_finding_and_none_at_all_is_no_finding(store):
    with store.paths.checkpoint.open("r+b") as file:
        file.truncate(30)
    assert list(map(told, store.verify())) == [("checkpoint", "checkpoint", 30, NOWHERE)]
    store.paths.checkpoint.unlink()
    assert store.verify() == []


def test_a_spoilt_mark_vouches_for_nothing(store):
    patch(store.paths.index_checkpoint, 3, b"\x01")
    assert list(map(told, store.verify())) == [("index-mark", "index.checkpoint", 40, NOWHERE)]
    store.paths.index_checkpoint.unlink()
    assert store.verify() == []


@pytest.mark.parametrize(("field", "at", "more"), [("indexed", 0, 1), ("next_number", 32, 5)])
def test_a_mark_that_vouches_for_more_than_there_is(store, field, at, more):
    mark = read_key_mark(store.paths.index_checkpoint)
    write_key_mark(store.paths.index_checkpoint, mark._replace(**{field: getattr(mark, field) + more}))
    assert ("index-mark", "index.checkpoint", at, NOWHERE) in map(told, store.verify())


@pytest.mark.parametrize("content", ["", " \n", '{"a":', "{} x", "\x00" * 20])
@pytest.mark.parametrize("name", ["topics.json", "topics.json.bak", "timermetrics"])
def test_a_document_that_cannot_be_read_is_one_finding(store, name, content):
    (store.paths.config / name).write_text(content)
    assert list(map(told, store.verify())) == [("document", name, 0, NOWHERE)]


def test_other_files_of_the_folder_are_nobodys_business(store):
    (store.paths.config / "timercheck").write_bytes(b"\x00\x01")
    assert store.verify() == []


def test_a_document_that_was_not_finished_is_replaced_some_time(store):
    (store.paths.config / "topics.json.new").write_text("{")
    found = store.verify()
    assert [(told(each), each.is_pending) for each in found] == [
        (("file-foreign", "topics.json.new", 0, NOWHERE), True)
    ]
