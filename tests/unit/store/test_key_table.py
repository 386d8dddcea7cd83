"""The table of keys that queues and offsets stand on."""

import numpy as np
import pytest

from shmq.errors import StoreError
from shmq.memory.layout import LINE_BYTES
from shmq.store import key_table
from shmq.store.key_table import (
    KeyTable,
    column_address,
    format_key_table,
    index_entries,
    key_of,
    key_table_bytes,
)
from shmq.store.position import NONE


def new_table(capacity=4, columns=2):
    memory = np.zeros(key_table_bytes(capacity, columns), dtype=np.uint8)
    format_key_table(memory, capacity, columns)
    return memory, KeyTable(memory, columns, "row")


def test_a_key_is_of_two_ids_and_negative_ones_have_none():
    assert key_of(1, 2) == (1 << 32) + 2
    assert key_of(-1, 2) == NONE
    assert key_of(1, -2) == NONE


def test_rows_are_dense_and_found_again():
    _, table = new_table()
    assert [table.add(high, low, {}) for high, low in ((0, 0), (7, 1), (1, 7), (7, 1))] == [0, 1, 2, 1]
    assert [table.find(high, low) for high, low in ((0, 0), (7, 1), (1, 7))] == [0, 1, 2]
    assert table.find(0, 1) == NONE
    assert table.find(-1, 0) == NONE
    assert table.ids(2) == (1, 7)


def test_a_row_shows_its_first_words():
    _, table = new_table()
    row = table.add(3, 4, {1: 11, 2: -5})
    assert table.column(1)[row] == 11
    assert table.column(2)[row] == -5


def test_a_full_table_refuses():
    _, table = new_table(capacity=2)
    table.add(0, 0, {})
    table.add(0, 1, {})
    with pytest.raises(StoreError, match="all 2 are taken"):
        table.add(0, 2, {})
    assert table.add(0, 1, {}) == 1


def test_a_negative_id_is_refused():
    _, table = new_table()
    with pytest.raises(StoreError):
        table.add(0, -1, {})


def test_columns_begin_on_lines_of_their_own():
    memory, table = new_table(capacity=3, columns=2)
    starts = [column_address(table.address, column, 0) - table.address for column in range(3)]
    assert all(start % LINE_BYTES == 0 for start in starts)
    assert starts == sorted(set(starts))
    assert starts[-1] + LINE_BYTES <= len(memory)


@pytest.mark.parametrize("capacity", [1, 2, 3, 4, 5, 1000])
def test_an_index_is_a_power_of_two_at_most_half_full(capacity):
    entries = index_entries(capacity)
    assert entries & (entries - 1) == 0
    assert entries >= 2 * capacity


def test_a_row_whose_maker_died_before_indexing_it_is_indexed_by_the_next():
    memory, table = new_table()
    table.add(5, 0, {1: 8})
    index = memory[key_table.INDEX_AT : key_table.INDEX_AT + 8 * 8].view(np.int64)
    index[:] = 0
    assert table.find(5, 0) == NONE
    assert table.add(5, 0, {1: 9}) == 0
    assert table.column(1)[0] == 8
    assert table.count == 1
