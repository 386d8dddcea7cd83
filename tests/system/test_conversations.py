"""What the broker asks clients, and what it tells them by itself, with processes killed in the middle."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shmq.wire.bodies import MessageQueue
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.heartbeat_bodies import HeartbeatData
from shmq.wire.message import decode_messages, write_properties
from shmq.wire.reset_bodies import ResetOffsets
from tests.support.member import Member
from tests.support.remote import send_request
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

COUNT = 20
REPLY_TOPIC = "DefaultCluster_REPLY_TOPIC"
WORKERS = 2


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShmqBroker]:
    """A broker of two network workers, shared by these tests."""
    started = ShmqBroker(tmp_path_factory.mktemp("broker"), settings={"network_workers": WORKERS})
    try:
        yield started
        started.stop()
    finally:
        started.discard()


def _join_producers(member: Member) -> None:
    beat = HeartbeatData(member.client_id, producer_groups=("PG",))
    assert member.call(Command(RequestCode.HEART_BEAT, body=beat.to_bytes())).code == ResponseCode.SUCCESS


def _reply_request(requester: str, number: int) -> Command:
    properties = write_properties({"REPLY_TO_CLIENT": requester, "CORRELATION_ID": str(number)})
    request = send_request(REPLY_TOPIC, b"reply %d" % number, 0, properties)
    request.code = RequestCode.SEND_REPLY_MESSAGE_V2
    return request


def _serve(member: Member, code: RequestCode) -> Command:
    asked = member.wait_pushed()
    assert asked.code == code
    return asked


def test_replies_reach_producers_on_any_worker_and_the_death_of_a_conductor_loses_none(
    broker: ShmqBroker,
) -> None:
    requesters = [Member(broker.address, f"requester-{number}") for number in range(8)]
    with Member(broker.address, "replier") as replier:
        stored = replier.max_offset(REPLY_TOPIC, 0)
        for requester in requesters:
            _join_producers(requester)
        for number in range(COUNT):
            requester = requesters[number % len(requesters)]
            opaque = replier.post(_reply_request(requester.client_id, number))
            asked = _serve(requester, RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT)
            assert asked.body == b"reply %d" % number
            if number == COUNT // 2:
                broker.worker("conductor").kill()
                asked = _serve(requester, RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT)  # by its successor
            requester.respond(asked)
            assert replier.answer_to(opaque).code == ResponseCode.SUCCESS
        messages = replier.read_queue(REPLY_TOPIC, 0, stored + COUNT)[stored:]
    assert [each.body for each in messages] == [b"reply %d" % number for number in range(COUNT)]
    for requester in requesters:
        requester.close()


def test_a_reply_to_who_is_gone_is_an_error_and_stored_all_the_same(broker: ShmqBroker) -> None:
    with Member(broker.address, "replier") as replier:
        stored = replier.max_offset(REPLY_TOPIC, 0)
        requester = Member(broker.address, "leaver")
        _join_producers(requester)
        opaque = replier.post(_reply_request("leaver", 1))
        _serve(requester, RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT)
        requester.close()
        answer = replier.answer_to(opaque)
        assert (answer.code, answer.remark) == (
            ResponseCode.SYSTEM_ERROR,
            "push reply message to leaverfail.",
        )
        gone = replier.call(_reply_request("leaver", 2))
        assert gone.remark == "push reply message fail, channel of <leaver> not found."
        assert len(replier.read_queue(REPLY_TOPIC, 0, stored + 2)) == stored + 2


def test_a_consumer_is_asked_again_when_the_conductor_dies_amid_the_question(broker: ShmqBroker) -> None:
    with Member(broker.address, "asked") as consumer, Member(broker.address, "tool") as tool:
        assert consumer.send("asked-topic", b"Hello").code == ResponseCode.SUCCESS
        consumer.join("asked-group", "asked-topic")
        fields = {"consumerGroup": "asked-group", "clientId": "asked", "jstackEnable": "false"}
        opaque = tool.post(Command(RequestCode.GET_CONSUMER_RUNNING_INFO, fields=fields))
        asked = _next_question(consumer, RequestCode.GET_CONSUMER_RUNNING_INFO)
        assert asked.fields == fields
        broker.worker("conductor").kill()
        asked = _next_question(consumer, RequestCode.GET_CONSUMER_RUNNING_INFO)
        consumer.respond(asked, b'{"jstack":""}')
        answer = tool.answer_to(opaque)
        assert (answer.code, answer.body) == (ResponseCode.SUCCESS, b'{"jstack":""}')


def _next_question(member: Member, code: RequestCode) -> Command:
    """The next request of that code; that members have changed is passed over."""
    while True:
        asked = member.wait_pushed()
        if asked.code == code:
            return asked
        assert asked.code == RequestCode.NOTIFY_CONSUMER_IDS_CHANGED


@pytest.mark.parametrize("victim", ["conductor", "net-0"])
def test_a_reset_is_told_by_the_next_pull_whoever_is_killed_before_it(
    broker: ShmqBroker, victim: str
) -> None:
    topic, group = f"reset-{victim}", f"reset-group-{victim}"
    with Member(broker.address, "consumer") as consumer:
        for number in range(COUNT):
            assert consumer.send(topic, b"%d" % number).code == ResponseCode.SUCCESS
        consumer.join(group, topic)
        assert consumer.commit_offset(group, topic, 0, COUNT).code == ResponseCode.SUCCESS
        fields = {"topic": topic, "group": group, "timestamp": "0", "isForce": "true"}
        answer = consumer.call(Command(RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, fields=fields))
        offsets = ResetOffsets.from_bytes(answer.body).offsets
        assert offsets[MessageQueue(topic, broker.broker_name, 0)] == 0
        consumer.commit_offset(group, topic, 0, COUNT)  # it does not know yet
    broker.worker(victim).kill()
    with _reconnected(lambda: Member(broker.address, "consumer")) as consumer:
        consumer.join(group, topic)
        assert consumer.query_offset(group, topic, 0) == 0
        moved = consumer.pull_as(group, topic, COUNT)
        assert (moved.code, moved.remark) == (ResponseCode.PULL_OFFSET_MOVED, "OFFSET_RESET")
        assert moved.fields["nextBeginOffset"] == "0"
        found = consumer.pull_as(group, topic, 0)
        assert [each.body for each in decode_messages(found.body)] == [
            b"%d" % number for number in range(COUNT)
        ]
        consumer.commit_offset(group, topic, 0, COUNT)
        assert consumer.query_offset(group, topic, 0) == COUNT


def _reconnected(connect: Callable[[], Member]) -> Member:
    made: list[Member] = []

    def try_it() -> bool:
        try:
            made.append(connect())
        except OSError:
            return False
        return True

    eventually(try_it)
    return made[0]


def test_a_pending_reset_outlives_the_broker_as_the_committed_offset(tmp_path: Path) -> None:
    first = ShmqBroker(tmp_path / "first", store_root=tmp_path / "store")
    try:
        with Member(first.address) as consumer:
            consumer.send("T", b"Hello")
            consumer.join("g", "T")
            consumer.commit_offset("g", "T", 0, 1)
            fields = {"topic": "T", "group": "g", "timestamp": "0", "isForce": "true"}
            assert consumer.call(Command(RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, fields=fields)).code == 0
        first.kill()
    finally:
        first.discard()
    second = ShmqBroker(tmp_path / "second", store_root=tmp_path / "store", broker_name=first.broker_name)
    try:
        with Member(second.address) as consumer:
            consumer.join("g", "T")
            assert consumer.query_offset("g", "T", 0) == 0
        second.stop()
    finally:
        second.discard()
