"""SQL92 filters in a running broker: what a group gets while processes are killed, and after a new start."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from shmq.client.consumer import PullConsumer
from shmq.client.errors import ClientError
from shmq.client.pulling import ConsumerSettings
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.heartbeat_bodies import CheckClientRequest, SubscriptionData
from tests.support.member import Member
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

SETTINGS: Final = {
    "network_workers": 2,
    "property_filter_enable": "true",
    "commit_log_file_bytes": "256KiB",  # so that a filter looks at records of several files
    "consume_queue_file_bytes": 20 * 500,
    "restart_delay_ms_min": 10,
    "restart_delay_ms_max": 50,
}
COUNT: Final = 1500
EXPRESSION: Final = "seq >= 100 AND color = 'blue'"
WANTED: Final = {number for number in range(100, COUNT) if number % 3 == 1}
DEADLINE_S: Final = 60.0


WITH_BIT_MAPS: Final = {
    "queue_extension_enable": "true",
    "filter_bit_maps_enable": "true",
    "queue_extension_file_bytes": "64KiB",
}


@pytest.fixture(scope="module", params=[{}, WITH_BIT_MAPS], ids=["read", "bit-maps"])
def extra(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings with which everything must be the same."""
    return dict(request.param)


@pytest.fixture(scope="module")
def directory(extra: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(f"sql{len(extra)}")


@pytest.fixture
def broker(directory: Path, extra: dict[str, str]) -> Iterator[ShmqBroker]:
    """One store for both tests, which are of one broker and of what it left."""
    started = ShmqBroker(directory, broker_name=f"sql-{directory.name}", settings={**SETTINGS, **extra})
    yield started
    started.stop()
    started.discard()


def fill(broker: ShmqBroker, topic: str, numbers: range) -> None:
    with Member(broker.address) as producer:
        for number in numbers:
            color = ("", "color\x01blue\x02", "color\x01red\x02")[number % 3]
            properties = f"seq\x01{number}\x02{color}"
            sent = producer.send(topic, b"%d" % number, queue_id=number % 4, properties=properties)
            assert sent.code == ResponseCode.SUCCESS, sent.remark


def read(consumer: PullConsumer, wanted: int) -> list[int]:
    """Poll until so many different messages have come; what fails on the way is tried again."""
    got: list[int] = []

    def poll() -> bool:
        try:
            got.extend(int(bytes(each.body)) for each in consumer.poll(1.0))
        except ClientError:
            return False
        return len(set(got)) >= wanted

    eventually(poll, DEADLINE_S)
    return got


def test_a_group_gets_what_its_expression_says_whoever_is_killed(broker: ShmqBroker) -> None:
    fill(broker, "killed", range(COUNT // 2))
    settings = ConsumerSettings(
        group="killed-g", expression=EXPRESSION, expression_type="SQL92", from_beginning=True
    )
    with PullConsumer("killed", broker.namesrv_address, settings) as consumer:
        got = read(consumer, 50)
        for name in ("conductor", "net-0", "dispatcher", "net-1"):
            broker.kill_worker(name)
        fill(broker, "killed", range(COUNT // 2, COUNT))
        got += read(consumer, len(WANTED - set(got)))
    assert sorted(got) == sorted(WANTED)


def test_a_registered_expression_filters_what_is_pulled(broker: ShmqBroker) -> None:
    """A pull that brings no expression is answered by that of the heartbeat; a wrong one is told."""
    fill(broker, "registered", range(40))
    with Member(broker.address) as member:
        member.join("registered-g", "registered", "seq < 20 AND color IS NULL", kind="SQL92")
        answer = member.pull_as("registered-g", "registered", 0)
        assert answer.code == ResponseCode.SUCCESS
        broker.kill_worker("conductor")
        assert member.pull_as("registered-g", "registered", 0).body == answer.body
        member.join("registered-g", "registered", "seq <", version=2, kind="SQL92")
        wrong = member.pull_as("registered-g", "registered", 0, version=2)
        assert wrong.code == ResponseCode.FILTER_DATA_NOT_EXIST
        subscription = SubscriptionData("registered", "seq <", expression_type="SQL92")
        body = CheckClientRequest("c", "registered-g", subscription).to_bytes()
        checked = member.call(Command(RequestCode.CHECK_CLIENT_CONFIG, body=body))
        assert (checked.code, checked.remark) == (
            ResponseCode.SUBSCRIPTION_PARSE_FAILED,
            "Invalid MessageSelector: it ends, or goes on, where something else is wanted",
        )
        member.join("registered-g", "registered", "seq < 5", version=3, kind="SQL92")


def test_expressions_are_kept_where_rocketmq_keeps_them(broker: ShmqBroker) -> None:
    saved = json.loads((broker.store_root / "config" / "consumerFilter.json").read_text())
    data = saved["filterDataByTopic"]["registered"]["groupFilterData"]["registered-g"]
    assert (data["expression"], data["clientVersion"], data["dead"]) == ("seq < 5", 3, True)
    with Member(broker.address) as member:
        member.join("registered-g", "registered", "seq < 6", version=2, kind="SQL92")
        answer = member.pull_as("registered-g", "registered", 0, version=2)
    assert answer.code == ResponseCode.SUCCESS
    assert b"seq\x014\x02" in answer.body
    assert b"seq\x018\x02" not in answer.body
