from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from shmq.cli import main
from tests.support.fake_broker import FakeBroker


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    """A broker that has the topic T with two queues, and answers for its route."""
    with FakeBroker({"T": 2}) as started:
        yield started


@pytest.fixture
def shmq(broker: FakeBroker) -> Callable[..., Result]:
    """Run `shmq` with arguments, pointed at the broker."""

    def run(*arguments: str, given: bytes | None = None, namesrv: str = broker.address) -> Result:
        return CliRunner().invoke(main, arguments, input=given, env={"NAMESRV_ADDR": namesrv})

    return run
