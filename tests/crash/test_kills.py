"""Kill -9 of random processes, shortly. `python -m tests.crash.kills` does it two hundred times."""

from tests.crash.kills import Figures, run_cycles


def test_what_was_acknowledged_outlives_random_deaths() -> None:
    figures = Figures()
    run_cycles(2, 11, figures)
    assert figures.cycles == 2
    assert figures.checked > 0
