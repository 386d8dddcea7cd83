import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import shmq.store
from shmq.errors import DamagedLogError, StoreError
from shmq.store.record_batch import COLUMNS
from shmq.store.record_rows import ROW_LAYOUT
from shmq.store.scanning import BATCH_BYTES_MAX, scan
from shmq.store.segment import file_name
from shmq.store.store_files import StorePaths, StoreSizes
from tests.support.hand_log import HandLog, new_record, record_of
from tests.support.small_store import SmallStore

FILE_BYTES = 4096


def written(root, *records, begin=0, margin_bytes=8):
    log = HandLog(FILE_BYTES, begin)
    for number, new in enumerate(records):
        log.append(new, number, 1000 + number, margin_bytes=margin_bytes)
    log.write(root)
    return log


def offsets(batches):
    return [offset for batch in batches for offset in batch.rows["queue_offset"].tolist()]


def remaining(batches):
    """What is given up to an error, and the error."""
    found = []
    try:
        for batch in batches:
            found += offsets([batch])
    except StoreError as error:
        return found, error
    return pytest.fail("there was no error")


def test_the_package_offers_it_by_name(tmp_path):
    written(tmp_path, new_record())
    assert shmq.store.scan is scan
    assert offsets(shmq.store.scan(tmp_path)) == [0]
    with pytest.raises(AttributeError, match="scam"):
        _ = shmq.store.scam


def test_importing_the_package_brings_in_no_compiler():
    code = "import sys, shmq.store; sys.exit('numba' in sys.modules or not shmq.store.scan)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_byte_of_a_row_is_left_to_chance(tmp_path):
    written(tmp_path, *[new_record()] * 3)
    stains = [np.full(3 * ROW_LAYOUT.itemsize, 255, dtype=np.uint8) for _ in range(100)]
    del stains  # the rows' memory may be one of these
    (batch,) = scan(tmp_path)
    fields_bytes = sum(ROW_LAYOUT[name].itemsize for name in ROW_LAYOUT.names)
    assert not batch.rows.view(np.uint8).reshape(3, -1)[:, fields_bytes:].any()


def test_a_batch_holds_slices_of_the_mapped_file(tmp_path):
    log = written(tmp_path, new_record(body=b"hello", properties=b"a\x01b\x02"))
    (batch,) = scan(tmp_path)
    assert (batch.body(0), batch.topic(0), batch.properties(0)) == (b"hello", "T", {"a": "b"})
    assert np.shares_memory(np.frombuffer(batch.body(0), np.uint8), batch.log)
    assert not batch.log.flags.writeable
    assert bytes(batch.log) == bytes(log.files[0])
    assert batch.end == log.end


def test_a_batch_outlives_the_scan_and_the_file(tmp_path):
    written(tmp_path, new_record(body=b"hello"))
    (batch,) = scan(tmp_path)
    (tmp_path / "commitlog" / file_name(0)).unlink()
    assert batch.body(0) == b"hello"


def test_no_store_is_told(tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        scan(tmp_path)


def test_a_store_without_messages_gives_nothing(tmp_path):
    written(tmp_path)
    assert list(scan(tmp_path)) == []


@pytest.mark.parametrize(
    "asked",
    [
        {"topic": ""},
        {"key": ""},
        {"tag": ["a", ""]},
        {"queue_id": -1},
        {"columns": ["position", "size"]},
        {"columns": ["position", "position"]},
        {"batch_messages": 0},
        {"batch_bytes": 0},
        {"batch_bytes": BATCH_BYTES_MAX + 1},
        {"begin": 1 << 63},
    ],
)
def test_what_cannot_be_asked_is_a_value_error(tmp_path, asked):
    written(tmp_path)
    with pytest.raises(ValueError, match=r"\w"):
        scan(tmp_path, **asked)


def test_an_unknown_side_of_a_question_is_a_type_error(tmp_path):
    written(tmp_path)
    with pytest.raises(TypeError, match="nothing is called tpoic here"):
        scan(tmp_path, tpoic="T")


def test_columns_are_those_asked_for(tmp_path):
    written(tmp_path, new_record(properties=b"TAGS\x01a\x02"))
    (batch,) = scan(tmp_path, columns=["body_bytes", "position"])
    assert batch.records.dtype.names == ("body_bytes", "position")
    assert batch.records.tolist() == [(1, 0)]
    (whole,) = scan(tmp_path)
    assert whole.records.dtype.names == COLUMNS
    assert whole.rows["tag_hash"].tolist() == [97]


def test_a_batch_ends_with_enough_messages_or_bytes_or_the_file(tmp_path):
    written(tmp_path, *(record_of(500) for _ in range(12)))
    assert [len(batch) for batch in scan(tmp_path)] == [8, 4]
    assert [len(batch) for batch in scan(tmp_path, batch_messages=3)] == [3, 3, 2, 3, 1]
    assert [len(batch) for batch in scan(tmp_path, batch_bytes=900)] == [2, 2, 2, 2, 2, 2]
    assert [len(batch) for batch in scan(tmp_path, batch_bytes=1)] == [1] * 12


@pytest.mark.parametrize("left_bytes", [8, 9, 100, 0])
def test_a_file_may_end_right_behind_a_record(tmp_path, left_bytes):
    written(tmp_path, record_of(FILE_BYTES - left_bytes), new_record(), margin_bytes=min(left_bytes, 8))
    assert offsets(scan(tmp_path)) == [0, 1]


@pytest.mark.parametrize("left_bytes", [1, 7])
def test_a_file_without_room_for_its_end_is_damaged(tmp_path, left_bytes):
    log = written(tmp_path, record_of(FILE_BYTES - left_bytes))
    log.put(FILE_BYTES, b"something")
    log.write(tmp_path)
    found, error = remaining(scan(tmp_path))
    assert found == [0]
    assert isinstance(error, DamagedLogError)
    assert error.position == FILE_BYTES - left_bytes


def test_a_log_begins_where_its_first_file_does(tmp_path):
    written(tmp_path, *(record_of(500) for _ in range(12)), begin=5 * FILE_BYTES)
    assert offsets(scan(tmp_path)) == list(range(12))
    assert offsets(scan(tmp_path, begin=3, end=5 * FILE_BYTES + 501)) == [0, 1]


def test_a_scan_begins_with_the_first_record_at_or_behind_a_position(tmp_path):
    written(tmp_path, *(record_of(500) for _ in range(12)))
    for begin, first in ((0, 0), (1, 1), (500, 1), (501, 2), (3500, 7), (3501, 8), (FILE_BYTES, 8)):
        assert offsets(scan(tmp_path, begin=begin)) == list(range(first, 12))
    assert offsets(scan(tmp_path, begin=1 << 40)) == []


def test_a_record_whose_size_is_not_written_yet_is_none(tmp_path):
    log = written(tmp_path, new_record(), new_record())
    second = log.append(new_record(), 2)
    log.put(second, bytes(4))
    log.write(tmp_path)
    assert offsets(scan(tmp_path)) == [0, 1]


@pytest.mark.parametrize("what", ["size", "magic", "position", "properties", "beyond"])
def test_what_is_no_whole_record_ends_a_scan_behind_what_comes_before(tmp_path, what):
    log = written(tmp_path, *(record_of(500) for _ in range(12)))
    content = {
        "size": struct.pack(">i", 499),
        "magic": struct.pack(">ii", 500, 1),
        "position": struct.pack(">iI4x4x4x8xq", 500, 0xDAA320A7, 1),
        "properties": struct.pack(">i", 501),
        "beyond": struct.pack(">i", FILE_BYTES),
    }[what]
    log.put(1000, content)
    log.write(tmp_path)
    found, error = remaining(scan(tmp_path, batch_messages=100))
    assert found == [0, 1]
    assert isinstance(error, DamagedLogError)
    assert error.position == 1000
    assert file_name(0) in str(error)
    assert offsets(scan(tmp_path, begin=1500)) == list(range(3, 12))
    assert offsets(scan(tmp_path, end=1000)) == [0, 1]


def test_a_log_that_goes_on_behind_nothing_is_damaged(tmp_path):
    log = written(tmp_path, *(record_of(500) for _ in range(12)))
    log.put(1000, bytes(FILE_BYTES - 1000))
    log.write(tmp_path)
    found, error = remaining(scan(tmp_path))
    assert found == [0, 1]
    assert isinstance(error, DamagedLogError)
    assert error.position == 1000


def test_files_that_were_made_ahead_are_no_damage(tmp_path):
    log = written(tmp_path, new_record())
    log.put(FILE_BYTES, b"")
    log.write(tmp_path)
    assert offsets(scan(tmp_path)) == [0]


def test_a_missing_file_in_the_middle_is_told(tmp_path):
    written(tmp_path, *(record_of(3000) for _ in range(3)))
    (tmp_path / "commitlog" / file_name(FILE_BYTES)).unlink()
    with pytest.raises(StoreError, match="is missing before"):
        scan(tmp_path)


def test_sizes_may_be_given(tmp_path):
    written(tmp_path, new_record())
    assert offsets(scan(StorePaths(tmp_path), sizes=StoreSizes(FILE_BYTES, 200))) == [0]
    with pytest.raises(StoreError, match="4096 bytes where 8192 are configured"):
        scan(tmp_path, sizes=StoreSizes(8192, 200))


def test_what_is_written_meanwhile_is_read_as_well(tmp_path):
    log = written(tmp_path, *(record_of(500) for _ in range(8)))
    batches = scan(tmp_path, batch_messages=5)
    assert offsets([next(batches)]) == [0, 1, 2, 3, 4]
    for number in range(8, 20):
        log.append(record_of(500), number)
    log.write(tmp_path)
    assert offsets(batches) == list(range(5, 20))


def test_what_retention_removes_meanwhile_is_passed_over(tmp_path):
    written(tmp_path, *(record_of(500) for _ in range(40)))
    batches = scan(tmp_path, batch_messages=5)
    assert offsets([next(batches)]) == [0, 1, 2, 3, 4]
    for start in range(0, 3 * FILE_BYTES, FILE_BYTES):
        (tmp_path / "commitlog" / file_name(start)).unlink()
    assert offsets(batches) == [5, 6, 7, *range(24, 40)]


def test_times_pass_over_whole_files(tmp_path):
    """Damage in a file that a time rules out is not met."""
    log = written(tmp_path, *(record_of(500) for _ in range(40)))
    for start in (0, 4 * FILE_BYTES):
        log.put(start + 500, b"damaged!")
    log.write(tmp_path)
    assert offsets(scan(tmp_path, since_ms=1012, until_ms=1030)) == list(range(12, 30))


def test_there_may_be_more_topics_than_room_at_first(tmp_path):
    topics = [b"T%d" % (number % 700) for number in range(1400)]
    written(tmp_path, *(new_record(topic) for topic in topics))
    found = []
    for batch in scan(tmp_path):
        found += [batch.topics[topic_id].encode() for topic_id in batch.rows["topic_id"]]
    assert found == topics


def test_no_object_is_made_for_a_message(tmp_path):
    """The blocks that Python's allocator has out while a scan runs do not depend on how many messages a batch has."""

    def most_blocks(count):
        folder = tmp_path / str(count)
        log = HandLog(16 << 20)
        for number in range(count):
            log.append(new_record(b"T%d" % (number % 3), properties=b"TAGS\x01a\x02KEYS\x01k\x02x\x01y\x02"))
        log.write(folder)
        before = sys.getallocatedblocks()
        most = 0
        for batch in scan(folder):
            assert len(batch) == count
            arrow = batch.to_arrow()
            assert arrow.num_rows == count
            most = max(most, sys.getallocatedblocks() - before)
        return most

    most_blocks(10)  # compiles
    few, many = most_blocks(100), most_blocks(20_000)
    assert many < few + 500


READ_ONLY = """
    import os, sys
    from pathlib import Path
    import shmq.store
    import shmq.store.arrow

    root = sys.argv[1]
    asked = [{}, {"topic": "T", "queue_id": 0}, {"key": "k"}, {"since_ms": 5}]
    for each in asked:
        list(shmq.store.scan(root, **each))  # compiles and imports

    changing = []

    def watch(event, arguments):
        if event == "open" and str(arguments[0]).startswith(root):
            if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
                changing.append(arguments)
        elif event in {"os.remove", "os.rename", "os.mkdir", "os.truncate", "os.utime", "os.chmod", "fcntl.lockf"}:
            changing.append((event, arguments))

    sys.addaudithook(watch)
    count = sum(len(batch) + batch.to_arrow().num_rows for each in asked for batch in shmq.store.scan(root, **each))
    assert not changing, changing
    assert count == 2 * (10 + 10 + 0 + 5), count
    os.open(os.path.join(root, "x"), os.O_CREAT | os.O_WRONLY)
    assert len(changing) == 1
"""


def test_nothing_is_opened_for_writing(tmp_path):
    store = SmallStore(tmp_path)
    for number in range(10):
        store.append(store_ms=number)
    store.run()
    store.files.close()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in _files(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READ_ONLY), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "x").unlink()
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in _files(tmp_path)} == before


def _files(root):
    return [path for path in root.rglob("*") if path.is_file()]
