from collections.abc import Iterator

import pytest

from tests.support.fake_broker import FakeBroker


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    """A broker that has the topic T with two queues, and answers for its route."""
    with FakeBroker({"T": 2}) as started:
        yield started
