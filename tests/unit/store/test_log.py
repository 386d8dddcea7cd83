"""The log as one range of positions."""

from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.memory.endian import load_u8
from shmq.store.log import LogDirectory, LogReader
from shmq.store.mapping_table import find_mapping
from shmq.store.position import NONE

SIZE = 4096


@pytest.fixture
def log(tmp_path: Path) -> LogDirectory:
    """Three files from SIZE on, each byte the number of its file."""
    directory = LogDirectory(tmp_path / "commitlog", SIZE)
    for number in (1, 2, 3):
        segment = directory.create(number * SIZE)
        segment.view[:] = bytes([number]) * SIZE
        segment.close()
    return directory


def test_a_position_is_found_in_its_file(log: LogDirectory) -> None:
    reader = LogReader(log.path, SIZE)
    for position, number in ((SIZE, 1), (2 * SIZE - 1, 1), (2 * SIZE, 2), (3 * SIZE + 5, 3)):
        address, left_bytes = reader.address_of(position)
        assert load_u8(address) == number
        assert left_bytes == (number + 1) * SIZE - position
    reader.close()


@pytest.mark.parametrize("position", [NONE, 0, SIZE - 1, 4 * SIZE])
def test_a_position_without_a_file_is_gone(log: LogDirectory, position: int) -> None:
    reader = LogReader(log.path, SIZE)
    assert reader.address_of(position) == (NONE, 0)
    assert reader.slice(position, 1) is None


def test_a_file_made_later_is_found(log: LogDirectory) -> None:
    reader = LogReader(log.path, SIZE)
    assert reader.slice(4 * SIZE, 4) is None
    log.create(4 * SIZE).close()
    assert reader.slice(4 * SIZE, 4) == bytes(4)
    reader.close()


def test_a_slice_lies_within_one_file(log: LogDirectory) -> None:
    reader = LogReader(log.path, SIZE)
    assert reader.slice(2 * SIZE - 2, 2) == b"\x01\x01"
    assert reader.slice(2 * SIZE - 2, 3) is None
    reader.close()


def test_few_mappings_suffice_and_slices_survive_them(log: LogDirectory) -> None:
    reader = LogReader(log.path, SIZE, mappings_max=1)
    slices = [reader.slice(number * SIZE, 2) for number in (1, 2, 3, 1)]
    assert [bytes(piece) for piece in slices if piece] == [b"\1\1", b"\2\2", b"\3\3", b"\1\1"]
    reader.close()


def test_what_is_forgotten_and_deleted_is_gone(log: LogDirectory) -> None:
    reader = LogReader(log.path, SIZE)
    kept = reader.slice(SIZE, 1)
    log.file(SIZE).unlink()
    reader.forget_below(2 * SIZE - 1)
    assert reader.slice(SIZE, 1) == b"\x01"
    reader.forget_below(2 * SIZE)
    assert reader.slice(SIZE, 1) is None
    assert kept == b"\x01"
    reader.close()


def test_a_file_of_the_wrong_size_is_an_error_and_not_gone(log: LogDirectory) -> None:
    log.file(4 * SIZE).write_bytes(b"short")
    with pytest.raises(StoreError, match="5 bytes"):
        LogReader(log.path, SIZE).address_of(4 * SIZE)


def test_repair_removes_an_empty_last_file_and_lists_the_rest(log: LogDirectory) -> None:
    log.file(4 * SIZE).touch()
    assert log.repair() == [SIZE, 2 * SIZE, 3 * SIZE]
    assert not log.file(4 * SIZE).exists()


def test_kernels_find_what_is_mapped_and_nothing_else(log: LogDirectory) -> None:
    reader = LogReader(log.path, SIZE, mappings_max=2)
    for number in (1, 2):
        address, _ = reader.address_of(number * SIZE)
        assert find_mapping(reader.mappings.address, number * SIZE, 0) == address
    find_mapping(reader.mappings.address, SIZE, 0)
    reader.address_of(3 * SIZE)
    assert sorted(reader.mappings) == [(SIZE, 0), (3 * SIZE, 0)]  # the kernel's use counted
    reader.forget_below(2 * SIZE)
    assert sorted(reader.mappings) == [(3 * SIZE, 0)]
    reader.close()
    assert len(reader.mappings) == 0


def test_what_another_thread_of_the_process_has_mapped_is_not_mapped_twice(log: LogDirectory) -> None:
    lender = LogReader(log.path, SIZE)
    reader = LogReader(log.path, SIZE, lender=lender)
    assert reader.address_of(SIZE + 7)[0] != lender.address_of(SIZE + 7)[0]  # it was not there yet
    address, left_bytes = lender.address_of(2 * SIZE + 7)
    assert reader.address_of(2 * SIZE + 7) == (address, left_bytes)
    lender.close()
    assert load_u8(reader.address_of(2 * SIZE + 7)[0]) == 2
    assert reader.address_of(SIZE + 7)[1] == SIZE - 7
    reader.close()
    assert reader.slice(2 * SIZE, 1) == b"\x02"  # a mapping of its own now
    reader.close()


def test_who_lent_a_mapping_goes_on_when_the_borrower_has_let_go(log: LogDirectory) -> None:
    lender = LogReader(log.path, SIZE)
    address, _ = lender.address_of(2 * SIZE)
    reader = LogReader(log.path, SIZE, lender=lender)
    assert reader.address_of(2 * SIZE)[0] == address
    reader.close()
    assert load_u8(address) == 2
    assert lender.slice(2 * SIZE, 1) == b"\x02"
    lender.close()
