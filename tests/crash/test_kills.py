"""Kill -9 of processes under load, shortly. `python -m tests.crash.kills` does it two hundred times."""

from pathlib import Path

import pytest

from tests.crash.kills import run


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_acknowledged_outlives_random_deaths(tmp_path: Path, seed: int) -> None:
    figures = run(tmp_path, cycles=2, seed=seed)
    assert figures.acknowledged > 0
    assert sum(figures.kills.values()) >= 2
