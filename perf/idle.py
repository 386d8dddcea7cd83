"""What does a broker cost that nobody uses?

Workload: a broker on an empty store with its embedded name server, 20 seconds after it is ready, then left alone for
30 seconds, in which it registers once. Units: CPU time of its whole process tree as per cent of one core, from the
scheduler's own account in nanoseconds; switches to its threads a second; MiB of proportional set size.
Machine: see the sheet's first lines.

Peers: RocketMQ's own broker and name server, idle as well, one after the other.
"""

import time
from functools import partial
from pathlib import Path

import psutil

from perf.conftest import Arena
from perf.contestants import Contestant, start_shmq
from perf.harness import Contest, Figures, memory

SETTLE_S = 20.0
QUICK_SETTLE_S = 3.0
IDLE_S = 30.0
QUICK_IDLE_S = 3.0
NS = 1_000_000_000


def test_idle(contest: Contest, arena: Arena) -> None:
    servers = [*arena.enter_peers("java"), arena.enter(start_shmq)]
    time.sleep(QUICK_SETTLE_S if contest.options.is_quick else SETTLE_S)
    seconds = QUICK_IDLE_S if contest.options.is_quick else IDLE_S

    def look_at(server: Contestant) -> Figures:
        processes = server.processes()
        before, begin_ns = scheduled(processes), time.monotonic_ns()
        time.sleep(seconds)  # this is the workload: nothing
        after, elapsed_ns = scheduled(processes), time.monotonic_ns() - begin_ns
        return {
            "CPU % of a core": (after[0] - before[0]) / elapsed_ns * 100,
            "switches/s": (after[1] - before[1]) / elapsed_ns * NS,
            **memory(processes),
        }

    contest.run(
        "idle",
        {server.name: partial(look_at, server) for server in servers},
        warm_up_turns=0,
        target="P10",
    )


def scheduled(processes: list[psutil.Process]) -> tuple[int, int]:
    """Nanoseconds on a CPU, and how often put on one, of all threads."""
    on_cpu_ns = switches = 0
    for process in processes:
        for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            ran_ns, _, count = path.read_text(encoding="ascii").split()
            on_cpu_ns += int(ran_ns)
            switches += int(count)
    return on_cpu_ns, switches
