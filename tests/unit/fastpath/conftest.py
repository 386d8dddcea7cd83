"""A broker with a desk, for kernels that serve consumers."""

import pytest

from shmq.wire.heartbeat_bodies import SubscriptionData
from tests.support.fast_consumers import FastBroker


@pytest.fixture
def broker(tmp_path):
    made = FastBroker(tmp_path)
    made.add_topic("T", topic_sys_flag=2)
    made.add_group("G", group_sys_flag=1)
    made.subscribe("G", SubscriptionData("T", version=5))
    yield made
    made.close()
