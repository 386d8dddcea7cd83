"""What is wrong in the queues is found, once, at its place."""

import struct

import pytest

from shmq.store.dispatch import SCHEDULE_TOPIC
from shmq.store.queue_entry import POSITION, PRE_BLANK_SIZE, RECORD_SIZE, TAG_HASH
from shmq.store.segment import file_name
from tests.support.sound_store import NOWHERE, SoundStore, patch, told

PRE_BLANK = struct.pack(">qiq", 0, PRE_BLANK_SIZE, 0)


@pytest.fixture
def store(tmp_path):
    return SoundStore(tmp_path, messages=100)


QUEUE = (b"B", 0)


def spoil(store, offset, at, content, queue=QUEUE):
    path, unit = store.unit(*queue, offset)
    patch(path, unit + at, content)
    return path.name, unit, store.record_of(*queue, offset)[0]


@pytest.mark.parametrize("offset", [0, 9, 10, 13])
@pytest.mark.parametrize(
    ("kind", "at", "content"),
    [
        ("entry-missing", 0, b"\0" * 20),
        ("entry-missing", 0, PRE_BLANK),
        ("entry-missing", RECORD_SIZE, struct.pack(">i", -1)),
        ("entry-record", POSITION, struct.pack(">q", 7)),
        ("entry-record", RECORD_SIZE, struct.pack(">i", 7)),
        ("entry-tag", TAG_HASH, struct.pack(">q", 7)),
    ],
)
def test_a_spoilt_entry_is_one_finding(store, kind, at, content, offset):
    place = spoil(store, offset, at, content)
    assert list(map(told, store.verify())) == [(kind, *place)]


def test_neighbours_without_entries_are_one_finding(store):
    place = spoil(store, 2, 0, b"\0" * 100)
    found = store.verify()
    assert list(map(told, found)) == [("entry-missing", *place)]
    assert "the 5 queue offsets from 2 on of B/0" in found[0].text


def test_the_time_of_a_delivery_is_checked(store):
    place = spoil(store, 3, TAG_HASH + 7, b"\x01", (SCHEDULE_TOPIC, 0))
    assert list(map(told, store.verify())) == [("entry-tag", *place)]


def test_the_address_of_a_filter_bitmap_is_no_tag_code(store):
    spoil(store, 3, TAG_HASH, struct.pack(">q", -(1 << 63) + 48))
    assert store.verify() == []


@pytest.mark.parametrize("content", [struct.pack(">qiq", 5, 77, 0), PRE_BLANK, b"\x01" + b"\0" * 19])
def test_an_entry_without_a_record_is_one_finding(store, content):
    end = store.next[QUEUE]
    path, unit = store.unit(*QUEUE, end)
    patch(path, unit, content)
    position = (
        struct.unpack_from(">q", content)[0] if struct.unpack_from(">i", content, 8)[0] == 77 else NOWHERE
    )
    assert list(map(told, store.verify())) == [("entry-stray", path.name, unit, position)]


def test_a_gap_behind_the_last_entry_is_passed_over(store):
    end = store.next[QUEUE]
    path, unit = store.unit(*QUEUE, end + 2)
    assert path == store.unit(*QUEUE, end)[0]
    patch(path, unit, struct.pack(">qiq", 5, 77, 0))
    assert list(map(told, store.verify())) == [("entry-stray", path.name, unit, 5)]


def test_entries_for_what_is_behind_the_log_are_mended_after_an_unclean_end_alone(store):
    last = store.records[-1][0]
    lost = [each for each in store.records[-8:] if each[0] > last - last % 4096]
    assert len(lost) > 4
    for position, size, *_ in lost:
        store.patch_log(position, b"\0" * size)
    kinds = {finding.kind.value for finding in store.verify()}
    assert kinds == {"entry-stray", "index-stray", "checkpoint", "index-mark"}
    assert not any(finding.is_pending for finding in store.verify())
    store.crash()
    assert all(finding.is_pending for finding in store.verify())


def test_records_that_are_not_dispatched_are_mended_after_an_unclean_end_alone(store):
    begin = store.end
    for number in range(100, 112):
        store.put(number)
    found = store.verify()
    queues = {
        finding.text.partition(" of ")[2].partition(" ")[0] for finding in found if "offset" in finding.text
    }
    assert queues == {"A/0", "A/1", "B/0", "SCHEDULE_TOPIC_XXXX/0"}
    missing = [finding for finding in found if finding.kind == "entry-missing"]
    assert len(missing) == 4
    assert all(finding.position >= begin and not finding.is_pending for finding in missing)
    assert [finding.is_pending for finding in found if finding.kind == "index-missing"] == [True]
    store.crash()
    assert all(finding.is_pending for finding in store.verify())


def test_a_spoilt_entry_that_recovery_does_not_look_at_is_no_mending(store):
    assert store.records[-1][0] > 8192
    old = spoil(store, 0, TAG_HASH, b"\x01")
    queue_end = store.next[QUEUE] - 1
    new = spoil(store, queue_end, TAG_HASH, b"\x01")
    assert new[2] > 8192
    store.crash()
    # The checkpoint is younger than the last file's first record by more than the allowance.
    pending = {told(finding)[1:]: finding.is_pending for finding in store.verify()}
    assert pending == {old: False, new: True}


def test_entries_of_trimmed_records_are_no_finding_and_others_before_the_first_are(store):
    path, unit = store.unit(*QUEUE, 1)
    trimmed = store.record_of(*QUEUE, 1)[0]
    assert trimmed < 4096
    store.log_file(0).unlink()
    assert store.verify() == []
    patch(path, unit, struct.pack(">q", 9000))
    assert list(map(told, store.verify())) == [("entry-stray", path.name, unit, 9000)]


def test_a_queue_whose_records_are_all_trimmed_is_no_finding(tmp_path):
    store = SoundStore(tmp_path, messages=2)
    store.append(b"Old", 0, store_ms=store.now_ms)
    for number in range(2, 80):
        store.put(number)
    store.settle()
    store.log_file(0).unlink()
    assert store.verify() == []


def test_a_missing_queue_is_one_finding(store):
    folder = store.consumequeue / "B" / "0"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    found = store.verify()
    assert [finding.kind.value for finding in found] == ["entry-missing"]
    assert found[0].position == store.record_of(*QUEUE, 0)[0]


def test_a_missing_file_of_a_queue_is_told_beside_its_entries(store):
    paths = sorted((store.consumequeue / "B" / "0").iterdir())
    assert len(paths) > 2
    paths[1].unlink()
    found = {told(finding)[:2] for finding in store.verify()}
    assert found == {("file-missing", paths[1].name), ("entry-missing", paths[1].name)}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        (file_name(10_000), b"\0" * 200, "file-empty"),
        ("notes", b"x", "file-foreign"),
        (file_name(10_000), b"", "file-empty"),
        (file_name(10_000), b"\0" * 40, "file-size"),
    ],
)
def test_a_file_that_does_not_belong_in_a_queue(store, name, content, kind):
    end = store.next[QUEUE]
    name = name.replace(file_name(10_000), file_name(-(-end // 10) * 200))
    (store.consumequeue / "B" / "0" / name).write_bytes(content)
    found = {told(finding)[:2] for finding in store.verify()}
    assert (kind, name) in found
    assert {each[1] for each in found} == {name}


def test_what_is_no_directory_of_a_queue_is_told(store):
    (store.consumequeue / "readme").write_text("x")
    (store.consumequeue / "B" / "x1").mkdir()
    (store.consumequeue / "B" / "07").mkdir()
    found = sorted(told(finding) for finding in store.verify())
    assert found == [("file-foreign", name, 0, NOWHERE) for name in ("07", "readme", "x1")]


def test_the_entry_of_a_spoilt_record_is_no_finding_wherever_it_is(store):
    end = store.next[QUEUE]
    for offset in (0, 5, end - 1):
        store.patch_log(store.record_of(*QUEUE, offset)[0] + 4, b"????")
    assert [finding.kind.value for finding in store.verify()] == ["record-magic"] * 3
