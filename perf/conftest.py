"""Options of the suite, the servers it measures, and the sheet at its end."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from perf.contestants import Contestant, start_asyncio, start_java, start_shmq
from perf.harness import Contest, Generator, Options, Sheet, machine

_SHEET = pytest.StashKey[Sheet]()
_BEGAN = pytest.StashKey[str]()
_OPTIONS = pytest.StashKey[Options]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("perf")
    group.addoption("--rounds", type=int, default=5, help="turns of each contestant")
    group.addoption("--scale", type=float, default=1.0, help="multiplies the messages of a turn")
    group.addoption(
        "--java",
        choices=("auto", "yes", "no"),
        default="auto",
        help="RocketMQ's own broker as a peer: auto where java and mvn are on the PATH",
    )
    group.addoption("--figures", type=Path, help="write the sheet to this file, as Markdown")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SHEET] = Sheet()
    config.stash[_BEGAN] = machine()
    config.stash[_OPTIONS] = _options(config)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    sheet = config.stash[_SHEET]
    if not sheet.rows:
        return
    options = config.stash[_OPTIONS]
    lines = [
        f"Before: {config.stash[_BEGAN]}.",
        f"After: {machine()}.",
        f"{options.rounds} rounds, scale {options.scale:g}, Java peer: {'yes' if options.java else 'no'}.",
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


@pytest.fixture(scope="module")
def servers(options: Options, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Contestant]]:
    """All contestants, running; new ones for each question."""
    directory = tmp_path_factory.mktemp("servers")
    started: dict[str, Contestant] = {}
    with contextlib.ExitStack() as ends:
        for start in (start_asyncio, *((start_java,) if options.java else ()), start_shmq):
            server = start(directory)
            ends.callback(server.kill)
            started[server.name] = server
        yield started
        for server in started.values():
            server.stop()
    shutil.rmtree(directory)


@pytest.fixture
def generators(tmp_path: Path) -> Iterator[list[Generator]]:
    """Three processes that generate load, idle."""
    with contextlib.ExitStack() as ends:
        made = [Generator(tmp_path, f"generator-{number}") for number in range(3)]
        for each in made:
            ends.callback(each.process.kill)
        yield made


def _options(config: pytest.Config) -> Options:
    java = config.getoption("--java")
    is_there = shutil.which("java") is not None and shutil.which("mvn") is not None
    if java == "yes" and not is_there:
        raise pytest.UsageError("--java=yes, but java (17) or mvn is not on the PATH")
    return Options(
        config.getoption("--rounds"),
        config.getoption("--scale"),
        java == "yes" or (java == "auto" and is_there),
    )
