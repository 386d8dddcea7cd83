"""The pictures of the report, each drawn from the rounds of a run: SVG, the same bytes for the same figures.

Bars are medians with their least and most. A latency curve has the percentiles on a scale that stretches towards
100 %, so that tails can be read; a scaling curve has the number that a workload's name states (`50,000 queues`).
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from perf.comparison import ratios, spread, values
from perf.harness import OURS, Round
from perf.histogram import Histogram

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "shmq"
mpl.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot as plt  # noqa: E402 - the backend is chosen first

RATE: Final = "messages/s"
CPU: Final = "CPU s/million messages"
SCALES: Final = ("queues", "connections", "producers")

_SCALE: Final = re.compile(rf"([\d,]+) ({'|'.join(SCALES)})")
_PERCENTILES: Final = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)


def draw_all(rounds: Sequence[Round], folder: Path) -> list[Path]:
    """Every picture that the rounds have figures for."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [
        draw_ratios(rounds, folder / "throughput_ratios.svg"),
        draw_cpu(rounds, folder / "cpu_per_million.svg"),
        *(
            draw_latency(rounds, workload, folder)
            for workload in _workloads(rounds)
            if _has_latencies(rounds, workload)
        ),
        *(draw_scaling(rounds, scale, folder / f"scaling_{scale}.svg") for scale in SCALES),
    ]
    return [path for path in drawn if path is not None]


def draw_ratios(rounds: Sequence[Round], path: Path) -> Path | None:
    """By workload and peer: how many times a peer's rate ours is."""
    labels, found = [], []
    for workload in _workloads(rounds):
        mine = _of(rounds, workload)
        for peer in _contestants(mine):
            gave = ratios(mine, RATE, peer)
            if peer != OURS and gave:
                labels.append(f"{workload}: {peer}")
                found.append(spread(gave))
    if not found:
        return None
    figure, axes = _canvas(len(labels))
    _bars(axes, labels, found)
    axes.set_xscale("log")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel("messages/s of shmq, divided by the peer's in the same round")
    return _save(figure, path)


def draw_cpu(rounds: Sequence[Round], path: Path) -> Path | None:
    """By workload and contestant: CPU seconds of its whole process tree for a million messages."""
    labels, found = [], []
    for workload in _workloads(rounds):
        mine = _of(rounds, workload)
        for contestant in _contestants(mine):
            gave = values(mine, CPU, contestant)
            if gave:
                labels.append(f"{workload}: {contestant}")
                found.append(spread(gave))
    if not found:
        return None
    figure, axes = _canvas(len(labels))
    _bars(axes, labels, found, [label.endswith(f": {OURS}") for label in labels])
    axes.set_xscale("log")
    axes.set_xlabel(CPU)
    return _save(figure, path)


def draw_latency(rounds: Sequence[Round], workload: str, folder: Path) -> Path | None:
    """Percentile curves of one workload, the rounds of a contestant added up."""
    figure, axes = plt.subplots(figsize=(9, 5))
    for (contestant, name), histogram in _histograms(_of(rounds, workload)).items():
        latencies, shares = histogram.curve()
        shares = np.minimum(shares, 1 - 0.5 / max(1, histogram.count))
        axes.step(stretched(shares), latencies / 1000, where="post", label=f"{contestant}: {name}")
    axes.set_xticks(stretched(np.array(_PERCENTILES) / 100), [f"{each:g} %" for each in _PERCENTILES])
    axes.set_yscale("log")
    axes.set_ylabel("µs from the planned time")
    axes.set_title(workload)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    return _save(figure, folder / f"latency_{slug(workload)}.svg")


def draw_scaling(rounds: Sequence[Round], scale: str, path: Path) -> Path | None:
    """What a message costs by the number of queues, connections or producers."""
    curves: dict[tuple[str, str], dict[int, list[float]]] = {}
    for each in rounds:
        found = scale_of(each.workload)
        if found is not None and found[1] == scale and CPU in each.figures:
            curve = curves.setdefault((found[2], each.contestant), {})
            curve.setdefault(found[0], []).append(each.figures[CPU])
    if not any(len(curve) > 1 for curve in curves.values()):
        return None
    figure, axes = plt.subplots(figsize=(9, 5))
    for (rest, contestant), curve in curves.items():
        points = sorted(curve)
        spreads = [spread(curve[point]) for point in points]
        below = [each.median - each.least for each in spreads]
        above = [each.most - each.median for each in spreads]
        medians = [each.median for each in spreads]
        axes.errorbar(points, medians, [below, above], marker="o", capsize=3, label=f"{rest}: {contestant}")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(scale)
    axes.set_ylabel(CPU)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    return _save(figure, path)


def scale_of(workload: str) -> tuple[int, str, str] | None:
    """The number, what it counts, and the rest of the name, where a workload states one."""
    found = _SCALE.search(workload)
    if found is None:
        return None
    return int(found[1].replace(",", "")), found[2], _SCALE.sub(r"\2", workload)


def stretched(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of all on a scale on which each further nine is as far again."""
    return np.asarray(-np.log10(1 - shares))


def slug(text: str) -> str:
    """A text as a file's name."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _histograms(rounds: Iterable[Round]) -> dict[tuple[str, str], Histogram]:
    summed: dict[tuple[str, str], Histogram] = {}
    for each in rounds:
        for name, kept in each.histograms.items():
            summed.setdefault((each.contestant, name), Histogram()).add(Histogram.from_json(kept))
    return {key: histogram for key, histogram in summed.items() if histogram.count}


def _has_latencies(rounds: Sequence[Round], workload: str) -> bool:
    return any(each.histograms for each in _of(rounds, workload))


def _of(rounds: Sequence[Round], workload: str) -> list[Round]:
    return [each for each in rounds if each.workload == workload]


def _workloads(rounds: Iterable[Round]) -> list[str]:
    return list(dict.fromkeys(each.workload for each in rounds))


def _contestants(rounds: Iterable[Round]) -> list[str]:
    return list(dict.fromkeys(each.contestant for each in rounds))


def _canvas(bars: int) -> tuple[Any, Any]:
    return plt.subplots(figsize=(11, 1.2 + 0.26 * bars))


def _bars(
    axes: Any, labels: list[str], found: Sequence[tuple[float, float, float]], ours: Sequence[bool] = ()
) -> None:
    medians = [each[0] for each in found]
    errors = [[each[0] - each[1] for each in found], [each[2] - each[0] for each in found]]
    colours = ["tab:orange" if mark else "tab:blue" for mark in (ours or [False] * len(found))]
    axes.barh(range(len(labels)), medians, xerr=errors, color=colours, capsize=2, height=0.7)
    axes.set_yticks(range(len(labels)), labels, fontsize="small")
    axes.invert_yaxis()
    axes.grid(visible=True, axis="x", alpha=0.3)


def _save(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path
