import os

import numpy as np
import pytest

from shmq.memory.block import address_of
from shmq.memory.words import store_word
from shmq.shared import local_sessions, roster
from shmq.shared.local_sessions import (
    ATTACHED,
    DRAINED,
    FREE,
    HEAD_SIZE,
    LEAVING,
    ROW_SIZE,
    TAKEN,
    LocalSessions,
    Polled,
    tend,
)

COUNT = 3


@pytest.fixture
def table():
    memory = np.zeros(HEAD_SIZE + ROW_SIZE * COUNT, dtype=np.uint8)
    made = LocalSessions(address_of(memory), COUNT)
    made.kept = memory
    return made


def own(table, session, *, alive=True):
    pid, started = roster.own_identity()
    store_word(table.row(session) + local_sessions.PID, pid)
    store_word(table.row(session) + local_sessions.STARTED, started if alive else 1)


def tended(table, *, drained=True):
    freed = []
    dead = tend(table, lambda _session: drained, freed.append)
    return dead, freed, [table.state(each) for each in range(COUNT)]


def test_every_change_moves_the_count_that_the_writer_looks_at(table):
    polled = Polled(table)
    assert polled.refresh()
    assert not polled.has_changed
    table.change(1, ATTACHED)
    assert polled.has_changed
    assert polled.refresh()
    assert not polled.refresh()
    assert polled.sessions == [1]


def test_rings_of_those_that_leave_are_polled_until_they_are_drained(table):
    polled = Polled(table)
    for state, expected in ((TAKEN, []), (ATTACHED, [0]), (LEAVING, [0]), (DRAINED, []), (FREE, [])):
        table.change(0, state)
        polled.refresh()
        assert polled.sessions == expected


def test_an_owner_that_lives_is_left_alone(table):
    for session, state in enumerate((TAKEN, ATTACHED)):
        own(table, session)
        table.change(session, state)
    assert tended(table) == ([], [], [TAKEN, ATTACHED, FREE])


def test_the_dead_go_round_to_free(table):
    own(table, 0, alive=False)
    table.change(0, ATTACHED)
    assert tended(table) == ([0], [], [LEAVING, FREE, FREE])
    assert tended(table, drained=False)[2][0] == LEAVING
    assert tended(table)[2][0] == DRAINED


def test_who_dies_while_it_takes_a_session_leaves_nothing_to_drain(table):
    own(table, 2, alive=False)
    table.change(2, TAKEN)
    assert tended(table) == ([2], [], [FREE, FREE, DRAINED])


def test_memory_is_given_back_only_when_the_writer_has_heeded_everything(table):
    table.change(0, DRAINED)
    assert tended(table)[1] == []
    table.heed(table.changes)
    assert tended(table)[1:] == ([0], [FREE, FREE, FREE])


def test_a_label_says_what_it_is_and_whose(table):
    table.set_label(1, "x" * 100)
    at = table.row(1) - table.row(0) + HEAD_SIZE + local_sessions.LABEL
    assert table.kept[at : at + 64].tobytes() == b"x" * 64
    table.set_label(1, "producer")
    assert table.kept[at : at + 64].tobytes().startswith(b"producer pid %d since " % os.getpid())
