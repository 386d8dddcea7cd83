"""What the questions of `perf/` share: rounds of several contestants in turn, what they cost, a sheet of figures.

A figure means nothing on a shared machine but beside another of the same minute. So each round runs every peer
and then shmq, and a ratio is taken within the round; the sheet gives the median of the rounds and their extremes.
pytest-benchmark times shmq's turn; everything else that was measured goes into its `extra_info`, and every turn
as a `Round` into a file of JSON lines below `perf/results/raw/`, from which `make perf-report` draws.

How near two cores are (`perf/probe.py`) is looked at before and after each turn. Its class is two letters, one for
each look: S same core (below 80 ns), N near (below 250 ns), X far.
"""

import dataclasses
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil
from pytest_benchmark.fixture import BenchmarkFixture

from perf.histogram import Histogram
from perf.probe import round_trip_ns
from shmq.jit import cache_directory
from tests.support.processes import Process

OURS: Final = "shmq"
ROOT: Final = Path(__file__).resolve().parent.parent
RAW: Final = ROOT / "perf" / "results" / "raw"
REPLY_DEADLINE_S: Final = 600.0
QUICK_SECONDS: Final = 0.3
QUICK_SCALE: Final = 0.02

Figures = dict[str, float]
"""What one turn of one contestant gave, by measure: the measure's name ends with its unit."""

_RAW_ONLY: Final = ("p90 ", "p99.99 ", "max ")
"""Measures that would make the sheet long; the raw file has them."""
_SAME_CORE_NS: Final = 80.0
_NEAR_NS: Final = 250.0


@dataclass(frozen=True)
class Measured:
    """What a turn gave, where figures are not all of it.

    Attributes:
        figures: the figures.
        histograms: latencies in nanoseconds, by the same names.
    """

    figures: Figures
    histograms: Mapping[str, Histogram] = field(default_factory=dict)


Turn = Callable[[], Figures | Measured]
"""Lets one contestant take its turn."""


@dataclass(frozen=True)
class Round:
    """One turn of one contestant: a line of a raw file.

    Attributes:
        run: when the session began; one for all questions of a session.
        workload: the question, such as `send 128 B, 8 × 64`.
        target: which target of the project it speaks for, such as `P1`; "" for none.
        contestant: who took the turn; `shmq` is ours.
        durability: what an acknowledgement promised, such as `async flush`.
        number: of the round, from 0; turns of one number were taken one after another.
        is_quick: whether the session only tried the suite out: its figures mean nothing.
        figures: by measure. `messages/s`; `CPU s/million messages` of the contestant's whole process tree, and
            `load CPU s/million messages`; `PSS MiB` and `RSS MiB` of the tree after the turn; `p50 µs` and its like.
        histograms: as `perf/histogram.py` writes them.
        ping_pong_before_ns: a flag's way to another core and back, before the turn.
        ping_pong_after_ns: the same after it.
        ping_pong_class: two letters of S, N, X.
        machine: what it was measured on.
        revision: of the source.
    """

    run: str
    workload: str
    target: str
    contestant: str
    durability: str
    number: int
    is_quick: bool
    figures: Figures
    histograms: dict[str, Any]
    ping_pong_before_ns: float
    ping_pong_after_ns: float
    ping_pong_class: str
    machine: str
    revision: str

    def write(self) -> None:
        """Append it to the raw file of its run."""
        RAW.mkdir(parents=True, exist_ok=True)
        with (RAW / f"{self.run}.jsonl").open("a", encoding="utf-8") as raw:
            raw.write(json.dumps(dataclasses.asdict(self), ensure_ascii=False) + "\n")


def read_rounds(path: Path) -> list[Round]:
    """The rounds of a raw file."""
    return [Round(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Options:
    """How much is measured.

    Attributes:
        rounds: turns of each contestant.
        seconds: how long a turn that ends by the clock takes.
        scale: multiplies the messages of a turn that ends by their number; below 1 to try the suite out.
        peers: names of the peers that take part, of those in `perf/contestants.py`.
        is_quick: whether this only tries the suite out.
        run: when the session began.
    """

    rounds: int
    seconds: float
    scale: float
    peers: frozenset[str]
    is_quick: bool
    run: str

    @property
    def java(self) -> bool:
        """Whether RocketMQ's own broker takes part."""
        return "java" in self.peers

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
        measures = dict.fromkeys(
            name
            for each in turns.values()
            for turn in each
            for name in turn
            if not any(raw in name for raw in _RAW_ONLY)
        )
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
        self,
        question: str,
        contestants: Mapping[str, Turn],
        *,
        warm_up_turns: int = 1,
        durability: Mapping[str, str] | str = "",
        target: str = "",
    ) -> dict[str, list[Figures]]:
        """Let every contestant take its turn in each round, after some that do not count; return what they gave.

        Args:
            question: what is measured, as it appears in the sheet.
            contestants: who takes turns, and how; `shmq` must be one of them, and comes last in each round.
            warm_up_turns: turns of each that do not count.
            durability: what an acknowledgement promises, for each contestant or for all.
            target: which target of the project this speaks for.
        """
        turns: dict[str, list[Figures]] = {name: [] for name in contestants}
        promises = {
            name: durability if isinstance(durability, str) else durability.get(name, "") for name in turns
        }
        for _ in range(warm_up_turns):
            for take_turn in contestants.values():
                take_turn()

        def one(name: str) -> None:
            before_ns = round_trip_ns()
            gave = contestants[name]()
            after_ns = round_trip_ns()
            measured = gave if isinstance(gave, Measured) else Measured(gave)
            self._note(
                question, target, name, promises[name], len(turns[name]), measured, (before_ns, after_ns)
            )
            turns[name].append(measured.figures)

        def peers() -> None:
            for name in contestants:
                if name != OURS:
                    one(name)

        pedantic: Any = self.benchmark.pedantic  # untyped in pytest-benchmark
        pedantic(lambda: one(OURS), setup=peers, rounds=self.options.rounds, iterations=1)
        self.sheet.add(question, turns)
        for name, each in turns.items():
            self.benchmark.extra_info[name] = each
        return turns

    def _note(  # noqa: PLR0913, PLR0917 - the parts of a line
        self,
        question: str,
        target: str,
        contestant: str,
        durability: str,
        number: int,
        measured: Measured,
        ping_pong_ns: tuple[float, float],
    ) -> None:
        Round(
            run=self.options.run,
            workload=question,
            target=target,
            contestant=contestant,
            durability=durability,
            number=number,
            is_quick=self.options.is_quick,
            figures=measured.figures,
            histograms={name: each.to_json() for name, each in measured.histograms.items()},
            ping_pong_before_ns=ping_pong_ns[0],
            ping_pong_after_ns=ping_pong_ns[1],
            ping_pong_class="".join(map(ping_pong_class, ping_pong_ns)),
            machine=machine(),
            revision=revision(),
        ).write()


class Generator:
    """A process that generates load (see `perf/load_generator.py`)."""

    def __init__(self, directory: Path, name: str) -> None:
        command: list[str | Path] = [sys.executable, "-m", "perf.load_generator"]
        self.process = Process(
            command,
            log_path=directory / f"{name}.log",
            directory=ROOT,
            environment={"NUMBA_CACHE_DIR": kernel_cache()},
        )

    def tell(self, job: str, **arguments: Any) -> None:
        """Give it a job."""
        self.process.say(json.dumps({"job": job, **arguments}))

    def hear(self) -> dict[str, Any]:
        """Wait for its next line."""
        line = self.process.wait_line(lambda line: line.startswith("{"), REPLY_DEADLINE_S)
        heard: dict[str, Any] = json.loads(line)
        if "failed" in heard:
            raise AssertionError(heard["failed"])
        return heard

    def ask(self, job: str, **arguments: Any) -> dict[str, Any]:
        """Give it a job and wait until it is done."""
        self.tell(job, **arguments)
        return self.hear()


def ping_pong_class(nanoseconds: float) -> str:
    """S for two threads of one core, N for near cores, X for far ones."""
    if nanoseconds < _SAME_CORE_NS:
        return "S"
    return "N" if nanoseconds < _NEAR_NS else "X"


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


def resident_mib(processes: Sequence[psutil.Process]) -> float:
    """Resident memory, shared pages counted in every process that has touched them."""
    return float(sum(process.memory_info().rss for process in processes)) / (1 << 20)


def memory(processes: Sequence[psutil.Process]) -> Figures:
    """The two sizes of a process tree that every turn of a server notes."""
    return {"PSS MiB": proportional_mib(processes)["PSS MiB"], "RSS MiB": resident_mib(processes)}


def kernel_cache() -> str:
    """Where machine code of this very source of the suite is kept; Numba would miss a callee that has changed."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "perf").glob("**/*.py")):
        digest.update(path.read_bytes())
    broker_cache = cache_directory()
    return str(broker_cache.with_name(f"perf-{broker_cache.name}-{digest.hexdigest()[:16]}"))


def run_name() -> str:
    """A name for a session that begins now."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.getpid()}"


def revision() -> str:
    """The commit that is measured, with `+` where files differ from it."""
    git = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    found = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "no repository"


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
