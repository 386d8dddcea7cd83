"""The table of names."""

import numpy as np
import pytest

from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.store import name_table
from shmq.store.name_table import NameTable, find_name, format_name_table, is_name, name_table_bytes
from shmq.store.position import NONE


def new_table(capacity=8):
    memory = np.zeros(name_table_bytes(capacity), dtype=np.uint8)
    format_name_table(memory, capacity)
    return memory, NameTable(memory)


def test_an_empty_table_knows_no_name():
    _, table = new_table()
    assert table.count == 0
    assert table.find(b"TopicTest") == NONE
    assert table.find(b"") == NONE


def test_names_get_ids_in_order_and_keep_them():
    _, table = new_table()
    assert [table.add(name) for name in (b"a", b"bb", b"%RETRY%g", b"bb")] == [0, 1, 2, 1]
    assert [table.find(name) for name in (b"a", b"bb", b"%RETRY%g")] == [0, 1, 2]
    assert [table.name(name_id) for name_id in range(table.count)] == [b"a", b"bb", b"%RETRY%g"]


def test_a_name_is_not_found_by_its_beginning():
    _, table = new_table()
    table.add(b"abcdefgh-and-more")
    assert table.find(b"abcdefgh") == NONE
    assert table.find(b"abcdefgh-and-more-still") == NONE


def test_the_longest_name_fits_and_one_byte_more_does_not():
    _, table = new_table()
    assert table.name(table.add(b"x" * 255)) == b"x" * 255
    with pytest.raises(StoreError):
        table.add(b"x" * 256)
    with pytest.raises(StoreError):
        table.add(b"")
    assert table.find(b"x" * 256) == NONE


def test_a_full_table_refuses_a_new_name_and_still_knows_the_old():
    _, table = new_table(capacity=3)
    for name in (b"a", b"b", b"c"):
        table.add(name)
    with pytest.raises(StoreError, match="no room"):
        table.add(b"d")
    assert table.add(b"c") == 2
    assert table.find(b"d") == NONE


def test_another_view_of_the_memory_sees_the_names():
    memory, table = new_table()
    table.add(b"shared")
    other = NameTable(memory)
    assert other.find(b"shared") == 0
    assert other.capacity == 8


def test_the_kernel_finds_a_name_inside_other_bytes():
    _, table = new_table()
    table.add(b"TopicTest")
    record = np.frombuffer(b"....TopicTest....", dtype=np.uint8)
    assert find_name(table.address, address_of(record) + 4, 9) == 0
    assert find_name(table.address, address_of(record) + 4, 10) == NONE
    assert is_name(table.address, 0, address_of(record) + 4, 9)
    assert not is_name(table.address, 0, address_of(record) + 3, 9)


def test_a_name_whose_maker_died_before_indexing_it_is_indexed_by_the_next():
    memory, table = new_table()
    table.add(b"first")
    table.add(b"second")
    index = memory[name_table.INDEX_AT : name_table.INDEX_AT + 8 * 16].view(np.int64)
    index[index == 2] = 0  # as if the maker of the second had died there
    assert table.find(b"second") == NONE
    successor = NameTable(memory)
    assert successor.add(b"second") == 1
    assert successor.add(b"third") == 2
    assert successor.count == 3


def test_a_row_that_was_not_counted_is_written_over():
    memory, table = new_table()
    table.add(b"first")
    row = table._rows_at + name_table.ROW_BYTES
    memory[row : row + 12] = 7  # half a row, from a maker that died
    assert table.add(b"second") == 1
    assert table.name(1) == b"second"
