"""Consumer groups over several network workers: who is told of whom, who holds what, and what outlives a process."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psutil
import pytest

from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import ResponseCode
from shmq.wire.message import decode_messages
from tests.support.member import Member
from tests.support.processes import STOP_DEADLINE_S
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

CONDUCTOR_KILLS: Final = 10
SETTINGS: Final = {
    "network_workers": 2,
    "commit_log_file_bytes": "1MiB",
    "consume_queue_file_bytes": 20 * 100,
    "restart_delay_ms_min": 10,
    "restarts_max": 100,
}


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[ShmqBroker]:
    """A broker whose processes a test may kill."""
    started = ShmqBroker(tmp_path, settings=SETTINGS)
    yield started
    started.discard()


@pytest.fixture
def members(shared_broker: ShmqBroker) -> Iterator[tuple[Member, Member]]:
    with ExitStack() as stack:
        yield two_members(shared_broker, stack)


def two_members(broker: ShmqBroker, stack: ExitStack) -> tuple[Member, Member]:
    """Connect one client to each of the two network workers."""
    workers = [broker.worker("net-0"), broker.worker("net-1")]
    found = []
    for number, worker in enumerate(workers):
        other = workers[1 - number]
        other.suspend()  # a connection may wake it all the same, the next one does not
        try:
            pool = [stack.enter_context(Member(broker.address)) for _ in range(2)]
            for member in pool:
                member.max_offset("nowhere", 0)  # so that it has been accepted
        finally:
            other.resume()
        assert pool[0].local_port in ports_served(worker)
        pool[0].client_id = f"on-net-{number}"
        found.append(pool[0])
    return found[0], found[1]


def ports_served(worker: psutil.Process) -> set[int]:
    return {each.raddr.port for each in worker.net_connections(kind="tcp") if each.raddr}


def replaced(broker: ShmqBroker, name: str) -> None:
    """Kill a process, and wait until another has taken its place."""
    victim = broker.worker(name)
    victim.send_signal(signal.SIGKILL)
    psutil.wait_procs([victim], timeout=STOP_DEADLINE_S)
    assert broker.worker(name).pid != victim.pid


def test_members_on_different_workers_see_each_other(members: tuple[Member, Member]) -> None:
    first, second = members
    first.join("seen", "groups")
    first.wait_members_changed("seen")
    second.join("seen", "groups")
    first.wait_members_changed("seen")
    second.wait_members_changed("seen")
    for each in members:
        assert each.members("seen") == {"on-net-0", "on-net-1"}


def test_who_leaves_is_missed(members: tuple[Member, Member]) -> None:
    first, second = members
    for each in members:
        each.join("left", "groups")
    second.wait_members_changed("left")
    first.leave("left")
    second.wait_members_changed("left")
    assert second.members("left") == {"on-net-1"}


def test_a_closed_connection_is_news_to_the_others(members: tuple[Member, Member]) -> None:
    first, second = members
    for each in members:
        each.join("closed", "groups")
    second.wait_members_changed("closed")
    first.close()
    second.wait_members_changed("closed")
    assert second.members("closed") == {"on-net-1"}


def test_a_queue_is_locked_for_one_client_at_a_time(members: tuple[Member, Member]) -> None:
    first, second = members
    queues = [MessageQueue("groups", "broker", number) for number in range(3)]
    assert first.lock("ordered", queues[:2]) == set(queues[:2])
    assert second.lock("ordered", queues) == {queues[2]}
    first.unlock("ordered", queues[:1])
    assert second.lock("ordered", queues) == {queues[0], queues[2]}
    assert first.lock("another-group", queues) == set(queues)


def test_an_offset_is_everybodys(members: tuple[Member, Member]) -> None:
    first, second = members
    assert first.send("committed", b"x").code == ResponseCode.SUCCESS
    first.join("offsets", "committed")
    assert first.query_offset("offsets", "committed", 1) is None
    assert first.commit_offset("offsets", "committed", 1, 42).code == ResponseCode.SUCCESS
    assert second.query_offset("offsets", "committed", 1) == 42
    assert second.commit_offset("offsets", "committed", 1, 43).code == ResponseCode.SUCCESS
    assert first.query_offset("offsets", "committed", 1) == 43


def test_the_subscription_of_a_heartbeat_serves_pulls_on_every_worker(members: tuple[Member, Member]) -> None:
    first, second = members
    for tag in ("red", "blue"):
        first.send("subscribed", tag.encode(), properties=f"TAGS\x01{tag}\x02")
    first.read_queue("subscribed", 0, 2)
    assert second.pull_as("subscribers", "subscribed", 0).code == ResponseCode.SUBSCRIPTION_NOT_EXIST
    first.join("subscribers", "subscribed", "blue", version=5)
    for each in members:
        answer = each.pull_as("subscribers", "subscribed", 0, version=5)
        assert answer.code == ResponseCode.SUCCESS, answer.remark
        assert [bytes(message.body) for message in decode_messages(answer.body)] == [b"blue"]
        answer = each.pull_as("subscribers", "subscribed", 0, version=6)
        assert answer.code == ResponseCode.SUBSCRIPTION_NOT_LATEST
    first.join("subscribers", "subscribed", "red", version=6)
    answer = second.pull_as("subscribers", "subscribed", 0, version=6)
    assert [bytes(message.body) for message in decode_messages(answer.body)] == [b"red"]


def test_a_new_conductor_learns_the_members_from_the_workers(own_broker: ShmqBroker) -> None:
    with ExitStack() as stack:
        first, second = two_members(own_broker, stack)
        first.send("groups", b"x", properties="TAGS\x01a\x02")
        for each in (first, second):
            each.join("kept", "groups", "a", version=3)
        first.commit_offset("kept", "groups", 0, 17)
        for _ in range(CONDUCTOR_KILLS):
            own_broker.worker("conductor").send_signal(signal.SIGKILL)
            for _ in range(100):  # whatever it answers, it answers with all of them
                assert first.members("kept") == {"on-net-0", "on-net-1"}
                assert second.members("kept") == {"on-net-0", "on-net-1"}
        assert second.query_offset("kept", "groups", 0) == 17
        assert second.pull_as("kept", "groups", 0, version=3).code == ResponseCode.SUCCESS
        first.close()
        eventually(lambda: second.members("kept") == {"on-net-1"})
    own_broker.stop()


def test_the_clients_of_a_dead_worker_are_missed_until_they_come_again(own_broker: ShmqBroker) -> None:
    with ExitStack() as stack:
        first, second = two_members(own_broker, stack)
        first.send("groups", b"x")
        for each in (first, second):
            each.join("moved", "groups")
        second.wait_members_changed("moved")
        first.commit_offset("moved", "groups", 0, 17)
        replaced(own_broker, "net-0")
        second.wait_members_changed("moved")
        eventually(lambda: second.members("moved") == {"on-net-1"})
        with Member(own_broker.address, "on-net-0") as again:
            again.join("moved", "groups")
            assert again.members("moved") == {"on-net-0", "on-net-1"}
            second.wait_members_changed("moved")
            assert again.query_offset("moved", "groups", 0) == 17
    own_broker.stop()


def test_offsets_outlive_the_broker(own_broker: ShmqBroker) -> None:
    with Member(own_broker.address) as member:
        member.send("groups", b"x")
        member.join("lasting", "groups")
        member.commit_offset("lasting", "groups", 2, 17)
    own_broker.stop()
    again = ShmqBroker(own_broker.directory, settings=SETTINGS)
    try:
        with Member(again.address) as member:
            assert member.query_offset("lasting", "groups", 2) == 17
        again.stop()
    finally:
        again.discard()
