"""What the questions of `perf/` share: rounds of several contestants in turn, what they cost, a sheet of figures.

A figure means nothing on a shared machine but beside another of the same minute. So each round runs every peer
and then shmq, and a ratio is taken within the round; the sheet gives the median of the rounds and their extremes.
pytest-benchmark times shmq's turn; everything else that was measured goes into its `extra_info`.
"""

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from pytest_benchmark.fixture import BenchmarkFixture

from tests.support.processes import Process

OURS: Final = "shmq"
ROOT: Final = Path(__file__).resolve().parent.parent
REPLY_DEADLINE_S: Final = 600.0

Figures = dict[str, float]
"""What one turn of one contestant gave, by measure: the measure's name ends with its unit."""

_PERCENTILES: Final = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9}


@dataclass(frozen=True)
class Options:
    """How much is measured.

    Attributes:
        rounds: turns of each contestant.
        scale: multiplies the messages of a turn; below 1 to try the suite out.
        java: whether RocketMQ's own broker is a peer.
    """

    rounds: int
    scale: float
    java: bool

    def messages(self, count: int) -> int:
        """So many messages, scaled."""
        return max(64, int(count * self.scale))


@dataclass
class Sheet:
    """All figures of a run."""

    rows: list[tuple[str, str, str, list[float], list[float]]] = field(default_factory=list)

    def add(self, question: str, turns: Mapping[str, Sequence[Figures]]) -> None:
        """Take the turns of each contestant; what shmq and a peer both measured is compared round by round."""
        ours = turns[OURS]
        measures = dict.fromkeys(name for each in turns.values() for turn in each for name in turn)
        for measure in measures:
            for contestant, figures in turns.items():
                values = [turn[measure] for turn in figures if measure in turn]
                if not values:
                    continue
                ratios: list[float] = []
                if contestant != OURS and measure in ours[0]:
                    ratios = [
                        mine[measure] / theirs
                        for mine, theirs in zip(ours, values, strict=True)
                        if theirs > 0
                    ]
                self.rows.append((question, measure, contestant, values, ratios))

    def lines(self) -> list[str]:
        """The sheet as Markdown."""
        lines = [
            "| question | measure | contestant | median | min .. max | shmq : peer |",
            "| --- | --- | --- | ---: | ---: | ---: |",
        ]
        for question, measure, contestant, values, ratios in self.rows:
            middle, spread = (
                _shown(statistics.median(values)),
                f"{_shown(min(values))} .. {_shown(max(values))}",
            )
            ratio = ""
            if ratios:
                ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} .. {max(ratios):.2f})"
            lines.append(f"| {question} | {measure} | {contestant} | {middle} | {spread} | {ratio} |")
        return lines


@dataclass(frozen=True)
class Contest:
    """Runs contestants in turn and notes what they gave."""

    benchmark: BenchmarkFixture
    sheet: Sheet
    options: Options

    def run(
        self, question: str, contestants: Mapping[str, Callable[[], Figures]], *, warm_up_turns: int = 1
    ) -> dict[str, list[Figures]]:
        """Let every contestant take its turn in each round, after some that do not count; return what they gave."""
        turns: dict[str, list[Figures]] = {name: [] for name in contestants}
        for _ in range(warm_up_turns):
            for take_turn in contestants.values():
                take_turn()

        def peers() -> None:
            for name, take_turn in contestants.items():
                if name != OURS:
                    turns[name].append(take_turn())

        pedantic: Any = self.benchmark.pedantic  # untyped in pytest-benchmark
        pedantic(
            lambda: turns[OURS].append(contestants[OURS]()),
            setup=peers,
            rounds=self.options.rounds,
            iterations=1,
        )
        self.sheet.add(question, turns)
        for name, each in turns.items():
            self.benchmark.extra_info[name] = each
        return turns


class Generator:
    """A process that generates load (see `perf/load_generator.py`)."""

    def __init__(self, directory: Path, name: str) -> None:
        command: list[str | Path] = [sys.executable, "-m", "perf.load_generator"]
        self.process = Process(command, log_path=directory / f"{name}.log", directory=ROOT)

    def tell(self, job: str, **arguments: Any) -> None:
        """Give it a job."""
        self.process.say(json.dumps({"job": job, **arguments}))

    def hear(self) -> dict[str, Any]:
        """Wait for its next line."""
        line = self.process.wait_line(lambda line: line.startswith("{"), REPLY_DEADLINE_S)
        heard: dict[str, Any] = json.loads(line)
        return heard

    def ask(self, job: str, **arguments: Any) -> dict[str, Any]:
        """Give it a job and wait until it is done."""
        self.tell(job, **arguments)
        return self.hear()


def percentiles(values_ns: Sequence[int], prefix: str = "") -> Figures:
    """Percentiles of latencies, in microseconds."""
    found = np.percentile(np.asarray(values_ns, dtype=np.int64), list(_PERCENTILES.values()))
    return {f"{prefix}{name} µs": float(each) / 1000 for name, each in zip(_PERCENTILES, found, strict=True)}


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time that processes have used since they started."""
    times = [process.cpu_times() for process in processes]
    return float(sum(each.user + each.system for each in times))


def proportional_mib(processes: Sequence[psutil.Process]) -> Figures:
    """Memory of a process tree by kind: shared pages are counted once, divided among those that map them."""
    kinds = {"Pss": "PSS MiB", "Pss_Anon": "of it anonymous MiB", "Pss_Shmem": "of it shared memory MiB"}
    kinds["Pss_File"] = "of it files MiB"
    total = dict.fromkeys(kinds.values(), 0.0)
    for process in processes:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            kind, _, size = line.partition(":")
            if kind in kinds:
                total[kinds[kind]] += int(size.split()[0]) / 1024
    return total


def machine() -> str:
    """What the figures were taken on, and what else it was doing."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{len(os.sched_getaffinity(0))} CPUs ({model}), Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, Numba {version('numba')}, load average {loads}"
    )


def _shown(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
