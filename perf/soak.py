"""Does the broker's memory grow, or its rate fall, when it works for long?

    python -m perf.soak                  # 10 minutes
    python -m perf.soak --quick          # half a minute: does this program work?

Workload: a closed loop over TCP (128 B, 8 connections × 64) at whatever rate the broker takes, without a pause. Every
10 seconds the memory of the process tree is weighed: what is private to the processes and what they share by
/dev/shm, without mapped files, whose pages are the page cache's. The first fifth is warm-up. Growth is the slope
of the rest (the median of the slopes of all pairs, so a single outlier says nothing) times its duration; it fails where
growth exceeds both the noise around that line and `GROWTH_MIB_MAX`.

A disk would be full long before: blocks of log and queue files that lie well behind everybody are given back to
the file system as it goes. Their sizes stay, and nobody reads them.

The figures go into the raw files as the workload `soak`, and the samples are printed.
"""

import argparse
import ctypes
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from perf.contestants import Contestant, start_shmq
from perf.harness import (
    OURS,
    Figures,
    Generator,
    Round,
    cpu_seconds,
    machine,
    ping_pong_class,
    proportional_mib,
    revision,
    run_name,
)
from perf.probe import round_trip_ns
from perf.sending import Work, connect

WORKLOAD: Final = "soak, 128 B, 8 × 64"
WORK: Final = Work(8, 64, {"body_bytes": 128})
MINUTES: Final = 10.0
SAMPLE_S: Final = 10.0
QUICK_MINUTES: Final = 0.5
QUICK_SAMPLE_S: Final = 2.0
WARM_UP_SHARE: Final = 0.2
GROWTH_MIB_MAX: Final = 4.0
NOISES: Final = 3.0
KEPT_FILES: Final = 2
LOG_FILE_BYTES: Final = 1 << 28
MESSAGES_MAX: Final = 1 << 40

_PUNCH_HOLE_KEEP_SIZE: Final = 0x02 | 0x01


@dataclass(frozen=True)
class Sample:
    """One look.

    Attributes:
        seconds: since the begin.
        own_mib: private and shared memory of the tree, without files.
        file_mib: mapped files, as far as they are in the page cache.
        rate: messages a second since the sample before.
        cpu_s_per_million: CPU seconds of the tree per million messages since then.
    """

    seconds: float
    own_mib: float
    file_mib: float
    rate: float
    cpu_s_per_million: float


def soak(server: Contestant, load: Generator, minutes: float, sample_s: float) -> list[Sample]:
    """Let it work; return the samples."""
    assert server.broker is not None
    connect(server, load, WORK)
    samples: list[Sample] = []
    begin = time.monotonic()
    while time.monotonic() - begin < minutes * 60:
        cpu_begin = cpu_seconds(server.processes())
        sent = load.ask("send", seconds=sample_s, messages_max=MESSAGES_MAX)
        cpu = cpu_seconds(server.processes()) - cpu_begin
        sizes = proportional_mib(server.processes())
        samples.append(
            Sample(
                time.monotonic() - begin,
                sizes["of it anonymous MiB"] + sizes["of it shared memory MiB"],
                sizes["of it files MiB"],
                sent["messages"] / sent["seconds"],
                cpu / sent["messages"] * 1e6,
            )
        )
        print(line(samples[-1]), flush=True)
        give_back_blocks(server.broker.store_root)
    return samples


def growth_and_noise(samples: Sequence[Sample]) -> tuple[float, float]:
    """Growth of memory over the samples by a robust line, and the spread of the samples around it; both in MiB."""
    seconds = np.array([each.seconds for each in samples])
    own = np.array([each.own_mib for each in samples])
    slopes = [
        (own[j] - own[i]) / (seconds[j] - seconds[i])
        for i, j in itertools.combinations(range(len(samples)), 2)
    ]
    slope = statistics.median(slopes)
    residuals = own - slope * seconds
    noise = float(np.median(np.abs(residuals - np.median(residuals)))) * 1.4826  # a deviation, were it normal
    return float(slope * (seconds[-1] - seconds[0])), noise


def grows(growth_mib: float, noise_mib: float) -> bool:
    """Whether there is growth beyond noise."""
    return growth_mib > max(GROWTH_MIB_MAX, NOISES * noise_mib)


def give_back_blocks(store: Path) -> None:
    """Give the blocks of all but the newest files of the log, and of each queue, back to the file system."""
    folders = [store / "commitlog", *(path for path in (store / "consumequeue").glob("*/*") if path.is_dir())]
    libc = ctypes.CDLL(None, use_errno=True)
    for folder in folders:
        for path in sorted(folder.iterdir())[:-KEPT_FILES]:
            status = path.stat()
            if status.st_blocks == 0:
                continue
            descriptor = os.open(path, os.O_RDWR)
            try:
                size = ctypes.c_long(status.st_size)
                if libc.fallocate(descriptor, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_long(0), size) != 0:
                    raise OSError(ctypes.get_errno(), f"cannot give back the blocks of {path}")
            finally:
                os.close(descriptor)


def line(sample: Sample) -> str:
    """A sample for people."""
    return (
        f"{sample.seconds:7.1f} s  own {sample.own_mib:7.1f} MiB  files {sample.file_mib:8.1f} MiB"
        f"  {sample.rate:11,.0f} messages/s  {sample.cpu_s_per_million:6.2f} CPU s/million"
    )


def note(
    samples: Sequence[Sample], growth_mib: float, noise_mib: float, *, quick: bool, probe_ns: float
) -> None:
    """Append what was found to the raw files."""
    after_ns = round_trip_ns()
    figures: Figures = {
        "messages/s": statistics.median(each.rate for each in samples),
        "CPU s/million messages": statistics.median(each.cpu_s_per_million for each in samples),
        "memory MiB": samples[-1].own_mib,
        "growth MiB": growth_mib,
        "noise MiB": noise_mib,
        "seconds": samples[-1].seconds,
    }
    Round(
        run=run_name(),
        workload=WORKLOAD,
        target="P10",
        contestant=OURS,
        durability="page cache, then disk within 500 ms",
        number=0,
        is_quick=quick,
        figures=figures,
        histograms={},
        ping_pong_before_ns=probe_ns,
        ping_pong_after_ns=after_ns,
        ping_pong_class=ping_pong_class(probe_ns) + ping_pong_class(after_ns),
        machine=machine(),
        revision=revision(),
    ).write()


def main() -> None:
    """Soak, and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--quick", action="store_true", help="half a minute: its figures mean nothing")
    parser.add_argument(
        "--directory", type=Path, help="on which disk; the default is the temporary directory's"
    )
    options = parser.parse_args()
    minutes = QUICK_MINUTES if options.quick else options.minutes
    probe_ns = round_trip_ns()
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        server = start_shmq(Path(folder), {"commit_log_file_bytes": LOG_FILE_BYTES})
        load = Generator(Path(folder), "soak")
        try:
            samples = soak(server, load, minutes, QUICK_SAMPLE_S if options.quick else SAMPLE_S)
            assert server.broker is not None
            server.broker.stop()
        finally:
            load.process.kill()
            server.kill()
    counted = samples[int(len(samples) * WARM_UP_SHARE) :]
    growth_mib, noise_mib = growth_and_noise(counted)
    note(counted, growth_mib, noise_mib, quick=options.quick, probe_ns=probe_ns)
    print(f"growth {growth_mib:+.2f} MiB over {len(counted)} samples, noise {noise_mib:.2f} MiB")
    if grows(growth_mib, noise_mib):
        sys.exit(f"memory grows: {growth_mib:.1f} MiB in {counted[-1].seconds - counted[0].seconds:.0f} s")


if __name__ == "__main__":
    main()
