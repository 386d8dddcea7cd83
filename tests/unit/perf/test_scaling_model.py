import pytest

from perf.scaling_model import RECORD_OVERHEAD_BYTES, Costs

COSTS = Costs(
    record_ns=50.0,
    byte_ns=0.1,
    dispatch_ns=40.0,
    worker_ns=500.0,
    memory_bytes_per_s=1e12,
    disk_bytes_per_s=1e12,
    far_factor=4.0,
)
BODY_BYTES = 1000 - RECORD_OVERHEAD_BYTES
"""Of a record of 1,000 bytes: the writer takes 150 ns for it."""


def test_few_cores_share_the_whole_of_a_message():
    assert COSTS.rate(2, BODY_BYTES) == (pytest.approx(2e9 / 690), "all cores")


def test_workers_bound_until_the_writer_does():
    assert COSTS.rate(4, BODY_BYTES) == (pytest.approx(2e9 / 500), "network workers")
    assert COSTS.rate(64, BODY_BYTES) == (pytest.approx(1e9 / 150), "writer")


def test_the_dearest_single_stage_is_full_first():
    assert COSTS.saturation(BODY_BYTES) == ("writer", pytest.approx(2 + 500 / 150))


def test_a_writer_far_away_is_dearer_for_records_and_bytes():
    assert COSTS.far().writer_ns(1000) == 4 * COSTS.writer_ns(1000)


def test_a_slow_disk_bounds_whatever_the_cores():
    assert COSTS.with_disk(1e-6).rate(64, BODY_BYTES) == (pytest.approx(1e6 / 1000), "disk")
