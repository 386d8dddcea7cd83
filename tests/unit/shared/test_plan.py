from itertools import pairwise

import pytest

from shmq.memory.layout import LINE_BYTES
from shmq.shared import plan
from shmq.shared.plan import plan_for
from shmq.shared.terms import Terms
from tests.support.writer_ground import small_config


@pytest.fixture
def made(tmp_path):
    return plan_for(small_config(tmp_path))


def test_regions_lie_behind_each_other_each_on_a_page(made):
    extents = list(made.extents.values())
    for before, after in pairwise(extents):
        assert before.offset_bytes + before.size_bytes <= after.offset_bytes
    assert all(extent.offset_bytes % plan.PAGE_BYTES == 0 for extent in extents)
    assert made.size_bytes >= extents[-1].offset_bytes + extents[-1].size_bytes
    assert made.size_bytes % plan.PAGE_BYTES == 0


def test_the_header_comes_first(made):
    assert made.extents["header"].offset_bytes == 0


def test_each_worker_the_conductor_and_each_session_have_rings(made):
    assert (made.workers, made.inner_senders, made.senders, made.conductor_sender) == (2, 3, 5, 2)
    names = {name for name in made.extents if "/" in name}
    assert names == {
        *(f"{kind}/{sender}" for kind in ("submit", "completions") for sender in range(5)),
        *(f"{kind}/{other}" for kind in ("up", "down", "local_up", "local_down") for other in range(2)),
    }


def test_a_capacity_follows_from_the_plan_alone(made):
    assert made.capacity_bytes("submit/0") == 256 * 1024
    assert made.capacity_bytes("submit/3") == 128 * 1024
    assert made.capacity_bytes("local_up/1") == plan.LOCAL_LETTER_RING_BYTES


def test_the_rings_of_sessions_come_last_and_are_not_reserved(made):
    for name, extent in made.extents.items():
        is_local = any(name in made.session_rings(session) for session in range(2))
        assert (extent.offset_bytes >= made.reserved_bytes) == is_local
    for session in range(2):
        whole = made.session_extent(session)
        for name in made.session_rings(session):
            extent = made.extents[name]
            assert whole.offset_bytes <= extent.offset_bytes
            assert extent.offset_bytes + extent.size_bytes <= whole.offset_bytes + whole.size_bytes
        assert whole.size_bytes % plan.PAGE_BYTES == 0
    first, second = made.session_extent(0), made.session_extent(1)
    assert first.offset_bytes + first.size_bytes == second.offset_bytes
    assert second.offset_bytes + second.size_bytes == made.size_bytes


def test_who_attaches_reckons_the_same_plan_from_the_terms(tmp_path, made):
    assert plan_for(Terms.of(small_config(tmp_path))) == made


def test_rows_and_bells_of_different_processes_share_no_line(made):
    assert made.extents["roster"].size_bytes % (plan.FIRST_WORKER + 2) == 0
    assert made.extents["bells"].size_bytes == LINE_BYTES * (plan.BELL_FIRST_WORKER + 2)


def test_the_same_settings_give_the_same_layout_and_others_another(tmp_path, made):
    assert plan_for(small_config(tmp_path)) == made
    for change in (
        {"network_workers": 3},
        {"topics_max": 65},
        {"local_sessions_max": 3},
        {"submit_ring_bytes": 512 * 1024},
    ):
        other = plan_for(small_config(tmp_path, **change))
        assert other.layout_hash != made.layout_hash
        assert 0 <= other.layout_hash < 1 << 56
