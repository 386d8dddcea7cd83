"""The table of committed offsets."""

import numpy as np
import pytest

from shmq.errors import StoreError
from shmq.store.offset_table import (
    OFFSET_MAX,
    RESET,
    RESET_SEEN,
    OffsetTable,
    find_offset,
    format_offset_table,
    offset_address,
    offset_table_bytes,
)
from shmq.store.position import NONE


def new_table(capacity=8):
    memory = np.zeros(offset_table_bytes(capacity), dtype=np.uint8)
    format_offset_table(memory, capacity)
    return memory, OffsetTable(memory)


def test_what_was_committed_is_loaded_by_another_process():
    memory, table = new_table()
    row = table.add(2, 40, 7)
    other = OffsetTable(memory)
    assert other.row(2, 40) == row
    assert other.load(row) == 7
    other.store(row, 12)
    assert table.load(row) == 12


def test_a_pair_without_a_row_is_none():
    _, table = new_table()
    assert table.row(2, 40) == NONE
    assert find_offset(table.address, 2, 40) == NONE


def test_to_add_a_row_again_commits():
    _, table = new_table()
    assert table.add(0, 0, 5) == table.add(0, 0, 3)
    assert table.load(0) == 3
    assert table.count == 1


def test_none_is_an_offset_that_was_never_committed():
    _, table = new_table()
    assert table.load(table.add(1, 1, NONE)) == NONE


def test_all_rows_can_be_saved():
    _, table = new_table()
    table.add(0, 3, 10)
    table.add(1, 3, NONE)
    table.add(0, 4, 2)
    assert list(table) == [(0, 3, 10), (1, 3, NONE), (0, 4, 2)]


def test_a_full_table_refuses():
    _, table = new_table(capacity=1)
    table.add(0, 0, 1)
    with pytest.raises(StoreError):
        table.add(0, 1, 1)


def test_a_kernel_finds_the_word():
    _, table = new_table()
    row = table.add(4, 9, 77)
    assert table._keys.column(1)[row] == 77
    assert offset_address(table.address, row) - table.address == int(
        table._keys.column(1).ctypes.data - table.address
    )


def test_a_pending_reset_counts_as_the_offset_whatever_is_committed_until_it_is_taken():
    memory, table = new_table()
    row = table.add(0, 0, 7)
    assert (table.pending_reset(row), table.take_reset(row)) == (NONE, NONE)
    table.reset(row, 3)
    other = OffsetTable(memory)
    other.store(row, 9)
    assert (other.load(row), other.pending_reset(row)) == (3, 3)
    assert other.take_reset(row) == 3
    assert (other.take_reset(row), table.pending_reset(row), table.load(row)) == (NONE, NONE, 3)
    other.store(row, 9)
    assert table.load(row) == 9


def test_a_reset_to_where_the_last_one_went_is_another_one():
    _, table = new_table()
    row = table.add(0, 0, 7)
    for _ in range(3):
        table.reset(row, OFFSET_MAX)
        assert table.take_reset(row) == OFFSET_MAX
        assert table.pending_reset(row) == NONE


def test_the_serials_of_resets_come_round_and_none_is_zero():
    _, table = new_table()
    row = table.add(0, 0, 7)
    for _ in range(1 << 15):
        table.reset(row, 0)
        assert table.take_reset(row) == 0


def test_a_reset_that_follows_while_one_is_taken_is_not_lost():
    _, table = new_table()
    row = table.add(0, 0, 7)
    table.reset(row, 1)
    first = int(table._keys.column(RESET)[row])
    table.reset(row, 2)
    table._keys.column(RESET_SEEN)[row] = first  # as who took the first one, and was slow, leaves it
    assert table.take_reset(row) == 2


def test_what_is_forgotten_has_no_reset_either():
    _, table = new_table()
    row = table.add(0, 0, 7)
    table.reset(row, 1)
    table.forget(row)
    assert (table.load(row), table.pending_reset(row)) == (NONE, NONE)
