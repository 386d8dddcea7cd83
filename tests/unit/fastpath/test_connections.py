import numpy as np
import pytest

from shmq.fastpath import connections
from shmq.memory.block import address_of, copy, view
from shmq.memory.endian import load_native_i64, store_native_i64
from shmq.workers.reactor_rows import drop_output


@pytest.fixture
def row():
    """The address of a row, and of the word that begins a list of those with output."""
    memory = np.zeros(connections.SIZE + 8, dtype=np.uint8)
    yield address_of(memory), address_of(memory) + connections.SIZE
    drop_output(address_of(memory))


def add(row, desk_list, content):
    source = np.frombuffer(bytearray(content), dtype=np.uint8)
    copy(connections.reserve(row, len(content)), address_of(source), len(content))
    connections.extend(desk_list, row, len(content))


def waiting(row):
    begin = load_native_i64(row + connections.OUTPUT) + load_native_i64(row + connections.OUTPUT_BEGIN)
    return bytes(view(begin, connections.output_bytes(row)))


def sent(row, size_bytes):
    begin = load_native_i64(row + connections.OUTPUT_BEGIN)
    store_native_i64(row + connections.OUTPUT_BEGIN, begin + size_bytes)


def test_what_is_added_waits_in_order_however_much_it_is(row):
    row, desk_list = row
    rng = np.random.default_rng(7)
    expected = bytearray()
    for _ in range(200):
        content = rng.bytes(int(rng.integers(1, 9000)))
        add(row, desk_list, content)
        expected += content
        gone = int(rng.integers(0, len(expected) + 1))
        sent(row, gone)
        del expected[:gone]
        assert waiting(row) == expected


def test_reserved_room_waits_for_nobody_until_it_is_filled(row):
    row, desk_list = row
    assert connections.reserve(row, 100) != connections.NONE
    assert connections.output_bytes(row) == 0
    assert load_native_i64(desk_list) == 0


def test_what_was_sent_makes_room_before_more_is_taken(row):
    row, desk_list = row
    add(row, desk_list, bytes(4000))
    before = load_native_i64(row + connections.OUTPUT)
    sent(row, 3900)
    add(row, desk_list, b"x" * 3000)
    assert load_native_i64(row + connections.OUTPUT) == before
    assert waiting(row) == bytes(100) + b"x" * 3000


def test_a_row_is_in_the_list_once(row):
    row, desk_list = row
    store_native_i64(desk_list, 77)
    add(row, desk_list, b"a")
    add(row, desk_list, b"b")
    assert load_native_i64(desk_list) == row
    assert load_native_i64(row + connections.NEXT_DIRTY) == 77


def test_flags_are_set_and_cleared_one_by_one(row):
    row, _ = row
    connections.set_flag(row, connections.OPEN)
    connections.set_flag(row, connections.BLOCKED)
    connections.clear_flag(row, connections.OPEN)
    assert connections.has_flag(row, connections.BLOCKED)
    assert not connections.has_flag(row, connections.OPEN)
