"""Transactions on a running broker, and what is left of them when processes are killed."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import psutil
import pytest

from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import FLAG_ONEWAY, Command
from shmq.wire.fields import write_header
from shmq.wire.flags import TRANSACTION_COMMIT, TRANSACTION_ROLLBACK
from shmq.wire.heartbeat_bodies import HeartbeatData
from shmq.wire.message import decode_messages, parse_offset_message_id
from shmq.wire.send_headers import EndTransactionHeader
from tests.support.remote import Remote
from tests.support.shmq_process import ShmqBroker

COMMIT, ROLLBACK = TRANSACTION_COMMIT, TRANSACTION_ROLLBACK
SETTINGS: Final = {
    "network_workers": 2,
    "commit_log_file_bytes": "16MiB",
    "consume_queue_file_bytes": 20 * 1000,
    "transaction_timeout_ms": 300,
    "transaction_check_interval_ms": 200,
    "restart_delay_ms_min": 20,
    "restarts_max": 1000,
}
GROUP: Final = "PG"


class Handle(NamedTuple):
    """Where a half message, or a copy, lies."""

    offset: int
    position: int


class Producer(Remote):
    """A producer that decides transactions as the test says."""

    def join(self, client_id: str = "producer") -> None:
        """Tell the broker of the producer group."""
        beat = HeartbeatData(client_id, producer_groups=(GROUP,))
        answer = self.call(Command(RequestCode.HEART_BEAT, body=beat.to_bytes()))
        assert answer.code == ResponseCode.SUCCESS, answer.remark

    def half(self, topic: str, body: bytes) -> Handle:
        """Send a half message."""
        key = f"{topic}-{body.decode()}"
        answer = self.send(
            topic, body, properties=f"UNIQ_KEY\x01{key}\x02TRAN_MSG\x01true\x02PGROUP\x01{GROUP}"
        )
        assert answer.code == ResponseCode.SUCCESS, answer.remark
        assert answer.fields["transactionId"] == key
        _, position = parse_offset_message_id(answer.fields["msgId"])
        return Handle(int(answer.fields["queueOffset"]), position)

    def end(self, handle: Handle, decision: int) -> Command:
        """Decide, and wait for the answer."""
        return self.call(end_request(handle, decision))

    def end_oneway(self, handle: Handle, decision: int, *, from_check: bool = False) -> None:
        """Decide as clients do, who want no answer."""
        command = end_request(handle, decision, from_check=from_check)
        command.flag = FLAG_ONEWAY
        self.post(command)

    def wait_check(self) -> tuple[Handle, bytes]:
        """Wait until it is asked how a transaction ended; return what it has to name, and the message's body."""
        command = self.wait_pushed()
        assert command.code == RequestCode.CHECK_TRANSACTION_STATE
        (message,) = decode_messages(command.body)
        handle = Handle(int(command.fields["tranStateTableOffset"]), int(command.fields["commitLogOffset"]))
        return handle, bytes(message.body)


def end_request(handle: Handle, decision: int, *, from_check: bool = False) -> Command:
    header = EndTransactionHeader(
        producer_group=GROUP,
        half_queue_offset=handle.offset,
        position=handle.position,
        commit_or_rollback=decision,
        from_check=from_check,
        message_id="M",
    )
    return Command(RequestCode.END_TRANSACTION, fields=write_header(header))


def bodies(broker: ShmqBroker, topic: str, least: int) -> list[bytes]:
    """All that consumers can see of a topic's first queue, once it has at least so many."""
    with Remote(broker.address) as remote:
        return [bytes(message.body) for message in remote.read_queue(topic, 0, least)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShmqBroker]:
    """A broker of these tests alone, whose processes they kill."""
    started = ShmqBroker(tmp_path_factory.mktemp("transactions"), settings=SETTINGS)
    try:
        yield started
        faults = [line for line in started.log_lines() if "exception" in line]
        assert not faults, faults
        started.stop()
    finally:
        started.discard()


@pytest.fixture
def producer(broker: ShmqBroker) -> Iterator[Producer]:
    with Producer(broker.address) as connected:
        connected.join()
        yield connected


def test_committed_is_delivered_and_rolled_back_is_not(broker: ShmqBroker, producer: Producer) -> None:
    handles = [producer.half("decided", b"%d" % number) for number in range(4)]
    producer.send("decided", b"plain")
    assert bodies(broker, "decided", 1) == [b"plain"]
    for number, handle in enumerate(handles):
        assert producer.end(handle, ROLLBACK if number % 2 else COMMIT).code == ResponseCode.SUCCESS
        assert producer.end(handle, COMMIT).code == ResponseCode.SUCCESS
    assert bodies(broker, "decided", 3) == [b"plain", b"0", b"2"]


def test_another_producer_of_the_group_is_asked_for_what_a_dead_one_left(broker: ShmqBroker) -> None:
    with Producer(broker.address) as dead:
        dead.join("dead")
        dead.half("orphans", b"orphan")
    with Producer(broker.address) as other:
        other.join("other")
        handle, body = other.wait_check()
        assert body == b"orphan"
        other.end_oneway(handle, COMMIT, from_check=True)
        assert bodies(broker, "orphans", 1) == [b"orphan"]


@pytest.mark.parametrize("role", ["conductor", "writer", "dispatcher", "net-0"])
def test_each_is_committed_once_whoever_is_killed(broker: ShmqBroker, role: str) -> None:
    """Decisions go on through the kill, each said twice and some the other way round; what is lost is asked for."""
    topic = f"killed-{role}"
    count = 300
    with Producer(broker.address) as producer:
        producer.join()
        handles = [producer.half(topic, b"%d" % number) for number in range(count)]
    decider = Producer(broker.address)
    for number, handle in enumerate(handles):
        if number == count // 3:
            kill(broker, role)
        try:
            decider.end_oneway(handle, COMMIT if number % 3 else ROLLBACK)
            decider.end_oneway(handle, COMMIT)
        except OSError:  # its worker was killed
            decider.close()
            decider = Producer(broker.address)
    decider.close()
    expected = [b"%d" % number for number in range(count) if number % 3]
    settle_open_ones(broker, expected)
    seen = bodies(broker, topic, len(expected))
    assert sorted(seen) == sorted(expected)


def test_each_is_committed_once_though_all_are_killed(tmp_path: Path) -> None:
    """Every life decides some of what all before have left, and is killed in the middle of it."""
    topic, count, lives = "killed-all", 120, 2
    handles: list[Handle] = []
    for life in range(lives + 1):
        broker = ShmqBroker(tmp_path, settings=SETTINGS)
        try:
            with Producer(broker.address) as producer:
                if life == 0:
                    handles = [producer.half(topic, b"%d" % number) for number in range(count)]
                if life < lives:
                    for handle in handles[life::lives]:
                        producer.end_oneway(handle, COMMIT)
                    producer.end(handles[life], COMMIT)
                    broker.kill()
                    continue
            settle_open_ones(broker, [b"%d" % number for number in range(count)])
            assert sorted(bodies(broker, topic, count)) == sorted(b"%d" % number for number in range(count))
            broker.stop()
        finally:
            broker.discard()


def kill(broker: ShmqBroker, role: str) -> None:
    victim = broker.worker(role)
    victim.kill()
    psutil.wait_procs([victim], timeout=30)


def settle_open_ones(broker: ShmqBroker, committed: list[bytes]) -> None:
    """Answer checks as a producer that knows what was committed, until one that was sent last comes."""
    with Producer(broker.address) as producer:
        producer.join("last")
        producer.half("markers", b"marker-%d" % time.monotonic_ns())
        while True:
            handle, body = producer.wait_check()
            decision = COMMIT if body in committed or body.startswith(b"marker") else ROLLBACK
            assert producer.end(handle, decision).code == ResponseCode.SUCCESS
            if body.startswith(b"marker"):
                return
