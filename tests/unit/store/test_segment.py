"""Segments: created whole, opened as configured, listed by the rules of a sequence."""

from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store.segment import Segment, Sequence, file_name, list_sequence, list_starts, remove_empty_last

SIZE = 8192


def test_a_created_segment_is_zeros_of_full_size_and_alone_in_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "log" / file_name(SIZE)
    segment = Segment.create(path, SIZE, SIZE)
    assert (segment.start, segment.end, segment.size_bytes) == (SIZE, 2 * SIZE, SIZE)
    assert bytes(segment.view) == bytes(SIZE)
    assert path.stat().st_blocks * 512 >= SIZE
    assert list(tmp_path.rglob("*")) == [path.parent, path]
    segment.close()


def test_what_is_written_to_a_segment_is_read_from_another_mapping(tmp_path: Path) -> None:
    path = tmp_path / "log" / file_name(0)
    writer = Segment.create(path, 0, SIZE)
    reader = Segment.open(path, 0, SIZE, writable=False)
    for is_single in (False, True, False):
        writer.populate(100, SIZE, is_single=is_single)
    writer.view[100:105] = b"hello"
    assert bytes(reader.view[100:105]) == b"hello"
    assert reader.view.readonly
    writer.close()
    reader.close()


def test_a_slice_outlives_its_segment(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path / "log" / file_name(0), 0, SIZE)
    segment.view[:5] = b"hello"
    piece = segment.view[:5]
    segment.close()
    segment.close()
    assert bytes(piece) == b"hello"


def test_an_existing_file_is_not_created_again(tmp_path: Path) -> None:
    path = tmp_path / "log" / file_name(0)
    Segment.create(path, 0, SIZE).close()
    with pytest.raises(StoreError, match=str(path)):
        Segment.create(path, 0, SIZE)


def test_a_file_too_large_for_the_disk_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot create"):
        Segment.create(tmp_path / "log" / file_name(0), 0, 1 << 60)
    assert list((tmp_path / "log").iterdir()) == []


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / file_name(0)
    path.write_bytes(bytes(SIZE - 1))
    with pytest.raises(StoreError, match=str(path)):
        Segment.open(path, 0, SIZE, writable=True)


def test_a_sequence_is_listed_in_order_without_directories(tmp_path: Path) -> None:
    for start in (2 * SIZE, SIZE):
        (tmp_path / file_name(start)).write_bytes(bytes(SIZE))
    (tmp_path / "zzz").mkdir()
    assert list_starts(tmp_path, SIZE) == [SIZE, 2 * SIZE]
    assert list_starts(tmp_path / "absent", SIZE) == []


@pytest.mark.parametrize(
    ("name", "size_bytes", "message"),
    [
        (file_name(SIZE), SIZE - 1, "bytes where"),
        ("notes.txt", SIZE, "does not belong"),
        (str(SIZE), SIZE, "does not belong"),
        (file_name(SIZE + 1), SIZE, "multiple"),
        (file_name(2 * SIZE), SIZE, f"{file_name(SIZE)} is missing"),
    ],
)
def test_a_foreign_or_missing_file_is_named(tmp_path: Path, name: str, size_bytes: int, message: str) -> None:
    (tmp_path / file_name(0)).write_bytes(bytes(SIZE))
    (tmp_path / name).write_bytes(bytes(size_bytes))
    with pytest.raises(StoreError, match=message) as raised:
        list_starts(tmp_path, SIZE)
    assert name in str(raised.value)


def test_an_empty_last_file_is_passed_over_and_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / file_name(0)).write_bytes(bytes(SIZE))
    (tmp_path / file_name(SIZE)).touch()
    found = list_sequence(tmp_path, SIZE)
    assert found == Sequence([0], tmp_path / file_name(SIZE))
    remove_empty_last(found)
    assert list_sequence(tmp_path, SIZE) == Sequence([0])
    remove_empty_last(Sequence([0]))
    assert [path.name for path in tmp_path.iterdir()] == [file_name(0)]


def test_an_empty_file_that_is_not_the_last_is_refused(tmp_path: Path) -> None:
    (tmp_path / file_name(0)).touch()
    (tmp_path / file_name(SIZE)).write_bytes(bytes(SIZE))
    with pytest.raises(StoreError, match="has 0 bytes"):
        list_starts(tmp_path, SIZE)
