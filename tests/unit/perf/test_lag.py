import numpy as np

from perf.lag import lags_of


def test_the_lag_is_the_age_of_the_oldest_record_without_an_entry():
    samples = np.array(
        [
            (100, 0, 0),  # nothing is there
            (110, 500, 0),
            (120, 900, 0),  # what came until 110 waits
            (130, 900, 500),  # all until 110 has its entry; what came until 120 waits
            (140, 900, 900),
            (150, 1000, 900),
        ]
    )
    assert lags_of(samples).tolist() == [0, 0, 10, 10, 0, 0]
