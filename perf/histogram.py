"""Counts of latencies by size, within one part in 128, whatever their range: an HDR-style histogram.

Values below 256 have a bucket each; above, every doubling of the value is cut into 128 buckets of equal width. So a
percentile is exact to 0.8 %, `record` costs a few nanoseconds wherever the value lies, and a histogram of days takes
37 KiB. Values are nanoseconds by convention; what is above `VALUE_MAX` counts as that.

It knows nothing of coordinated omission: whoever records must count from the *intended* time of a send.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shmq.jit import Words, kernel

SUB_BITS: Final = 7
VALUE_BITS_MAX: Final = 42
VALUE_MAX: Final = (1 << VALUE_BITS_MAX) - 1
BUCKETS: Final = (VALUE_BITS_MAX - SUB_BITS + 1) << SUB_BITS

NAMED_PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "p99.99": 99.99}

_SUB_COUNT: Final = 1 << SUB_BITS


@kernel
def bucket_of(value: int) -> int:
    """The bucket that counts a value."""
    clipped = min(max(value, 0), VALUE_MAX)
    rest = clipped >> (SUB_BITS + 1)
    shift = 0
    step = 32
    while step > 0:  # the bit length of the rest, by halving
        if rest >> step > 0:
            shift += step
            rest >>= step
        step >>= 1
    shift += rest
    return (shift << SUB_BITS) + (clipped >> shift)


@kernel
def record(counts: Words, value: int) -> None:
    """Count one value."""
    counts[bucket_of(value)] += 1


@kernel
def record_all(counts: Words, values: Words) -> None:
    """Count many values."""
    for index in range(len(values)):
        counts[bucket_of(values[index])] += 1


class Histogram:
    """Counts by bucket, for Python.

    Attributes:
        counts: how many values each bucket has; kernels add to it by `record`.
    """

    def __init__(self, counts: NDArray[np.int64] | None = None) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BUCKETS, dtype=np.int64) if counts is None else counts

    def record(self, value: int) -> None:
        """Count one value."""
        record(self.counts, value)

    def record_all(self, values: NDArray[np.int64] | Sequence[int]) -> None:
        """Count many values."""
        record_all(self.counts, np.ascontiguousarray(values, dtype=np.int64))

    def add(self, other: "Histogram") -> None:
        """Count what another one has counted."""
        self.counts += other.counts

    @property
    def count(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @property
    def maximum(self) -> float:
        """The largest value, as its bucket's middle."""
        used = np.flatnonzero(self.counts)
        return middle_of(int(used[-1])) if len(used) else 0.0

    def percentile(self, percent: float) -> float:
        """The value that so many per cent do not exceed, as its bucket's middle; 0 where nothing was counted."""
        total = self.count
        if total == 0:
            return 0.0
        rank = max(1, int(np.ceil(total * percent / 100 - 1e-9)))
        return middle_of(int(np.searchsorted(np.cumsum(self.counts), rank)))

    def percentiles_us(self, prefix: str = "") -> dict[str, float]:
        """The named percentiles and the maximum of nanoseconds, in microseconds."""
        found = {f"{prefix}{name} µs": self.percentile(at) / 1000 for name, at in NAMED_PERCENTILES.items()}
        return found | {f"{prefix}max µs": self.maximum / 1000}

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For a plot: values, and the share of all that is at most so large."""
        used = np.flatnonzero(self.counts)
        values = np.array([middle_of(int(bucket)) for bucket in used])
        return values, np.cumsum(self.counts[used]) / max(1, self.count)

    def to_json(self) -> dict[str, Any]:
        """What a raw file keeps: the buckets that counted anything."""
        used = np.flatnonzero(self.counts)
        return {"sub_bits": SUB_BITS, "buckets": used.tolist(), "counts": self.counts[used].tolist()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Histogram":
        """The histogram that `to_json` wrote."""
        assert kept["sub_bits"] == SUB_BITS, "the buckets of another version"
        found = cls()
        found.counts[kept["buckets"]] = kept["counts"]
        return found


def middle_of(bucket: int) -> float:
    """The value in the middle of a bucket."""
    if bucket < 2 * _SUB_COUNT:
        return float(bucket)
    shift = (bucket >> SUB_BITS) - 1
    low = (bucket - (shift << SUB_BITS)) << shift
    return low + ((1 << shift) - 1) / 2
