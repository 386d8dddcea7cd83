"""What is wrong in the log is found, once, at its place."""

import struct
import time

import pytest

from shmq.inspect.verify import verify_store
from shmq.store import record
from shmq.store.segment import file_name
from shmq.store.store_files import StorePaths, StoreSizes
from tests.support.sound_store import NOWHERE, SoundStore, told

FOUR = b"\x00\x00\x00\x09"


@pytest.fixture
def store(tmp_path):
    return SoundStore(tmp_path)


def log_finding(store, kind, position):
    return (kind, store.log_file(position).name, position % store.log_file_bytes, position)


def test_a_sound_store_has_no_findings(store):
    assert len(list(store.paths.commitlog.iterdir())) > 1
    assert store.verify() == []


def test_a_store_of_which_nothing_is_there_has_no_findings(tmp_path):
    root = tmp_path / "store"
    assert list(verify_store(StorePaths(root), StoreSizes())) == []
    assert not root.exists()
    assert SoundStore(tmp_path, messages=1).verify() == []


def test_queues_without_a_log_are_findings(store):
    for path in (
        *store.paths.commitlog.iterdir(),
        *store.paths.index.iterdir(),
        store.paths.index_checkpoint,
    ):
        path.unlink()
    kinds = [finding.kind.value for finding in store.verify()]
    files = [path for path in store.consumequeue.rglob("*") if path.is_file()]
    assert kinds == ["entry-stray"] * len(files) + ["checkpoint"]


@pytest.mark.parametrize(
    ("kind", "at", "content"),
    [
        ("record-magic", record.MAGIC, FOUR),
        ("record-size", record.TOTAL_SIZE, FOUR),
        ("record-size", record.TOTAL_SIZE, b"\x00\x00\x00\x00"),
        ("record-size", record.TOTAL_SIZE, b"\x7f\x00\x00\x00"),
        ("record-size", record.BODY_SIZE, FOUR),
        ("record-checksum", record.BODY_CRC, FOUR),
        ("record-checksum", record.HEAD_BYTES + 3, b"?"),
        ("record-position", record.PHYSICAL_OFFSET, struct.pack(">q", 9)),
        ("record-queue-offset", record.QUEUE_OFFSET, struct.pack(">q", 9)),
        ("record-queue-offset", record.QUEUE_OFFSET, struct.pack(">q", -9)),
    ],
)
@pytest.mark.parametrize("number", [0, 12, 30])
def test_a_spoilt_record_is_one_finding(store, kind, at, content, number):
    position = store.records[number][0]
    store.patch_log(position + at, content)
    assert list(map(told, store.verify())) == [log_finding(store, kind, position)]


def test_a_record_of_no_possible_queue_is_one_finding_and_its_entry_has_none(store):
    position, _ = store.put(0, queue_id=-5)
    assert [told(each) for each in store.verify()][:1] == [log_finding(store, "record-queue", position)]


def test_an_offset_that_recovery_cannot_fill_up_to_is_no_mending(store):
    position, _ = store.put(0, topic=b"New", queue_offset=1 << 32)
    store.crash()
    found = [finding for finding in store.verify() if finding.kind != "index-missing"]
    assert list(map(told, found)) == [log_finding(store, "record-queue-offset", position)]
    assert not found[0].is_pending


def test_a_store_time_that_goes_back_is_one_finding(store):
    position, *_, store_ms, _ = store.records[20]
    store.patch_log(position + record.STORE_TIMESTAMP, struct.pack(">q", store_ms - 5000))
    assert log_finding(store, "record-time", position) in map(told, store.verify())


def test_a_record_from_the_future_is_one_finding(store):
    future_ms = time.time_ns() // 1_000_000 + 60_000
    position, _ = store.put(0, store_ms=future_ms)
    store.settle()
    assert list(map(told, store.verify())) == [log_finding(store, "record-time", position)]


def test_offsets_without_a_record_are_one_finding(store):
    expected = store.next[b"A", 0]
    position, _ = store.put(0, queue_offset=expected + 3)
    store.settle()
    found = store.verify()
    assert list(map(told, found)) == [log_finding(store, "queue-gap", position)]
    assert f"{expected} to {expected + 2} of A/0" in found[0].text


def test_an_offset_that_was_there_before_is_one_finding(store):
    position, _ = store.put(0, queue_offset=2)
    store.next[b"A", 0] += 1
    store.settle()
    assert list(map(told, store.verify())) == [log_finding(store, "queue-duplicate", position)]


def test_a_queue_may_begin_late_with_blanks_before(store):
    store.append(b"Late", 3, queue_offset=25, store_ms=store.now_ms)
    store.settle()
    assert store.verify() == []


def test_several_records_that_are_gone_are_one_finding(store):
    first, last = store.records[12][0], store.records[15][0]
    store.patch_log(first, b"\0" * (last - first))
    assert list(map(told, store.verify())) == [log_finding(store, "log-hole", first)]


def test_a_wrong_blank_is_one_finding(store):
    blanks = [
        position + size
        for (position, size, *_), (following, *_) in zip(store.records, store.records[1:], strict=False)
        if following != position + size
    ]
    store.patch_log(blanks[0], struct.pack(">i", 77))
    assert list(map(told, store.verify())) == [log_finding(store, "log-blank", blanks[0])]
    store.patch_log(blanks[0], struct.pack(">ii", 4096 - blanks[0] % 4096, 0x7F7F7F7F))
    assert [finding.position for finding in store.verify()] == [blanks[0]]


def test_the_last_record_of_a_file_may_be_the_spoilt_one(store):
    last = max(position for position, *_ in store.records if position < 4096)
    store.patch_log(last + record.MAGIC, FOUR)
    assert list(map(told, store.verify())) == [log_finding(store, "record-magic", last)]


def test_a_missing_file_is_one_finding(store):
    while len(list(store.paths.commitlog.iterdir())) < 4:
        store.put(len(store.records))
    store.settle()
    store.log_file(4096).unlink()
    assert list(map(told, store.verify())) == [("file-missing", file_name(4096), 0, 4096)]


def test_trimmed_files_are_no_finding(store):
    store.log_file(0).unlink()
    assert store.verify() == []


@pytest.mark.parametrize(
    ("name", "content", "kind", "offset", "position"),
    [
        ("notes.txt", b"x", "file-foreign", 0, NOWHERE),
        (file_name(4097), b"x" * 4096, "file-foreign", 0, NOWHERE),
        ("0000", b"", "file-foreign", 0, NOWHERE),
        (file_name(12288), b"", "file-empty", 0, 12288),
        (file_name(12288), b"\0" * 100, "file-size", 100, 12288),
    ],
)
def test_a_file_that_does_not_belong_is_one_finding(store, name, content, kind, offset, position):
    assert not (store.paths.commitlog / file_name(12288)).exists()
    (store.paths.commitlog / name).write_bytes(content)
    assert list(map(told, store.verify())) == [(kind, name, offset, position)]


def test_a_file_cut_short_is_one_finding(store):
    path = store.log_file(0)
    cut = store.records[10][0] + 30
    with path.open("r+b") as file:
        file.truncate(cut)
    assert list(map(told, store.verify())) == [("file-size", path.name, cut, 0)]


def test_something_behind_the_end_is_one_finding(store):
    store.patch_log(store.end + 100, b"x")
    assert list(map(told, store.verify())) == [log_finding(store, "not-zero", store.end + 100)]


def test_something_in_a_file_behind_the_end_is_one_finding(store):
    path = store.paths.commitlog / file_name(12288)
    path.write_bytes(b"\0" * 4096)
    assert store.verify() == []  # made ahead
    path.write_bytes(b"\0" * 300 + b"x" + b"\0" * 3795)
    assert list(map(told, store.verify())) == [log_finding(store, "not-zero", 12288 + 300)]


def test_old_records_behind_the_end_are_no_records(store):
    """A RocketMQ that cut its log leaves what was there; whole records among it, at their right places."""
    position, size, *_, content = store.records[-1]
    store.patch_log(position, b"\0" * size)
    old = bytearray(content)
    struct.pack_into(">q", old, record.STORE_TIMESTAMP, store.records[-2][5] - 60_000)
    store.patch_log(position + 8, b"torn")
    struct.pack_into(">q", old, record.PHYSICAL_OFFSET, position + 40)
    store.patch_log(position + 40, bytes(old))
    kinds = [(finding.kind.value, finding.position) for finding in store.verify()]
    assert ("not-zero", position + 8) in kinds
    assert all(kind != "log-hole" for kind, _ in kinds)


TORN = [
    ("record-size", 0, b"\0\0\0\0"),  # the size is written last
    ("record-checksum", record.HEAD_BYTES, b"\0" * 20),
    ("record-magic", record.MAGIC, b"\0" * 80),
]


@pytest.mark.parametrize(("kind", "at", "content"), TORN)
def test_a_torn_tail_is_mended_after_an_unclean_end_alone(store, kind, at, content):
    position = store.records[-1][0]
    store.patch_log(position + at, content)
    clean = store.verify()
    assert log_finding(store, kind, position) in map(told, clean)
    assert not any(finding.is_pending for finding in clean)
    store.crash()
    found = store.verify()
    assert log_finding(store, kind, position) in map(told, found)
    assert all(finding.is_pending for finding in found)


def test_whole_records_behind_a_spoilt_one_would_be_lost_and_that_is_no_mending(store):
    position = store.records[40][0]
    store.patch_log(position + record.HEAD_BYTES, b"?")
    store.crash()
    found = store.verify()
    assert [finding.is_pending for finding in found] == [False]
