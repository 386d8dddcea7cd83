import json

import numpy as np
import pytest

from perf import histogram
from perf.histogram import BUCKETS, VALUE_MAX, Histogram, bucket_of, middle_of


def test_small_values_have_a_bucket_each():
    assert [bucket_of(value) for value in range(256)] == list(range(256))


def test_buckets_follow_each_other_without_gap():
    edges = [(1 << bits) + delta for bits in range(8, 42) for delta in (-1, 0)]
    below, at = edges[::2], edges[1::2]
    assert [bucket_of(b) - bucket_of(a) for a, b in zip(below, at, strict=True)] == [1] * len(at)
    assert bucket_of(VALUE_MAX) == BUCKETS - 1


@pytest.mark.parametrize("value", [300, 1000, 99_999, 12_345_678, 10**12])
def test_a_buckets_middle_is_within_a_hundredth_of_its_values(value):
    assert middle_of(bucket_of(value)) == pytest.approx(value, rel=0.008)


def test_what_is_out_of_range_counts_at_its_end():
    assert (bucket_of(-5), bucket_of(VALUE_MAX + 1)) == (0, BUCKETS - 1)


def test_percentiles_agree_with_those_of_the_values():
    values = np.random.default_rng(1).lognormal(8, 2, 20_000).astype(np.int64)
    counted = Histogram()
    counted.record_all(values)
    values.sort()
    for percent, rank in ((50, 10_000), (99, 19_800), (99.9, 19_980), (100, 20_000)):
        assert counted.percentile(percent) == pytest.approx(values[rank - 1], rel=0.008, abs=1)


def test_an_empty_histogram_has_percentiles_of_zero():
    assert (Histogram().percentile(50), Histogram().maximum, Histogram().count) == (0, 0, 0)


def test_it_survives_json():
    counted = Histogram()
    counted.record_all([1, 1, 5000, 10**9])
    again = Histogram.from_json(json.loads(json.dumps(counted.to_json())))
    assert (again.counts == counted.counts).all()


def test_two_add_up():
    left, right = Histogram(), Histogram()
    left.record(10)
    right.record(1000)
    left.add(right)
    assert (left.count, left.percentile(50), left.percentile(51) > 900) == (2, 10, True)


def test_a_curve_ends_at_one():
    counted = Histogram()
    counted.record_all([3, 4, 4, 700])
    values, shares = counted.curve()
    assert (values[:2].tolist(), shares.tolist()) == ([3, 4], [0.25, 0.75, 1.0])
    assert histogram.middle_of(histogram.bucket_of(700)) == values[2]
