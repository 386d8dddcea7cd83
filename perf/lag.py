"""What samples of two watermarks say of the lag of one behind the other; apart, since it needs no peer installed."""

import numpy as np
from numpy.typing import NDArray


def lags_of(samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """The lag at each sample, in nanoseconds.

    Args:
        samples: rows of the time, the log's end, how far it is dispatched; in order.
    """
    times, appended, dispatched = samples.T
    seen_first = np.searchsorted(appended, dispatched, side="right")  # where the log was first beyond it
    is_behind = seen_first < np.arange(len(samples)) + 1
    lags = np.zeros(len(samples), dtype=np.int64)
    lags[is_behind] = times[is_behind] - times[seen_first[is_behind]]
    return lags
