"""Committed offsets in kernels."""

import pytest

from shmq.fastpath.connections import HANDED_UP, VIP, set_flag
from shmq.fastpath.outcomes import DONE, SLOW
from shmq.wire.codes import RequestCode
from shmq.wire.command import Encoding
from tests.support.consumer_frames import offset_frame

QUERY, UPDATE = RequestCode.QUERY_CONSUMER_OFFSET, RequestCode.UPDATE_CONSUMER_OFFSET


@pytest.mark.parametrize("encoding", list(Encoding))
def test_an_offset_is_committed_and_told(broker, encoding):
    broker.offsets.add(0, 0, 1)
    update = offset_frame(UPDATE, encoding=encoding, commitOffset=17)
    assert broker.serve_fast(update) == (DONE, [broker.serve_slow(update)])
    broker.offsets.add(0, 0, 1)
    assert broker.serve_fast(update)[0] == DONE
    assert broker.committed() == [(0, 0, 17)]
    query = offset_frame(QUERY, encoding=encoding)
    assert broker.serve_fast(query) == (DONE, [broker.serve_slow(query)])


def test_a_oneway_commit_has_no_answer(broker):
    broker.offsets.add(0, 0, 1)
    assert broker.serve_fast(offset_frame(UPDATE, flag=2, commitOffset=5)) == (DONE, [])
    assert broker.committed() == [(0, 0, 5)]


def test_what_was_never_committed_is_for_python(broker):
    assert broker.serve_fast(offset_frame(UPDATE)) == (SLOW, [])
    assert broker.serve_fast(offset_frame(QUERY)) == (SLOW, [])
    broker.offsets.add(0, 0, -1)
    assert broker.serve_fast(offset_frame(QUERY)) == (SLOW, [])
    assert broker.serve_fast(offset_frame(UPDATE))[0] == DONE


@pytest.mark.parametrize(
    "changes", [{"topic": "X"}, {"consumerGroup": "X"}, {"queueId": 4}, {"commitOffset": "x"}]
)
def test_what_python_would_refuse_is_left_to_it(broker, changes):
    broker.offsets.add(0, 0, 1)
    assert broker.serve_fast(offset_frame(UPDATE, **changes)) == (SLOW, [])
    assert broker.committed() == [(0, 0, 1)]


def test_nothing_overtakes_what_went_to_python(broker):
    broker.offsets.add(0, 0, 1)
    set_flag(broker.row, HANDED_UP)
    assert broker.serve_fast(offset_frame(UPDATE)) == (SLOW, [])
    assert broker.serve_fast(offset_frame(QUERY)) == (SLOW, [])
    assert broker.committed() == [(0, 0, 1)]


def test_offsets_are_served_on_the_vip_port_too(broker):
    broker.offsets.add(0, 0, 1)
    set_flag(broker.row, VIP)
    assert broker.serve_fast(offset_frame(QUERY))[0] == DONE


def test_while_a_reset_is_pending_python_answers(broker):
    broker.offsets.add(0, 0, 1)
    broker.offsets.reset(0, 5)
    assert broker.serve_fast(offset_frame(QUERY)) == (SLOW, [])
    assert broker.serve_fast(offset_frame(UPDATE)) == (SLOW, [])
    assert broker.offsets.take_reset(0) == 5
    assert broker.serve_fast(offset_frame(QUERY))[0] == DONE
