"""What happens beyond this machine: a model of the stages of a message, fitted to what each costs here.

    python -m perf.scaling_model              # from the raw files of `perf/stage_costs.py`; also part of the report

A message passes four stages, each with cores of its own where there are enough:

    network workers   any number of them; each takes `worker` ns a message
    writer            one; takes `record` ns + `byte` ns for each byte of the record
    dispatcher        one; takes `dispatch` ns a record
    flusher           one; the disk takes the record's bytes at its own speed

So with C cores the rate is the least of

    C / (worker + writer + dispatcher)        while cores are fewer than stages want
    (C - 2) / worker                          workers on what two cores leave over
    1 / writer,  1 / dispatcher               the two single stages
    memory x min(C, MEMORY_CORES) / (TOUCHES x record),  disk / record

and the dearer of the two single stages is saturated from 2 + worker / stage cores on. Farther cores (another NUMA node, or class X of the
probe) make the writer dearer by the factor that a ring between such cores costs, which is measured where the run has
rounds of both classes and otherwise the one of earlier runs. A faster disk moves only the last term.

What the model leaves out: contention of more than one memory channel, hyper-threads that share a core, and the
network itself.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from perf.comparison import newest, of_class, read_all, values
from perf.harness import RAW, Round

WORKLOAD: Final = "stage costs"
BODY_BYTES: Final = (128, 1024, 4096, 16384)
RECORD_OVERHEAD_BYTES: Final = 186
"""What the log adds to a body: the fixed fields, the topic's name, and the properties of the suite."""
DISPATCHER: Final = "dispatcher ns/record"
MEMORY: Final = "memcpy B/s"
DISK: Final = "write and fdatasync B/s"
FLUSH: Final = "flush ns"
CPU: Final = "CPU s/million messages"

TOUCHES: Final = 6
"""How often each byte of a record crosses the memory bus at worst: in and out of socket, ring, log, and to disk."""
MEMORY_CORES: Final = 8
"""So many cores' memcpy is what the memory of one socket gives: an assumption, to be replaced where it is known."""
FAR_FACTOR_KNOWN: Final = 4.6
"""A ring of 128 B records between far cores (class XX) took 4.5 to 4.8 times what it took between near ones."""
CORES: Final = (2, 4, 8, 16, 32, 64)


def writer_measure(body_bytes: int) -> str:
    """The measure of the writer's cost for a body."""
    return f"writer {body_bytes} B ns/record"


@dataclass(frozen=True)
class Costs:
    """What the stages take on a machine.

    Attributes:
        record_ns: of the writer, for a record whatever its length.
        byte_ns: of the writer, for each byte.
        dispatch_ns: of the dispatcher, for a record.
        worker_ns: of a network worker, for a message; 0 where messages come from colocated producers.
        memory_bytes_per_s: of memcpy by one core.
        disk_bytes_per_s: of large writes, each made durable.
        far_factor: how many times dearer the writer is when it is far from who feeds it.
    """

    record_ns: float
    byte_ns: float
    dispatch_ns: float
    worker_ns: float
    memory_bytes_per_s: float
    disk_bytes_per_s: float
    far_factor: float

    def writer_ns(self, record_bytes: int) -> float:
        """The writer's time for a record."""
        return self.record_ns + self.byte_ns * record_bytes

    def far(self) -> "Costs":
        """The same machine with the writer on another node than those who feed it."""
        factor = self.far_factor
        return replace(self, record_ns=self.record_ns * factor, byte_ns=self.byte_ns * factor)

    def with_disk(self, factor: float) -> "Costs":
        """The same machine with another disk."""
        return replace(self, disk_bytes_per_s=self.disk_bytes_per_s * factor)

    def bounds(self, cores: int, body_bytes: int) -> dict[str, float]:
        """Messages a second that each stage allows."""
        size = body_bytes + RECORD_OVERHEAD_BYTES
        writer = self.writer_ns(size)
        single = {"writer": 1e9 / writer, "dispatcher": 1e9 / self.dispatch_ns}
        shared = {"all cores": cores * 1e9 / (self.worker_ns + writer + self.dispatch_ns)}
        if self.worker_ns > 0 and cores > 2:
            shared["network workers"] = (cores - 2) * 1e9 / self.worker_ns
        memory = self.memory_bytes_per_s * min(cores, MEMORY_CORES)
        stuff = {"memory": memory / (TOUCHES * size), "disk": self.disk_bytes_per_s / size}
        return {**shared, **single, **stuff}

    def rate(self, cores: int, body_bytes: int) -> tuple[float, str]:
        """Messages a second, and what bounds them."""
        bounds = self.bounds(cores, body_bytes)
        name = min(bounds, key=lambda each: bounds[each])
        return bounds[name], name

    def saturation(self, body_bytes: int) -> tuple[str, float]:
        """Which of the single stages is the first to be always busy, and how many cores that takes."""
        stages = {
            "writer": self.writer_ns(body_bytes + RECORD_OVERHEAD_BYTES),
            "dispatcher": self.dispatch_ns,
        }
        name = max(stages, key=lambda each: stages[each])
        return name, 2 + self.worker_ns / stages[name]


def read_costs(rounds: Sequence[Round]) -> Costs | None:
    """The costs that a run has measured; None where it has not."""
    stages = [each for each in rounds if each.workload == WORKLOAD]
    if not stages:
        return None
    sizes = np.array(BODY_BYTES) + RECORD_OVERHEAD_BYTES
    writer_ns = [statistics.median(values(stages, writer_measure(size))) for size in BODY_BYTES]
    record_ns, byte_ns = _line(sizes.astype(float), np.array(writer_ns))
    dispatch_ns = statistics.median(values(stages, DISPATCHER))
    whole = [each for each in rounds if each.target == "P1"]
    cpu_s = values(whole, CPU)
    smallest = record_ns + byte_ns * float(sizes[0])
    worker_ns = max(0.0, statistics.median(cpu_s) * 1000 - smallest - dispatch_ns) if cpu_s else 0.0
    return Costs(
        record_ns=record_ns,
        byte_ns=byte_ns,
        dispatch_ns=dispatch_ns,
        worker_ns=worker_ns,
        memory_bytes_per_s=statistics.median(values(stages, MEMORY)),
        disk_bytes_per_s=statistics.median(values(stages, DISK)),
        far_factor=_far_factor(stages),
    )


def table(costs: Costs) -> list[str]:
    """The model's answers as Markdown."""
    lines = [
        (
            f"Writer {costs.record_ns:.0f} ns a record + {costs.byte_ns * 1000:.0f} ns a 1,000 bytes; dispatcher"
            f" {costs.dispatch_ns:.0f} ns; network worker {costs.worker_ns:.0f} ns; memcpy"
            f" {costs.memory_bytes_per_s / 1e9:.1f} GB/s; disk {costs.disk_bytes_per_s / 1e9:.2f} GB/s;"
            f" far cores × {costs.far_factor:.1f}."
        ),
        "",
        "| machine | body | "
        + " | ".join(f"{cores} cores" for cores in CORES)
        + " | single stage that is full first |",
        "| --- | ---: |" + " --- |" * (len(CORES) + 1),
    ]
    machines = {
        "as here": costs,
        "disk × 4": costs.with_disk(4),
        "disk × 16": costs.with_disk(16),
        "writer far, disk × 16": costs.far().with_disk(16),
    }
    for name, machine in machines.items():
        for body_bytes in (128, 1024, 65536):
            cells = [_shown(*machine.rate(cores, body_bytes)) for cores in CORES]
            stage, needed = machine.saturation(body_bytes)
            lines.append(
                f"| {name} | {body_bytes} B | {' | '.join(cells)} | {stage}, from {needed:.1f} cores |"
            )
    return lines


def draw_model(costs: Costs, path: Path) -> Path:
    """Messages a second by cores, for two bodies, near and far."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - measuring a stage needs no pictures

    figure, axes = plt.subplots(figsize=(9, 5))
    cores = range(2, 65)
    for body_bytes in (128, 1024):
        for name, machine in {"near": costs, "far": costs.far()}.items():
            unbounded = machine.with_disk(1e6)
            rates = [unbounded.rate(each, body_bytes)[0] for each in cores]
            axes.plot(list(cores), rates, label=f"{body_bytes} B, writer {name}")
        disk = costs.disk_bytes_per_s / (body_bytes + RECORD_OVERHEAD_BYTES)
        axes.axhline(disk, linestyle=":", color="grey", linewidth=0.9)
        axes.annotate(f"this disk, {body_bytes} B", (2, disk), fontsize="small", va="bottom")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("cores")
    axes.set_ylabel("messages/s")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path


def _line(sizes: np.ndarray, costs: np.ndarray) -> tuple[float, float]:
    """Intercept and slope, neither below zero, with errors weighed by the cost: small records count as much."""
    design = np.stack([np.ones_like(sizes), sizes], axis=1) / costs[:, None]
    (intercept, slope), *_ = np.linalg.lstsq(design, np.ones_like(costs), rcond=None)
    if intercept <= 0:
        return 0.0, float(np.mean(costs / sizes))
    return float(intercept), float(max(slope, 0.0))


def _far_factor(stages: Sequence[Round]) -> float:
    measure = writer_measure(BODY_BYTES[0])
    near, far = values(of_class(stages, "NN"), measure), values(of_class(stages, "XX"), measure)
    if near and far:
        return max(1.0, statistics.median(far) / statistics.median(near))
    return FAR_FACTOR_KNOWN


def _shown(rate: float, bound: str) -> str:
    return f"{rate / 1e6:.2f} M ({bound})"


def main() -> None:
    """Print the table."""
    costs = read_costs(newest(read_all(RAW), quick=True))
    if costs is None:
        raise SystemExit(f"no rounds of {WORKLOAD!r} in {RAW}: run `pytest perf/stage_costs.py` first")
    print("\n".join(table(costs)))


if __name__ == "__main__":
    main()
