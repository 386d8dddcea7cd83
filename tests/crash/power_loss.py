"""Power loss: cut the recorded history of a broker's disk anywhere, recover what is left, check the promises.

    python -m tests.crash.power_loss --seconds 600 --seed 1

Under SYNC_FLUSH each acknowledged message must be there; under ASYNC_FLUSH each whose part of the log was synced, with all
before it. Both: nothing is there twice, out of order, or that was never sent; a second recovery changes nothing;
`shmq store verify` is content. Some recoveries are recorded as well, and cut again; on some of what was recovered a real
broker is started, which must serve all of it and take more.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from tests.crash.cut import Fate, make_image
from tests.crash.journal import Journal
from tests.crash.promises import Sent, Verdict, check, flushed_end
from tests.crash.restarts import record_recovery, serve_again
from tests.crash.workload import Plan, Run, record_run

KILLABLE: Final = ("writer", "dispatcher", "conductor", "net-0")
_MEMORY: Final = Path("/dev/shm")
_FAULTS_TOLD: Final = 50


@dataclass
class Figures:
    """What was done in all, and what was wrong."""

    runs: int = 0
    moments: int = 0
    syncs: int = 0
    acknowledged: int = 0
    boundaries: int = 0
    boundaries_cut: int = 0
    cuts: int = 0
    recoveries_cut: int = 0
    brokers_started: int = 0
    promised: int = 0
    lost: int = 0
    torn: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, where: str, verdict: Verdict) -> None:
        """Count what a check has found."""
        self.lost += verdict.lost
        self.torn += verdict.torn
        self.faults += [f"{where}: {fault}" for fault in verdict.faults]

    def __str__(self) -> str:
        return (
            f"{self.runs} recorded runs with {self.syncs} syncs and {self.acknowledged} acknowledged messages; "
            f"{self.cuts} cuts, at {self.boundaries_cut} of {self.boundaries} sync boundaries, and "
            f"{self.recoveries_cut} within recovery; {self.brokers_started} brokers started on what was left; "
            f"{self.promised} messages looked for, {self.lost} lost; {self.torn} unsynced ones without their "
            f"properties; {len(self.faults)} faults"
        )


@contextmanager
def in_memory() -> Iterator[Path]:
    """A directory whose syncs cost nothing, for the time of a block."""
    with tempfile.TemporaryDirectory(
        prefix="crash-lab-", dir=_MEMORY if _MEMORY.is_dir() else None
    ) as directory:
        yield Path(directory)


def promised(run: Run, moment: int, directory: Path) -> list[Sent]:
    """What must be there when the power went after a moment."""
    acknowledged = [sent for at, sent in run.acknowledged if at <= moment]
    if run.plan.is_sync:
        return acknowledged
    image = directory / "synced"
    make_image(run.journal, moment, Fate(Random(0), "nothing", "nothing"), image)
    end = flushed_end(image, run.plan.sizes)
    shutil.rmtree(image)
    return [sent for sent in acknowledged if sent.position < end]


def cut(journal: Journal, moment: int, random: Random, image: Path) -> Fate:
    """Make one of the possible images of a moment."""
    shutil.rmtree(image, ignore_errors=True)
    fate = Fate(random)
    make_image(journal, moment, fate, image)
    return fate


def sync_boundaries(run: Run) -> list[int]:
    """Right before and right after each sync that was made."""
    return sorted({at for moment, _ in run.journal.syncs for at in (moment - 1, moment)})


def examine(run: Run, moments: list[int], directory: Path, figures: Figures, until: float) -> int:
    """Cut a run at these moments, for as long as there is time; return at how many."""
    image = directory / "image"
    for number, moment in enumerate(moments):
        if time.monotonic() > until:
            return number
        random = Random(f"{run.plan.seed}/{moment}/{figures.cuts}")
        wanted = promised(run, moment, directory)
        fate = cut(run.journal, moment, random, image)
        verdict = check(image, run.plan.sizes, wanted, run.attempted, is_sync=run.plan.is_sync)
        figures.cuts += 1
        figures.promised += len(wanted)
        figures.add(f"{run.plan}, moment {moment}, pages {fate.pages}, names {fate.names}", verdict)
    return len(moments)


def examine_recovery(run: Run, moment: int, cuts: int, directory: Path, figures: Figures) -> None:
    """Cut the recovery of one cut, at random moments."""
    random = Random(f"{run.plan.seed}/{moment}/recovery")
    wanted = promised(run, moment, directory)
    image = directory / "recovered"
    first = cut(run.journal, moment, random, image)
    journal = record_recovery(image, run.plan)
    again = directory / "image"
    for _ in range(cuts):
        second_moment = random.randrange(1, journal.moment + 1)
        fate = cut(journal, second_moment, random, again)
        verdict = check(again, run.plan.sizes, wanted, run.attempted, is_sync=run.plan.is_sync)
        figures.cuts += 1
        figures.recoveries_cut += 1
        figures.promised += len(wanted)
        where = f"moment {moment} ({first.pages}, {first.names}), then {second_moment} of its recovery"
        figures.add(f"{run.plan}, {where} ({fate.pages}, {fate.names})", verdict)


def start_broker_on(run: Run, moment: int, directory: Path, figures: Figures) -> None:
    """Start a real broker on what one cut left."""
    random = Random(f"{run.plan.seed}/{moment}/broker")
    wanted = promised(run, moment, directory)
    store_root = directory / "broker" / "store"
    shutil.rmtree(store_root.parent, ignore_errors=True)
    store_root.parent.mkdir()
    fate = cut(run.journal, moment, random, store_root)
    verdict = serve_again(store_root, run.plan, wanted)
    figures.brokers_started += 1
    figures.add(f"{run.plan}, broker on moment {moment} ({fate.pages}, {fate.names})", verdict)


def record(plan: Plan, figures: Figures) -> Run:
    """Record one run, on a disk that need not be real."""
    with in_memory() as directory:
        run = record_run(directory, plan)
    figures.runs += 1
    figures.moments += run.journal.moment
    figures.syncs += len(run.journal.syncs)
    figures.acknowledged += len(run.acknowledged)
    return run


def main() -> int:
    """Work for as long as was asked; print figures; 1 where anything was not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    figures = Figures()
    number = 0
    while time.monotonic() < until:
        random = Random(f"{options.seed}/{number}")
        plan = Plan(
            seed=options.seed + number,
            is_sync=number % 3 != 2,
            messages=random.choice((60, 150, 400)),
            end=random.choice(("stop", "kill")),
            killed=tuple(random.sample(KILLABLE, random.choice((0, 0, 1, 2)))),
        )
        number += 1
        run = record(plan, figures)
        with in_memory() as directory:
            moments = sync_boundaries(run)
            random.shuffle(moments)
            figures.boundaries += len(moments)
            for _ in range(2):
                examine_recovery(run, random.choice(moments), 20, directory, figures)
            start_broker_on(run, random.choice(moments), directory, figures)
            figures.boundaries_cut += examine(run, moments, directory, figures, until)
            others = [random.randrange(1, run.journal.moment + 1) for _ in range(len(moments) // 4)]
            examine(run, others, directory, figures, until)
        _tell(f"{plan}: {figures}")
    for fault in figures.faults[:_FAULTS_TOLD]:
        _tell(f"FAULT {fault}")
    _tell(f"seed {options.seed}: {figures}")
    return 1 if figures.faults else 0


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
