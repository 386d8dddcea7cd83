from itertools import pairwise

import pytest

from shmq.memory.layout import LINE_BYTES
from shmq.shared import plan
from shmq.shared.plan import plan_for
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


def test_each_worker_and_the_conductor_have_rings(made):
    assert (made.workers, made.senders, made.conductor_sender) == (2, 3, 2)
    names = {name for name in made.extents if "/" in name}
    assert names == {
        *(f"{kind}/{sender}" for kind in ("submit", "completions") for sender in range(3)),
        *(f"{kind}/{worker}" for kind in ("up", "down") for worker in range(2)),
    }


def test_rows_and_bells_of_different_processes_share_no_line(made):
    assert made.extents["roster"].size_bytes % (plan.FIRST_WORKER + 2) == 0
    assert made.extents["bells"].size_bytes == LINE_BYTES * (plan.BELL_FIRST_WORKER + 2)


def test_the_same_settings_give_the_same_layout_and_others_another(tmp_path, made):
    assert plan_for(small_config(tmp_path)) == made
    for change in ({"network_workers": 3}, {"topics_max": 65}, {"submit_ring_bytes": 512 * 1024}):
        other = plan_for(small_config(tmp_path, **change))
        assert other.layout_hash != made.layout_hash
        assert 0 <= other.layout_hash < 1 << 56
