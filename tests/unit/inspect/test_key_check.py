"""What is wrong in the key index is found, once, at its place."""

import itertools
import struct

import pytest

from shmq.store.key_files import list_key_files
from shmq.store.key_index import (
    BEGIN_POSITION,
    BEGIN_TIMESTAMP,
    COUNT,
    END_POSITION,
    END_TIMESTAMP,
    KEY_HASH,
    POSITION,
    PREVIOUS,
    SECONDS,
    USED_SLOTS,
)
from shmq.store.key_mark import KeyMark, read_key_mark, write_key_mark
from tests.support.sound_store import NOWHERE, SoundStore, patch, told


@pytest.fixture
def store(tmp_path):
    return SoundStore(tmp_path)


@pytest.fixture
def files(store):
    found = list_key_files(store.paths.index)
    assert len(found) > 3
    return found


def entry_of(store, path, number):
    """Where the record of an entry lies."""
    return struct.unpack_from(">q", path.read_bytes(), store.index_entry(number) + POSITION)[0]


@pytest.mark.parametrize(("file", "number"), list(itertools.product([0, 1, -2], [1, 8, 20])))
@pytest.mark.parametrize(
    ("kind", "at", "content"),
    [
        ("index-hash", KEY_HASH, struct.pack(">i", 77)),
        ("index-position", POSITION, struct.pack(">q", 10**9)),
        ("index-chain", PREVIOUS, struct.pack(">i", 19)),
    ],
)
def test_a_spoilt_entry_is_one_finding(store, kind, at, content, number, file):
    files = list_key_files(store.paths.index)
    path, place = files[file], store.index_entry(number)
    position = entry_of(store, path, number)
    patch(path, place + at, content)
    assert list(map(told, store.verify())) == [(kind, path.name, place, position)]


def test_a_spoilt_time_is_one_finding_but_for_the_first_which_counts_from_elsewhere(store, files):
    place = store.index_entry(5)
    patch(files[1], place + SECONDS, struct.pack(">i", 99))
    patch(files[2], store.index_entry(1) + SECONDS, struct.pack(">i", 99))
    expected = ("index-time", files[1].name, place, entry_of(store, files[1], 5))
    assert list(map(told, store.verify())) == [expected]


def test_a_position_before_its_place_is_one_finding(store, files):
    place = store.index_entry(5)
    position = entry_of(store, files[1], 5)
    patch(files[1], place + POSITION, struct.pack(">q", 1))
    assert list(map(told, store.verify())) == [("index-position", files[1].name, place, position)]


@pytest.mark.parametrize("at", [BEGIN_TIMESTAMP, END_TIMESTAMP, BEGIN_POSITION, END_POSITION, USED_SLOTS])
def test_a_spoilt_header_is_one_finding(store, files, at):
    patch(files[1], at, b"\0\0\0\x01" if at == USED_SLOTS else struct.pack(">q", 1))
    assert [told(finding)[:3] for finding in store.verify()] == [("index-header", files[1].name, at)]


def test_a_count_that_cannot_be_is_told_and_its_keys_are_missed(store, files):
    patch(files[1], COUNT, struct.pack(">i", 500))
    found = store.verify()
    assert [finding.kind.value for finding in found if not finding.is_pending] == ["index-header"]
    assert [finding.kind.value for finding in found if finding.is_pending] == ["index-missing"]


def test_a_spoilt_slot_is_one_finding(store, files):
    slot = next(at for at in range(40, 68, 4) if files[0].read_bytes()[at : at + 4] != b"\0\0\0\0")
    patch(files[0], slot, b"\0\0\0\0")
    assert list(map(told, store.verify())) == [("index-slot", files[0].name, slot, NOWHERE)]


def test_keys_without_entries_are_one_finding(store, files):
    path = files[1]
    begin, end = entry_of(store, path, 1), entry_of(store, path, 20)
    path.unlink()
    write_key_mark(store.paths.index_checkpoint, KeyMark(store.end))
    found = store.verify()
    assert [finding.kind.value for finding in found] == ["index-missing"]
    assert found[0].position == begin < end
    assert found[0].text.startswith("20 keys")


def test_what_the_mark_knows_and_is_missing_is_told(store, files):
    files[1].unlink()
    found = store.verify()
    assert {finding.kind.value for finding in found if not finding.is_pending} == {"index-mark"}
    assert {finding.kind.value for finding in found if finding.is_pending} == {"index-missing"}


def test_an_index_may_begin_late_and_not_be_there_at_all(store, files):
    files[0].unlink()
    mark = read_key_mark(store.paths.index_checkpoint)
    write_key_mark(
        store.paths.index_checkpoint, mark._replace(files=mark.files - 1, first_file=int(files[1].name))
    )
    assert store.verify() == []
    for path in files[1:]:
        path.unlink()
    store.paths.index_checkpoint.unlink()
    assert store.verify() == []


def test_entries_of_trimmed_records_are_no_finding(store):
    store.log_file(0).unlink()
    assert store.verify() == []


def test_an_entry_too_many_is_one_finding_with_what_it_moves(store):
    """A RocketMQ that dispatches a record again puts its keys in twice."""
    last, _ = store.put(60)
    store.settle()
    store.build._note[1] = store.build._note[2] = NOWHERE  # as if the record had no key in
    store.build._reached = last
    store.run_index(last)
    found = store.verify()
    assert {finding.kind.value for finding in found} == {"index-stray"}
    assert {finding.position for finding in found} == {last}


def test_more_keys_than_are_found_at_once(store):
    keys = b" ".join(b"key%d" % number for number in range(200))
    position, _ = store.put(0, properties=b"KEYS\x01" + keys + b"\x02UNIQ_KEY\x01U\x02")
    store.settle()
    assert store.verify() == []
    last = list_key_files(store.paths.index)[-2]
    place = store.index_entry(15)
    patch(last, place, struct.pack(">i", 5))
    assert list(map(told, store.verify())) == [("index-hash", last.name, place, position)]


def test_keys_that_are_yet_to_be_put_in_are_pending_whatever_the_end_was(store):
    begin = store.end
    store.put(60)
    store.put(61)
    store.run(begin)
    found = store.verify()
    assert [(each.kind.value, each.position, each.is_pending) for each in found] == [
        ("index-missing", begin, True)
    ]
    assert found[0].text.startswith("4 keys")


def test_after_an_unclean_end_what_is_not_vouched_for_is_mended(store, files):
    mark = read_key_mark(store.paths.index_checkpoint)
    write_key_mark(store.paths.index_checkpoint, mark._replace(next_number=2))
    patch(files[-1], store.index_entry(2) + KEY_HASH, struct.pack(">i", 77))
    patch(files[-1], store.index_entry(1) + PREVIOUS, struct.pack(">i", 9))
    assert [finding.is_pending for finding in store.verify()] == [False, False]
    store.crash()
    assert [finding.is_pending for finding in store.verify()] == [True, True]
    patch(files[0], store.index_entry(2) + PREVIOUS, struct.pack(">i", 9))
    assert sorted(finding.is_pending for finding in store.verify()) == [False, True, True]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [("readme", b"x", "file-foreign"), ("20990101000000000", b"\0" * 90, "file-size")],
)
def test_a_file_that_does_not_belong_is_one_finding(store, name, content, kind):
    (store.paths.index / name).write_bytes(content)
    assert [told(finding)[:2] for finding in store.verify()] == [(kind, name)]
