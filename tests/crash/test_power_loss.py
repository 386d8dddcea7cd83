"""Power loss, shortly: a few dozen cuts of two small runs. `make crash` does it at length."""

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.crash.cut import Fate, make_image
from tests.crash.power_loss import (
    Figures,
    examine,
    examine_recovery,
    in_memory,
    start_broker_on,
    sync_boundaries,
)
from tests.crash.promises import check
from tests.crash.system_calls import is_permitted
from tests.crash.watcher import Lie
from tests.crash.workload import Plan, Run, record_run

pytestmark = pytest.mark.skipif(
    not is_permitted(), reason="seccomp's user notification is not permitted here"
)

CUTS: Final = 40
ENOUGH_S: Final = 200.0


@pytest.fixture(scope="module", params=[True, False], ids=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with in_memory() as directory:
        yield record_run(directory, Plan(seed=7, is_sync=request.param, messages=120))


@pytest.fixture
def memory() -> Iterator[Path]:
    with in_memory() as directory:
        yield directory


def assert_kept(figures: Figures) -> None:
    assert not figures.faults, "\n".join(figures.faults)
    assert figures.lost == 0


def test_what_was_promised_survives_a_cut_anywhere(run: Run, memory: Path) -> None:
    figures = Figures()
    moments = Random(run.plan.seed).sample(sync_boundaries(run), CUTS)
    examine(run, moments, memory, figures, time.monotonic() + ENOUGH_S)
    assert_kept(figures)
    assert figures.cuts == CUTS
    assert figures.promised > CUTS


def test_after_a_clean_stop_nothing_can_be_lost(run: Run, memory: Path) -> None:
    acknowledged = [sent for _, sent in run.acknowledged]
    assert run.is_closed
    assert len(acknowledged) >= run.plan.messages
    for pages, names in (("nothing", "nothing"), ("torn", "prefixes"), ("few", "some directories")):
        image = memory / f"{pages}-{names}"
        make_image(run.journal, run.journal.moment, Fate(Random(1), pages, names), image)
        verdict = check(image, run.plan.sizes, acknowledged, run.attempted, is_sync=True)
        assert not verdict.faults, (pages, names, verdict.faults)


def test_a_cut_recovery_is_recovered(run: Run, memory: Path) -> None:
    figures = Figures()
    middle = run.journal.syncs[len(run.journal.syncs) * 2 // 3][0]
    examine_recovery(run, middle, 10, memory, figures)
    assert_kept(figures)


@pytest.mark.parametrize("run", [True], indirect=True, ids=["sync"])
def test_a_broker_serves_what_was_promised_and_takes_more(run: Run, memory: Path) -> None:
    figures = Figures()
    start_broker_on(run, run.journal.syncs[len(run.journal.syncs) // 2][0], memory, figures)
    assert_kept(figures)


@pytest.mark.parametrize("lie", list(Lie))
def test_a_disk_that_lies_about_the_log_is_found_out(lie: Lie) -> None:
    """Else the laboratory would be content with anything. EARLY is what a broker does that does not wait for the disk."""

    def rule(call: str, path: str) -> Lie | None:
        return lie if call == "msync" and "/commitlog/" in path else None

    with in_memory() as directory:
        run = record_run(directory, Plan(seed=9, is_sync=True, messages=40), rule)
        lost = 0
        for number, (moment, _) in enumerate(run.acknowledged[::4]):
            image = directory / f"image{number}"
            make_image(run.journal, moment, Fate(Random(0), "nothing", "all"), image)
            wanted = [sent for at, sent in run.acknowledged if at <= moment]
            lost += check(image, run.plan.sizes, wanted, run.attempted, is_sync=False).lost
    assert lost > 0
