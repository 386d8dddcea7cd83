"""What is to be reached, P1 to P10, as something that the rounds of a run can be held to.

A criterion looks at the rounds that speak for its target (the question states it, see `perf/harness.py`), takes a
measure of shmq or its ratio to a peer within each round, and compares the median of the rounds with a bound.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perf.colocated_names import PYZMQ, QUEUE
from perf.comparison import ratios, spread, values
from perf.contestants import JAVA, REACTOR
from perf.harness import OURS, Round
from perf.limits import GROUP_COMMIT
from perf.peers import REDIS

RATE: Final = "messages/s"
CPU: Final = "CPU s/million messages"


@dataclass(frozen=True)
class Criterion:
    """One condition of a target.

    Attributes:
        target: such as `P1`.
        measure: what is compared.
        least: the bound where more is better.
        most: the bound where less is better.
        peer: whose measure ours is divided by; "" for ours alone.
        workload: a part of the workload's name, where a target has several.
    """

    target: str
    measure: str
    least: float | None = None
    most: float | None = None
    peer: str = ""
    workload: str = ""

    @property
    def wording(self) -> str:
        """The condition in words."""
        sign, bound = ("≥", self.least) if self.most is None else ("≤", self.most)
        of = f" × {self.peer}" if self.peer else ""
        return f"{self.measure} {sign} {bound:,.10g}{of}"


@dataclass(frozen=True)
class Verdict:
    """How a criterion fares in a workload.

    Attributes:
        criterion: the condition.
        workload: where it was looked at.
        found: what each round gave.
        classes: the median by how near the cores were, and of how many rounds.
        durability: ours, as the rounds state it.
    """

    criterion: Criterion
    workload: str
    found: list[float]
    classes: dict[str, tuple[float, int]]
    durability: str

    @property
    def is_met(self) -> bool:
        """Whether the median keeps the bound."""
        median = statistics.median(self.found)
        if self.criterion.most is not None:
            return median <= self.criterion.most
        assert self.criterion.least is not None
        return median >= self.criterion.least

    def row(self) -> str:
        """A row of the table."""
        median, least, most = spread(self.found)
        classes = ", ".join(
            f"{name}: {shown(value)} ({count})" for name, (value, count) in self.classes.items()
        )
        cells = (
            self.criterion.target,
            self.workload,
            self.criterion.wording,
            shown(median),
            f"{shown(least)} .. {shown(most)}",
            classes,
            self.durability,
            "**yes**" if self.is_met else "no",
        )
        return f"| {' | '.join(cells)} |"


CRITERIA: Final = (
    Criterion("P1", RATE, least=2, peer=REDIS),
    Criterion("P1", RATE, least=10, peer=JAVA),
    Criterion("P1", CPU, most=1 / 8, peer=JAVA),
    Criterion("P2", RATE, least=1.2, peer=REDIS),
    Criterion("P2", RATE, least=3, peer=JAVA),
    Criterion("P2", CPU, most=1 / 4, peer=JAVA),
    Criterion("P3", RATE, least=1.5, peer=JAVA),
    Criterion("P4", RATE, least=10e6, workload="send_array"),
    Criterion("P4", RATE, least=6e6, workload="send_many"),
    Criterion("P4", RATE, least=3e6, workload="send()"),
    Criterion("P4", RATE, least=10, peer=PYZMQ),
    Criterion("P4", RATE, least=50, peer=QUEUE),
    Criterion("P5", "p50 µs", most=1, workload="spinning"),
    Criterion("P5", "p99 µs", most=10, workload="spinning"),
    Criterion("P5", "p50 µs", most=60, workload="asleep"),
    Criterion("P6", RATE, least=3e6, workload="TCP"),
    Criterion("P6", RATE, least=10, peer=JAVA, workload="TCP"),
    Criterion("P6", RATE, least=20e6, workload="colocated"),
    Criterion("P7", RATE, least=0.8, peer=GROUP_COMMIT),
    Criterion("P8", RATE, least=0.7, peer=REACTOR),
    Criterion("P9", CPU, most=1.5, peer="shmq, the least"),
    Criterion("P10", "seconds", most=2, workload="start, warm"),
    Criterion("P10", "PSS MiB", most=350, workload="memory, idle"),
    Criterion("P10", "CPU % of a core", most=1, workload="idle"),
)

HEADING: Final = (
    "| target | workload | condition | median | min .. max | by core distance (rounds) | durability | met |",
    "| --- | --- | --- | ---: | ---: | --- | --- | --- |",
)


def verdicts(rounds: Sequence[Round]) -> list[Verdict]:
    """Every criterion in every workload that speaks for it and has its measure."""
    found = []
    for criterion in CRITERIA:
        mine = [
            each for each in rounds if each.target == criterion.target and criterion.workload in each.workload
        ]
        for workload in dict.fromkeys(each.workload for each in mine):
            of_workload = [each for each in mine if each.workload == workload]
            gave = _gave(of_workload, criterion)
            if gave:
                found.append(_verdict(criterion, workload, of_workload, gave))
    return found


def missing(rounds: Sequence[Round]) -> list[Criterion]:
    """The criteria that no round says anything about."""
    judged = {each.criterion for each in verdicts(rounds)}
    return [each for each in CRITERIA if each not in judged]


def shown(value: float) -> str:
    """A figure for people."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _gave(rounds: Sequence[Round], criterion: Criterion) -> list[float]:
    if criterion.peer:
        return ratios(rounds, criterion.measure, criterion.peer)
    return values(rounds, criterion.measure)


def _verdict(criterion: Criterion, workload: str, rounds: Sequence[Round], gave: list[float]) -> Verdict:
    ours = [each for each in rounds if each.contestant == OURS]
    classes = {}
    for name in Counter(each.ping_pong_class for each in ours):
        numbers = {each.number for each in ours if each.ping_pong_class == name}
        of_class = _gave([each for each in rounds if each.number in numbers], criterion)
        if of_class:
            classes[name] = (statistics.median(of_class), len(of_class))
    return Verdict(criterion, workload, gave, classes, ours[0].durability)
