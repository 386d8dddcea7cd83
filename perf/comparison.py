"""Which rounds of the raw files count, and how two contestants compare within them.

Figures of different minutes do not compare on a shared machine, so a ratio is taken within a round, and of each
workload only its newest run counts. See `perf/harness.py` for what a raw file holds.
"""

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from perf.harness import OURS, Round, read_rounds


class Spread(NamedTuple):
    """What the rounds gave."""

    median: float
    least: float
    most: float


def read_all(raw: Path) -> list[Round]:
    """Every round below a directory, oldest run first."""
    return [each for path in sorted(raw.glob("*.jsonl")) for each in read_rounds(path)]


def newest(rounds: Iterable[Round], *, quick: bool) -> list[Round]:
    """Of each workload the rounds of its newest run; of real runs, unless quick ones are wanted too."""
    kept = [each for each in rounds if quick or not each.is_quick]
    runs: dict[str, str] = {}
    for each in kept:
        runs[each.workload] = max(runs.get(each.workload, ""), each.run)
    return [each for each in kept if each.run == runs[each.workload]]


def of_class(rounds: Iterable[Round], ping_pong_class: str) -> list[Round]:
    """The rounds whose cores were so near before and after."""
    return [each for each in rounds if each.ping_pong_class == ping_pong_class]


def values(rounds: Iterable[Round], measure: str, contestant: str = OURS) -> list[float]:
    """What a contestant measured."""
    return [
        each.figures[measure] for each in rounds if each.contestant == contestant and measure in each.figures
    ]


def ratios(rounds: Iterable[Round], measure: str, peer: str, ours: str = OURS) -> list[float]:
    """Ours divided by the peer's, within each round that has both."""
    turns: dict[tuple[str, str, int], dict[str, float]] = {}
    for each in rounds:
        if measure in each.figures:
            turn = turns.setdefault((each.run, each.workload, each.number), {})
            turn[each.contestant] = each.figures[measure]
    return [turn[ours] / turn[peer] for turn in turns.values() if ours in turn and turn.get(peer, 0) > 0]


def spread(found: Iterable[float]) -> Spread:
    """Median, least and most of what there is at least one of."""
    kept = sorted(found)
    return Spread(statistics.median(kept), kept[0], kept[-1])
