"""A few cycles of the laboratory; `python -m tests.crash.kill_cycles` runs as many as you like."""

import pytest

from tests.crash.kill_cycles import run


@pytest.mark.parametrize("seed", [1, 2])
def test_processes_killed_under_load_lose_and_double_nothing(tmp_path, seed):
    figures = run(tmp_path, cycles=2, seed=seed)
    assert figures.acknowledged > 0
    assert sum(figures.kills.values()) >= 2
