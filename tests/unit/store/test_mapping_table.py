"""The table of mappings that kernels look up."""

import random

import pytest

from shmq.store.mapping_table import MappingTable, find_mapping
from shmq.store.position import NONE


def test_what_was_never_entered_is_not_found():
    table = MappingTable(4)
    assert find_mapping(table.address, 0, 0) == NONE
    assert len(table) == 0


def test_a_mapping_is_found_by_both_numbers_of_its_key():
    table = MappingTable(4)
    table.enter(7, 0, 4096)
    table.enter(7, 300_000, 8192)
    assert find_mapping(table.address, 7, 0) == 4096
    assert find_mapping(table.address, 7, 300_000) == 8192
    assert find_mapping(table.address, 0, 7) == NONE


def test_log_files_of_any_place_are_told_apart():
    table = MappingTable(64)
    starts = [number << 30 for number in range(1_000_000, 1_000_064)]
    for number, start in enumerate(starts):
        table.enter(start, 0, number + 1)
    assert [table.find(start, 0) for start in starts] == list(range(1, 65))


def test_what_was_removed_is_gone_and_what_collided_with_it_is_not():
    chance = random.Random(3)
    table = MappingTable(32)
    model = {}
    for step in range(4000):
        key = chance.randrange(8), 100 * chance.randrange(12)
        if key in model:
            table.remove(*key)
            del model[key]
        elif len(model) < 32:
            model[key] = step + 1
            table.enter(*key, step + 1)
        wanted = chance.randrange(8), 100 * chance.randrange(12)
        assert table.find(*wanted) == model.get(wanted, NONE)
        assert len(table) == len(model)
    assert sorted(table) == sorted(model)


def test_the_oldest_is_the_one_used_longest_ago_by_whoever():
    table = MappingTable(3)
    for number in (1, 2, 3):
        table.enter(number, 0, 4096 * number)
    assert table.oldest() == (1, 0)
    find_mapping(table.address, 1, 0)
    assert table.oldest() == (2, 0)
    table.find(2, 0)
    assert table.oldest() == (3, 0)


def test_no_mapping_is_more_than_the_table_was_made_for():
    table = MappingTable(1)
    table.enter(1, 0, 4096)
    with pytest.raises(AssertionError):
        table.enter(2, 0, 4096)
