"""How much memory does the whole process tree take?

Workload: a broker on an empty store with its embedded name server, all of its processes; first idle, just started,
then after 20,000 messages of 128 bytes were sent to it. Unit: MiB of proportional set size (a page that several
processes map is divided among them), and what it is made of: the processes' own (anonymous), the broker's shared
memory, mapped files. The store's pages count for as long as they are in the page cache, whose they are; so compare
what is anonymous and shared. The shared segment is reserved whole when it is made, though a process maps a page of it
only when it touches it: `shared segment` is what it takes in any case. A start for each round, with the kernels in the
cache: the broker that compiles them keeps more.
Machine: see the sheet's first lines.

Peers: one Python that has imported Numba and sleeps; RocketMQ's own broker and name server, with heaps of at most
512 MiB each.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psutil
import pytest

from perf.conftest import Arena
from perf.contestants import JAVA, Contestant, start_java, start_shmq
from perf.harness import OURS, ROOT, Contest, Figures, proportional_mib
from perf.sending import Work, connect

MESSAGES = 20_000
SECONDS_MAX = 60.0
BODY_BYTES = 128
BLOCK_BYTES = 512

_SLEEPER = "import numba, sys; print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    """A Python process with Numba and nothing to do."""
    command = [sys.executable, "-c", _SLEEPER]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield psutil.Process(process.pid)
        process.kill()


def test_idle(contest: Contest, tmp_path: Path, sleeper: psutil.Process) -> None:
    measure(contest, "memory, idle", tmp_path, sleeper, lambda _: None)


def test_after_messages(contest: Contest, tmp_path: Path, sleeper: psutil.Process, arena: Arena) -> None:
    load = arena.load()
    work = Work(8, 64, {"body_bytes": BODY_BYTES})
    messages = contest.options.messages(MESSAGES)

    def send(server: Contestant) -> None:
        connect(server, load, work)
        load.ask("send", seconds=SECONDS_MAX, messages_max=messages)

    measure(contest, "memory, after messages", tmp_path, sleeper, send)


def measure(
    contest: Contest,
    question: str,
    directory: Path,
    sleeper: psutil.Process,
    use: Callable[[Contestant], None],
) -> None:
    """Start servers anew in each round, use them, and weigh them."""
    numbers = count()
    start_shmq(directory / "first").stop()  # it may have compiled

    def weigh(start: Callable[[Path], Contestant]) -> Callable[[], Figures]:
        def take_turn() -> Figures:
            server = start(directory / str(next(numbers)))
            try:
                use(server)
                processes = server.processes()
                figures = {"processes": len(processes), **proportional_mib(processes)}
                if server.broker is not None:
                    reserved = sum(each.stat().st_blocks * BLOCK_BYTES for each in server.broker.segments())
                    figures["shared segment MiB"] = reserved / (1 << 20)
                return figures
            finally:
                server.kill()

        return take_turn

    contestants = {"Python with Numba": lambda: {"processes": 1.0, **proportional_mib([sleeper])}}
    if contest.options.java:
        contestants[JAVA] = weigh(start_java)
    contestants[OURS] = weigh(start_shmq)
    contest.run(question, contestants, warm_up_turns=0, target="P10")
