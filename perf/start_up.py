"""How long does `shmq-supervisor` take until it serves?

Workload: start on an empty store, until the line `shmq ready`: the name server answers, the broker is registered and
accepts. `warm` finds its machine code in the cache, as every start but the first does; the target is below 2 s.
`cold` has an empty cache and compiles every kernel. Units: seconds from fork to the line; CPU seconds of the
processes that are there by then.
Machine: see the sheet's first lines.

Peers: a Python that imports what any Numba program must, and ends; RocketMQ's own broker alone, its name server
being up already.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psutil
import pytest

from perf.contestants import JAVA, start_java_broker
from perf.harness import OURS, ROOT, Contest, Figures, cpu_seconds
from tests.support.java import JavaNameServer
from tests.support.java_build import build
from tests.support.shmq_process import ShmqBroker

TARGET_S = 2.0
SECONDS = "seconds"
CPU = "CPU seconds"


@pytest.fixture
def name_server(contest: Contest, tmp_path: Path) -> Iterator[JavaNameServer | None]:
    if not contest.options.java:
        yield None
        return
    build()
    started = JavaNameServer(tmp_path / "namesrv")
    yield started
    started.process.kill()


def test_warm_start(contest: Contest, tmp_path: Path, name_server: JavaNameServer | None) -> None:
    contestants: dict[str, Callable[[], Figures]] = {"import numba": import_numba}
    numbers = count()
    if name_server is not None:
        contestants[JAVA] = lambda: java_start(tmp_path / f"java-{next(numbers)}", name_server)
    contestants[OURS] = lambda: shmq_start(tmp_path / f"shmq-{next(numbers)}")
    turns = contest.run("start, warm", contestants, target="P10")[OURS]
    within = sum(turn[SECONDS] < TARGET_S for turn in turns)
    print(f"\ntarget: below {TARGET_S} s; reached in {within} of {len(turns)} warm starts")


def test_cold_start(contest: Contest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = count()

    def compile_and_start() -> Figures:
        directory = tmp_path / str(next(numbers))
        monkeypatch.setenv("SHMQ_CACHE_DIR", str(directory / "cache"))
        return shmq_start(directory)

    contest.run("start, cold", {OURS: compile_and_start}, warm_up_turns=0)


def shmq_start(directory: Path) -> Figures:
    """Start ours; stopping it is not measured."""
    begin = time.monotonic()
    broker = ShmqBroker(directory)
    figures = {SECONDS: time.monotonic() - begin}
    figures[CPU] = cpu_seconds([psutil.Process(broker.process.pid), *broker.workers()])
    broker.stop()
    return figures


def java_start(directory: Path, name_server: JavaNameServer) -> Figures:
    """Start RocketMQ's broker, until it is registered."""
    begin = time.monotonic()
    broker = start_java_broker(directory, name_server)
    figures = {SECONDS: time.monotonic() - begin}
    figures[CPU] = cpu_seconds([psutil.Process(broker.process.pid)])
    broker.kill()
    return figures


def import_numba() -> Figures:
    """A Python process that comes no further than the compiler's import."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", "import numba"], cwd=ROOT, check=True)
    return {SECONDS: time.monotonic() - begin}
