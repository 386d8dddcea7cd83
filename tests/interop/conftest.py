"""Fixtures of the interop tests: the endpoint under test, the clients, names that no other test uses."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.drivers import CPP, Client
from tests.support.endpoints import UNDER_TEST, Endpoint, shared_endpoint
from tests.support.feature_table import make_feature_table
from tests.support.java import CLIENT_MODULES
from tests.support.java_build import build

_topics = itertools.count()
_LONG = {"test_store_exchange", "test_retention", "test_java_reset", "test_java_transactions"}


def pytest_configure(config: pytest.Config) -> None:
    """Have what the tests show noted, where that is wanted."""
    table = make_feature_table()
    if table is not None:
        config.pluginmanager.register(table)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: some run at a time, and one of these at the end would run alone."""
    items.sort(key=lambda item: item.path.stem not in _LONG)


@pytest.fixture(scope="session", autouse=True)
def _java_peers() -> None:
    build()


@pytest.fixture(scope="session", params=UNDER_TEST)
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A broker with its name server, shared by the tests of a session."""
    with shared_endpoint(request.param, tmp_path_factory.mktemp(f"endpoint-{request.param}")) as started:
        yield started


@pytest.fixture(params=list(CLIENT_MODULES))
def java_version(request: pytest.FixtureRequest) -> str:
    """A version of the Java client."""
    version: str = request.param
    return version


@pytest.fixture
def java_client(java_version: str, endpoint: Endpoint, tmp_path: Path) -> Client:
    """A Java client of the version, pointed at the endpoint."""
    return Client(java_version, endpoint.namesrv_address, tmp_path)


@pytest.fixture
def newest_java(endpoint: Endpoint, tmp_path: Path) -> Client:
    """A Java client of the newest version, for tests that need one whatever it is."""
    return Client(list(CLIENT_MODULES)[-1], endpoint.namesrv_address, tmp_path)


@pytest.fixture
def cpp_client(endpoint: Endpoint, tmp_path: Path) -> Client:
    """The C++ client, pointed at the endpoint."""
    return Client(CPP, endpoint.namesrv_address, tmp_path)


@pytest.fixture
def topic() -> str:
    """A topic of this test alone."""
    return f"topic-{next(_topics)}"


@pytest.fixture
def warm_topic(newest_java: Client, topic: str) -> str:
    """A topic of this test alone, which exists already: it holds one message, of another run."""
    newest_java.produce(topic, run="warm", count=1, mode="sync")
    return topic
