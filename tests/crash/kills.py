"""Kill -9 of random processes under load, again and again, with random configuration.

    python -m tests.crash.kills --cycles 200 --seed 1

A cycle is one life of a broker: some of its processes are killed one after another, then it is stopped, or all are killed,
or the supervisor alone. Then `shmq store verify` must be content, and after the next start every message that was ever
acknowledged must be there exactly once and in order.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import psutil

from shmq.inspect.finding import FindingKind
from shmq.inspect.verify import verify_store
from shmq.store.store_files import StorePaths
from tests.crash.workload import Plan
from tests.support.load import Acknowledged, assert_all_there, load_on
from tests.support.processes import assert_gone
from tests.support.shmq_process import ShmqBroker

TOPIC: Final = "killed"
LIVES_PER_STORE: Final = 5
KILLABLE: Final = ("writer", "dispatcher", "conductor", "registrar", "net-0")
ENDS: Final = ("stop", "kill all", "kill supervisor")
RESTARTS: Final = {"restart_delay_ms_min": 10, "restart_delay_ms_max": 50, "restarts_max": 100}
_END_S: Final = 60.0


@dataclass
class Figures:
    """What was done in all."""

    cycles: int = 0
    kills: int = 0
    acknowledged: int = 0
    checked: int = 0

    def __str__(self) -> str:
        return (
            f"{self.cycles} cycles with {self.kills} processes killed one by one; {self.acknowledged} messages "
            f"acknowledged, {self.checked} times one was looked for and was there once"
        )


@dataclass
class Store:
    """A store over several lives of its broker, and what must be in it."""

    directory: Path
    plan: Plan
    acknowledged: list[Acknowledged] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.directory / "store"

    def live(self, number: int, random: Random, figures: Figures) -> None:
        """Start, check, work, kill, end, verify."""
        settings = {**Plan(random.randrange(1 << 30), self.plan.is_sync).settings, **RESTARTS}
        settings |= {
            name: value
            for name, value in self.plan.settings.items()
            if name.endswith(("_file_bytes", "_slots", "_entries"))
        }
        broker = ShmqBroker(self.directory / f"life{number}", store_root=self.root, settings=settings)
        try:
            self._check(broker, figures)
            with load_on(broker.address, TOPIC, tag=f"life{number}") as load:
                load.wait_for_more(random.randint(1, 50))
                for name in random.choices(KILLABLE, k=random.randint(0, 3)):
                    victim = broker.worker(name)
                    victim.kill()
                    psutil.wait_procs([victim], timeout=_END_S)
                    figures.kills += 1
                    load.wait_for_more(random.randint(1, 100))
                end = random.choice(ENDS)
                if end != "stop":
                    _kill(broker, end)
            if end == "stop":
                broker.stop()
        finally:
            broker.discard()
        self.acknowledged += load.acknowledged
        figures.cycles += 1
        figures.acknowledged += len(load.acknowledged)
        self._verify(end)

    def conclude(self, figures: Figures) -> None:
        """Start once more, and stop: all is there, and nothing is left to mend."""
        broker = ShmqBroker(self.directory / "last", store_root=self.root, settings=self.plan.settings)
        try:
            self._check(broker, figures)
            broker.stop()
        finally:
            broker.discard()
        findings = list(verify_store(StorePaths(self.root), self.plan.sizes))
        assert all(each.kind is FindingKind.FILE_FOREIGN and each.is_pending for each in findings), findings

    def _check(self, broker: ShmqBroker, figures: Figures) -> None:
        assert_all_there(broker.address, TOPIC, self.acknowledged)
        for queue_id in range(4):
            told = [each for each in self.acknowledged if each.queue_id == queue_id]
            offsets = [each.queue_offset for each in told]  # in the order in which one producer sent them
            assert offsets == sorted(offsets), f"queue {queue_id} is out of order"
        figures.checked += len(self.acknowledged)

    def _verify(self, end: str) -> None:
        for finding in verify_store(StorePaths(self.root), self.plan.sizes):
            assert finding.is_pending, f"after '{end}', {self.plan}: {finding}"


def run_cycles(cycles: int, seed: int, figures: Figures) -> None:
    """Live so many lives, on a new store every few; each store's last one is checked once more."""
    for first in range(0, cycles, LIVES_PER_STORE):
        random = Random(f"{seed}/{first}")
        directory = Path(tempfile.mkdtemp(prefix="crash-lab-"))
        store = Store(directory, Plan(random.randrange(1 << 30), is_sync=random.random() < 0.5))
        for number in range(first, min(first + LIVES_PER_STORE, cycles)):
            store.live(number, random, figures)
        store.conclude(figures)
        shutil.rmtree(directory)  # it stays where anything was wrong


def _kill(broker: ShmqBroker, end: str) -> None:
    if end == "kill all":
        broker.kill()
        return
    orphans = broker.workers()
    broker.process.signal(signal.SIGKILL)
    broker.process.wait_exit(_END_S)
    assert_gone(orphans, _END_S)


def main() -> int:
    """Do the cycles that were asked for; print figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    figures = Figures()
    try:
        run_cycles(options.cycles, options.seed, figures)
    finally:
        sys.stdout.write(f"seed {options.seed}: {figures}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
