"""Whatever is added to the tables, in whatever order, they agree with a dictionary."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.store.name_table import NameTable, format_name_table, name_table_bytes
from shmq.store.offset_table import OffsetTable, format_offset_table, offset_table_bytes
from shmq.store.position import NONE

names = st.binary(min_size=1, max_size=255) | st.sampled_from([b"TopicTest", b"TopicTesu", b"%RETRY%g", b"a"])
ids = st.integers(0, 5) | st.integers(0, 2**31 - 1)


@given(st.lists(names, max_size=40), names)
@settings(max_examples=100, deadline=None)
def test_the_name_table_agrees_with_a_dictionary(added, asked):
    memory = np.zeros(name_table_bytes(40), dtype=np.uint8)
    format_name_table(memory, 40)
    table = NameTable(memory)
    model = {}
    for name in added:
        assert table.add(name) == model.setdefault(name, len(model))
    assert table.count == len(model)
    assert table.find(asked) == model.get(asked, NONE)
    assert [table.name(name_id) for name_id in range(table.count)] == list(model)


@given(st.lists(st.tuples(ids, ids, st.integers(-1, 2**62)), max_size=40), ids, ids)
@settings(max_examples=100, deadline=None)
def test_the_offset_table_agrees_with_a_dictionary(commits, group_id, slot):
    memory = np.zeros(offset_table_bytes(40), dtype=np.uint8)
    format_offset_table(memory, 40)
    table = OffsetTable(memory)
    model = {}
    for group, queue, offset in commits:
        table.add(group, queue, offset)
        model[group, queue] = offset
    assert {(group, queue): offset for group, queue, offset in table} == model
    row = table.row(group_id, slot)
    assert (row == NONE) == ((group_id, slot) not in model)
