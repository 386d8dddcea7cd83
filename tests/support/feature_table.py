"""What interop tests have shown, feature by client: the table in `docs/compatibility.md` is made of it.

A plugin of pytest, in each process of pytest-xdist and in the one that hears of all. Where `INTEROP_RESULTS` names a file, the pairs of feature and client that a run against shmq has
tried are noted there when it ends; pairs that it has not tried stay as they are. A pair passes where every test of it
has passed. What a client is follows from the fixtures that a test asks for by name, or from its mark `client`.
"""

import inspect
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.endpoints import SHMQ, UNDER_TEST
from tests.support.java import CLIENT_MODULES

RESULTS: Final = os.environ.get("INTEROP_RESULTS", "")
_SHOWS: Final = "shows"
_XDIST_PROCESS: Final = "PYTEST_XDIST_WORKER"

PASSES: Final = "passes"
FAILS: Final = "fails"

CLIENTS: Final = {
    "newest_java": f"Java {list(CLIENT_MODULES)[-1]}",
    "cpp_client": "C++ 2.x",
}
"""Of the fixtures that stand for one client each."""

Table = dict[str, dict[str, str]]


class FeatureTable:
    """Notes the outcome of each test that shows a feature."""

    def __init__(self) -> None:
        self._tried: Table = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Iterator[None] | Any:  # a generator that returns the report
        """Have a test's report say what it shows, and with which clients: the report may go to another process."""
        report = yield
        report.user_properties.append((_SHOWS, [features_of(item), clients_of(item)]))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test's outcome: of its call, or of what failed before or after it."""
        if (report.when == "call" or report.failed) and not report.skipped:
            for name, shown in report.user_properties:
                if name == _SHOWS:
                    features, clients = shown  # type: ignore[misc]  # pytest knows no more than that it is an object
                    self.note(features, clients, PASSES if report.passed else FAILS)

    def pytest_sessionfinish(self) -> None:
        """Write down what was tried."""
        if RESULTS and self._tried and _XDIST_PROCESS not in os.environ:
            path = Path(RESULTS)
            known: Table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            path.write_text(json.dumps(self.merged(known), indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def note(self, features: Sequence[str], clients: Sequence[str], outcome: str) -> None:
        """Note an outcome; a failure stays one, whatever passes after it."""
        for feature in features:
            row = self._tried.setdefault(feature, {})
            for client in clients:
                if row.get(client) != FAILS:
                    row[client] = outcome

    def merged(self, known: Table) -> Table:
        """Return what was known, with what was tried in its place."""
        return {
            feature: known.get(feature, {}) | self._tried.get(feature, {})
            for feature in known.keys() | self._tried.keys()
        }


def make_feature_table() -> FeatureTable | None:
    """Return the plugin where results are wanted: of runs against shmq, and nobody else."""
    return FeatureTable() if RESULTS and UNDER_TEST == (SHMQ,) else None


def features_of(item: pytest.Item) -> tuple[str, ...]:
    """Return the features that a test says it shows."""
    return tuple(str(mark.args[0]) for mark in item.iter_markers("feature"))


def clients_of(item: pytest.Item) -> tuple[str, ...]:
    """Return the clients with which a test shows them.

    Those are the version that it runs with, where it runs with each, and those of its marks; where it has no marks,
    those of its other fixtures.
    """
    clients = [str(mark.args[0]) for mark in item.iter_markers("client")]
    is_marked = bool(clients)
    if not isinstance(item, pytest.Function):
        return tuple(clients)
    chosen = item.callspec.params if hasattr(item, "callspec") else {}
    if "java_version" in chosen:
        clients.append(f"Java {chosen['java_version']}")
    if is_marked:
        return tuple(clients)
    wanted = inspect.signature(item.function).parameters
    return (*clients, *(name for fixture, name in CLIENTS.items() if fixture in wanted))
