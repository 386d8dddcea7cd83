"""Pop consumption on real processes: waiting, order, deletion; and kill -9 of each in turn, with a count at the end."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import psutil
import pytest

from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from tests.support.popping import ack, change_invisible, pop, pop_request, popped
from tests.support.remote import Remote
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

SETTINGS: Final = {
    "network_workers": 2,
    "commit_log_file_bytes": "16MiB",
    "restart_delay_ms_min": 10,
    "restart_delay_ms_max": 50,
    "restarts_max": 100,
    "send_wait_ms_max": 10_000,
}
QUEUES: Final = 4
COUNT: Final = 400
HIDDEN_MS: Final = 1500
LONG_HIDDEN_MS: Final = 5000  # by then a message was acknowledged, however slow the machine


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShmqBroker]:
    started = ShmqBroker(tmp_path_factory.mktemp("pop"), settings=SETTINGS)
    try:
        yield started
        started.stop()
    finally:
        started.discard()


def send_many(remote: Remote, topic: str, count: int) -> set[bytes]:
    bodies = [b"%s-%d" % (topic.encode(), number) for number in range(count)]
    for number, body in enumerate(bodies):
        assert remote.send(topic, body, number % QUEUES).code == ResponseCode.SUCCESS
    return set(bodies)


def test_a_pop_that_waits_is_answered_when_a_message_comes(broker: ShmqBroker) -> None:
    with Remote(broker.address) as waiting, Remote(broker.address) as sending:
        send_many(sending, "waits", QUEUES)
        assert len(pop(waiting, "waits", "G")) == QUEUES
        opaque = waiting.post(pop_request("waits", "G", pollTime=15_000))
        sending.send("waits", b"late", 2)
        (message,) = popped(waiting.answer_to(opaque), "waits", "G")
        assert message.body == b"late"
        assert ack(waiting, "G", message).code == ResponseCode.SUCCESS


def test_a_pop_that_waits_gets_what_is_tried_again_though_there_was_no_topic_for_that(
    broker: ShmqBroker,
) -> None:
    with Remote(broker.address) as remote:
        send_many(remote, "again", 1)
        (first,) = pop(remote, "again", "G", invisibleTime=500)
        begun = time.monotonic()
        (message,) = pop(remote, "again", "G", pollTime=15_000)
        assert time.monotonic() - begun < 5
        assert (message.body, message.message.reconsume_times) == (first.body, 1)
        ack(remote, "G", message)


def test_a_pop_in_order_waits_until_the_queue_is_free(broker: ShmqBroker) -> None:
    with Remote(broker.address) as first, Remote(broker.address) as second:
        send_many(first, "ordered", QUEUES * 2)
        given = {"order": "true", "queueId": 0, "maxMsgNums": 1}
        (head,) = pop(first, "ordered", "G", **given)
        opaque = second.post(pop_request("ordered", "G", pollTime=15_000, **given))
        assert ack(first, "G", head).code == ResponseCode.SUCCESS
        (following,) = popped(second.answer_to(opaque), "ordered", "G")
        assert (head.offset, following.offset) == (0, 1)
        opaque = first.post(pop_request("ordered", "G", pollTime=15_000, **given))
        change_invisible(second, "G", following, 300)
        (again,) = popped(first.answer_to(opaque), "ordered", "G")
        assert (again.offset, again.count) == (1, 1)


def test_what_was_popped_of_a_topic_that_is_deleted_does_not_come_again(broker: ShmqBroker) -> None:
    with Remote(broker.address) as remote:
        send_many(remote, "deleted", QUEUES)
        assert len(pop(remote, "deleted", "G", invisibleTime=500)) == QUEUES
        fields = {"topic": "deleted"}
        remote.call(Command(RequestCode.DELETE_TOPIC_IN_BROKER, fields=fields))
        remote.send("deleted", b"new", 0)
        (message,) = pop(remote, "deleted", "G", pollTime=2000)
        assert message.body == b"new"
        ack(remote, "G", message)
        assert pop(remote, "deleted", "G", pollTime=1500) == []


class Consumers:
    """Members of a group that pop and acknowledge, each in a thread, whatever becomes of their connections."""

    def __init__(self, address: str, topic: str, count: int) -> None:
        self.consumed: list[bytes] = []
        self._address = address
        self._topic = topic
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int) -> None:
        eventually(lambda: len(set(self.consumed)) >= count, deadline_s=60.0)

    def _run(self, number: int) -> None:
        turn = 0
        while not self._is_over.is_set():
            try:
                with Remote(self._address, timeout_s=10.0) as remote:
                    while not self._is_over.is_set():
                        turn += 1
                        self._consume(remote, forgets=turn % 5 == number)
            except (OSError, ConnectionError):
                continue

    def _consume(self, remote: Remote, *, forgets: bool) -> None:
        """Acknowledge what is popped, but now and then not the last of it."""
        answer = remote.call(
            pop_request(self._topic, "G", invisibleTime=HIDDEN_MS, pollTime=500, maxMsgNums=8)
        )
        if answer.code == ResponseCode.SYSTEM_ERROR:
            return
        messages = popped(answer, self._topic, "G")
        for message in messages[:-1] if forgets else messages:
            with self._lock:
                self.consumed.append(message.body)  # its acknowledgement may arrive, and the answer not
            ack(remote, "G", message)


@pytest.mark.parametrize("name", ["conductor", "net-0", "writer"])
def test_whoever_is_killed_each_message_is_consumed(broker: ShmqBroker, name: str) -> None:
    topic = f"kill-{name}"
    with Remote(broker.address) as remote:
        sent = send_many(remote, topic, COUNT)
    with Consumers(broker.address, topic, 3) as consumers:
        for part in (8, 4, 2):
            consumers.wait_for(COUNT // part)
            victim = broker.worker(name)
            victim.kill()
            psutil.wait_procs([victim], timeout=30)
        consumers.wait_for(COUNT)
    assert set(consumers.consumed) == sent


def test_all_at_once(tmp_path: Path) -> None:
    """Nothing is lost where every process is killed; what was acknowledged does not come again."""
    broker = ShmqBroker(tmp_path, settings=SETTINGS)
    try:
        with Remote(broker.address) as remote:
            sent = send_many(remote, "all", COUNT)
            acknowledged = set()
            for _ in range(COUNT // 64):
                messages = pop(remote, "all", "G", invisibleTime=LONG_HIDDEN_MS)
                for message in messages[::2]:
                    assert ack(remote, "G", message).code == ResponseCode.SUCCESS
                    acknowledged.add(message.body)
        broker.kill()
        broker.discard()
        broker = ShmqBroker(
            tmp_path, store_root=broker.store_root, broker_name=broker.broker_name, settings=SETTINGS
        )
        with Consumers(broker.address, "all", 2) as consumers:
            consumers.wait_for(COUNT - len(acknowledged))
        assert set(consumers.consumed) == sent - acknowledged
        broker.stop()
    finally:
        broker.discard()
