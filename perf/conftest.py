"""Options of the suite, the servers and loads of a question, and the sheet at its end."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from perf import page_cache
from perf.contestants import Contestant
from perf.harness import QUICK_SCALE, QUICK_SECONDS, Contest, Generator, Options, Sheet, machine, run_name
from perf.peers import LACKS, STARTERS

_SHEET = pytest.StashKey[Sheet]()
_BEGAN = pytest.StashKey[str]()
_OPTIONS = pytest.StashKey[Options]()
_ABSENT = pytest.StashKey[Mapping[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("perf")
    group.addoption("--rounds", type=int, default=5, help="turns of each contestant")
    group.addoption("--seconds", type=float, default=3.0, help="of a turn that ends by the clock")
    group.addoption("--scale", type=float, default=1.0, help="multiplies the messages of other turns")
    group.addoption("--quick", action="store_true", help="one short round of each question's first variant")
    group.addoption(
        "--peers",
        default="auto",
        help=f"which of {', '.join(LACKS)} take part, joined by commas: auto are those installed, none is none",
    )
    group.addoption(
        "--fill-cache",
        type=Path,
        help="have the page cache full before each question, of this file; it is made (see perf/page_cache.py)",
    )
    group.addoption("--figures", type=Path, help="write the sheet to this file, as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SHEET] = Sheet()
    config.stash[_BEGAN] = machine()
    config.stash[_OPTIONS], config.stash[_ABSENT] = _options(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the first variant of each question where it is only to be seen whether the suite itself works."""
    if not config.getoption("--quick"):
        return
    kept: dict[str, pytest.Item] = {}
    for item in items:
        kept.setdefault(item.nodeid.partition("[")[0], item)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept.values()])
    items[:] = kept.values()


def pytest_report_header(config: pytest.Config) -> list[str]:
    return _peer_lines(config)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    sheet = config.stash[_SHEET]
    if not sheet.rows:
        return
    options = config.stash[_OPTIONS]
    lines = [
        f"Before: {config.stash[_BEGAN]}.",
        f"After: {machine()}.",
        f"Run {options.run}: {options.rounds} rounds, {options.seconds:g} s, scale {options.scale:g}.",
        f"Page cache: {'filled before each question' if config.getoption('--fill-cache') else 'as it was'}.",
        *_peer_lines(config),
        "",
        *sheet.lines(),
    ]
    terminalreporter.section("figures")
    for line in lines:
        terminalreporter.write_line(line)
    target: Path | None = config.getoption("--figures")
    if target is not None:
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def options(pytestconfig: pytest.Config) -> Options:
    return pytestconfig.stash[_OPTIONS]


@pytest.fixture
def contest(benchmark: BenchmarkFixture, pytestconfig: pytest.Config, options: Options) -> Contest:
    return Contest(benchmark, pytestconfig.stash[_SHEET], options)


class Arena:
    """Servers and loads of one question; all end with it."""

    def __init__(self, directory: Path, options: Options, ends: contextlib.ExitStack) -> None:
        self._directory = directory
        self._options = options
        self._ends = ends
        self._entered: list[Contestant] = []
        self._loads = 0

    def enter(self, start: Callable[[Path], Contestant]) -> Contestant:
        """Start a server."""
        server = start(self._directory)
        self.end_with(server.kill)
        self._entered.append(server)
        return server

    def enter_peers(self, *names: str) -> list[Contestant]:
        """Start those of the peers that take part in this run."""
        return [self.enter(STARTERS[name][1]) for name in names if name in self._options.peers]

    def end_with(self, end: Callable[[], object]) -> None:
        """Have something called when the question ends, however it ends."""
        self._ends.callback(end)

    def load(self) -> Generator:
        """Start a process that generates load."""
        self._loads += 1
        made = Generator(self._directory, f"load-{self._loads}")
        self.end_with(made.process.kill)
        return made

    def stop(self) -> None:
        """Stop every server as its operator would, and fail where ours does not end as it should."""
        for server in self._entered:
            server.stop()


@pytest.fixture
def arena(options: Options, tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Arena]:
    """New servers on new stores for each question; what they stored goes with it."""
    filler: Path | None = pytestconfig.getoption("--fill-cache")
    if filler is not None:
        page_cache.fill(filler)
    with contextlib.ExitStack() as ends:
        ends.callback(shutil.rmtree, tmp_path, ignore_errors=True)
        made = Arena(tmp_path, options, ends)
        yield made
        made.stop()


@pytest.fixture
def kept(arena: Arena) -> Iterator[contextlib.ExitStack]:  # noqa: ARG001 - it ends before the servers do
    """What a question has open until its end."""
    with contextlib.ExitStack() as ends:
        yield ends


def _options(config: pytest.Config) -> tuple[Options, Mapping[str, str]]:
    absent = {name: lacks for name, lacking in LACKS.items() if (lacks := lacking())}
    wanted = config.getoption("--peers")
    chosen = (
        set(LACKS) - set(absent)
        if wanted == "auto"
        else set()
        if wanted == "none"
        else set(wanted.split(","))
    )
    for name in chosen:
        if name not in LACKS:
            raise pytest.UsageError(f"--peers: there is no {name!r}, only {', '.join(LACKS)}")
        if name in absent:
            raise pytest.UsageError(f"--peers={wanted}, but {absent[name]}; try make perf-peers")
    is_quick = config.getoption("--quick")
    return (
        Options(
            rounds=1 if is_quick else config.getoption("--rounds"),
            seconds=QUICK_SECONDS if is_quick else config.getoption("--seconds"),
            scale=QUICK_SCALE if is_quick else config.getoption("--scale"),
            peers=frozenset(chosen),
            is_quick=is_quick,
            run=run_name(),
        ),
        {} if wanted == "none" else {name: lacks for name, lacks in absent.items() if name not in chosen},
    )


def _peer_lines(config: pytest.Config) -> list[str]:
    """Who takes part, and who does not, and why: nobody is left out in silence."""
    options = config.stash[_OPTIONS]
    absent = config.stash[_ABSENT]
    unwanted = sorted(set(LACKS) - options.peers - set(absent))
    return [
        f"peers: {', '.join(sorted(options.peers)) or 'none'}",
        *(f"peer left out: {name}: {lacks} (make perf-peers)" for name, lacks in absent.items()),
        *(f"peer left out: {name}: not wanted (--peers)" for name in unwanted),
    ]
