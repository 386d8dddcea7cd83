from itertools import pairwise

import numpy as np
import pytest

from shmq.memory.block import address_of
from shmq.store import watermarks
from shmq.store.watermarks import Watermarks


@pytest.fixture
def memory():
    return np.zeros(watermarks.SIZE, dtype=np.uint8)


def marks_at(memory, *, is_sync_flush=False):
    return Watermarks(address_of(memory), is_sync_flush)


def test_new_watermarks_stand_at_the_birth_of_the_log(memory):
    marks = marks_at(memory)
    assert (marks.appended, marks.flushed, marks.dispatched, marks.trimmed, marks.queues_ms) == (
        0,
        0,
        0,
        0,
        0,
    )


def test_each_word_is_moved_alone_and_seen_by_everybody(memory):
    ours, theirs = marks_at(memory), marks_at(memory)
    names = ("appended", "flushed", "dispatched", "trimmed", "queues_ms")
    for value, name in enumerate(names, start=1):
        ours.move(getattr(watermarks, name.upper()), value)
    assert [getattr(theirs, name) for name in names] == [1, 2, 3, 4, 5]


def test_words_of_different_writers_lie_on_different_lines():
    offsets = sorted(offset for _, offset in watermarks.LAYOUT.fields.values())
    assert all(later - before >= 128 for before, later in pairwise(offsets))


def test_a_watermark_never_goes_back(memory):
    marks = marks_at(memory)
    marks.move(watermarks.FLUSHED, 10)
    marks.move(watermarks.FLUSHED, 10)
    with pytest.raises(AssertionError):
        marks.move(watermarks.FLUSHED, 9)
    assert marks.flushed == 10


def test_what_consumers_may_see_depends_on_the_flush_policy(memory):
    marks_at(memory).move(watermarks.APPENDED, 200)
    marks_at(memory).move(watermarks.FLUSHED, 100)
    assert marks_at(memory, is_sync_flush=False).confirmed == 200
    assert marks_at(memory, is_sync_flush=True).confirmed == 100


def test_after_recovery_everything_stands_at_the_end_of_the_log(memory):
    marks = marks_at(memory)
    marks.begin(1024, 4096, 77, 2048)
    assert (marks.appended, marks.flushed, marks.dispatched) == (4096, 4096, 4096)
    assert (marks.trimmed, marks.queues_ms, marks.indexed) == (1024, 77, 2048)
    assert memory[watermarks.REPLICATED :][:8].view(np.int64)[0] == 4096
