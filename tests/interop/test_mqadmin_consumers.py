"""The administration tool asks consumers through the broker: what they do, what they hold, and to handle a message."""

from pathlib import Path

import pytest

from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.members import read_object
from tests.support.drivers import Client, event_of
from tests.support.endpoints import Endpoint
from tests.support.java import mqadmin
from tests.support.member import Member
from tests.support.mishaps import kill_conductor
from tests.support.verdict import assert_all_sent
from tests.support.waiting import eventually

pytestmark = [pytest.mark.interop, pytest.mark.client("mqadmin 5.3.3")]

COUNT = 1000
QUEUES = 8
DEADLINE_S = 90.0


@pytest.mark.feature("Consumer running info (consumerStatus, with stacks)")
@pytest.mark.feature("Message consumed directly (queryMsgById -g -d)")
@pytest.mark.feature("Consumer and producer connections")
@pytest.mark.feature("Consume status of clients (223, 221)")
def test_the_tool_asks_consumers_of_both_versions(
    java_client: Client, warm_topic: str, endpoint: Endpoint, tmp_path: Path
) -> None:
    group = f"{warm_topic}-group"
    consumer = java_client.consume(warm_topic, group=group, run="r", binary=True)
    with consumer.process:
        consumer.wait_assigned(QUEUES)
        sent = java_client.produce(warm_topic, run="r", count=COUNT, mode="batch", binary=True)
        assert_all_sent(sent, COUNT)
        consumer.wait_seen(COUNT, DEADLINE_S)
        with Member(endpoint.broker.address) as member:
            (client_id,) = member.members(group)
        (found,) = java_client.query(warm_topic, key="k42", binary=True)

        def run(command: str, *arguments: str) -> str:
            return mqadmin(endpoint.namesrv_address, tmp_path / "mqadmin", command, *arguments)

        connections = run("consumerConnection", "-g", group)
        assert client_id in connections
        assert warm_topic in connections
        information = run("consumerStatus", "-g", group, "-i", client_id, "-s")
        assert "#Consumer Properties#" in information
        assert f"{warm_topic} " in information
        assert "java.lang.Thread" in information or "TID:" in information, "the stacks of its threads"
        kill_conductor(endpoint)
        handled = run(
            "queryMsgById", "-t", warm_topic, "-i", found["offset_id"], "-g", group, "-d", client_id
        )
        assert "CR_SUCCESS" in handled, handled
        consumer.wait_received(COUNT + 1, DEADLINE_S)
        assert sum(_status(endpoint, group, warm_topic)[client_id].values()) == COUNT + 1
        result = consumer.stop()
    assert result["doubled"] == [42]


@pytest.mark.feature("Consumer and producer connections")
@pytest.mark.feature("Offsets cloned to another group (cloneGroupOffset)")
def test_a_group_takes_over_where_another_is(
    newest_java: Client, warm_topic: str, endpoint: Endpoint, tmp_path: Path
) -> None:
    first, second = f"{warm_topic}-first", f"{warm_topic}-second"

    def run(command: str, *arguments: str) -> str:
        return mqadmin(endpoint.namesrv_address, tmp_path / "mqadmin", command, *arguments)

    newest_java.produce(warm_topic, run="r", count=COUNT, mode="batch", binary=True)
    consumer = newest_java.consume(warm_topic, group=first, run="r", binary=True)
    with consumer.process:
        consumer.wait_seen(COUNT, DEADLINE_S)
        consumer.stop()
    run("updateSubGroup", "-b", endpoint.broker.address, "-g", second)
    assert "success" in run("cloneGroupOffset", "-s", first, "-d", second, "-t", warm_topic)
    kill_conductor(endpoint)
    options = {"group": f"{warm_topic}-producers", "run": "r", "mode": "until-stored", "binary": True}
    producer = newest_java.start(
        "produce", topic=warm_topic, count=COUNT, first=COUNT, pause_ms=0, progress=True, **options
    )
    with producer:
        event_of(producer, "progress", DEADLINE_S)
        with Member(endpoint.broker.address) as member:
            eventually(lambda: member.producers(options["group"]))
        assert producer.wait_exit(DEADLINE_S) == 0
    consumer = newest_java.consume(warm_topic, group=second, run="r", binary=True)
    with consumer.process:
        consumer.wait_seen(COUNT, DEADLINE_S)
        consumer.stop()
    assert consumer.seen == set(range(COUNT, 2 * COUNT)), "nothing that the other group had consumed"


def _status(endpoint: Endpoint, group: str, topic: str) -> dict[str, dict[str, int]]:
    """How far each client of a group says it is; no command of the tool asks that any more."""
    fields = {"group": group, "topic": topic}
    with Member(endpoint.broker.address) as member:
        answer = member.call(Command(RequestCode.INVOKE_BROKER_TO_GET_CONSUMER_STATUS, fields=fields))
    assert answer.code == ResponseCode.SUCCESS, answer.remark
    table: dict[str, dict[str, int]] = read_object(answer.body)["consumerTable"]
    return table
