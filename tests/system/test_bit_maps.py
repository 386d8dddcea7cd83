"""Bit maps in a running broker: nobody misses a message, whoever is killed and however expressions change."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from shmq.store.queue_entry import EXTENSION_MAX
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.message import decode_messages
from shmq.wire.stats_bodies import ConsumeQueueBody
from tests.support.member import Member
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

SETTINGS: Final = {
    "network_workers": 2,
    "property_filter_enable": "true",
    "queue_extension_enable": "true",
    "filter_bit_maps_enable": "true",
    "queue_extension_file_bytes": "64KiB",
    "commit_log_file_bytes": "1MiB",
    "consume_queue_file_bytes": 20 * 500,
    "restart_delay_ms_min": 10,
    "restart_delay_ms_max": 50,
    "restarts_max": 1000,
}
QUEUES: Final = 4
TOPIC: Final = "mapped"
GROUP: Final = "mapped-g"
ROUNDS: Final = 8
DEADLINE_S: Final = 60.0
EXPRESSIONS: Final[tuple[tuple[str, Callable[[int], bool]], ...]] = (
    ("color = 'blue'", lambda number: number % 3 == 1),
    ("color = 'red'", lambda number: number % 3 == 2),
    ("color IS NULL", lambda number: number % 3 == 0),
    ("seq >= 100 AND color <> 'red'", lambda number: number >= 100 and number % 3 == 1),
)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[ShmqBroker]:
    started = ShmqBroker(tmp_path, settings=SETTINGS)
    yield started
    started.stop()
    started.discard()


def send(producer: Member, number: int) -> int:
    """Send a number; return its queue offset."""
    color = ("", "color\x01blue\x02", "color\x01red\x02")[number % 3]
    sent = producer.send(
        TOPIC, b"%d" % number, queue_id=number % QUEUES, properties=f"seq\x01{number}\x02{color}"
    )
    assert sent.code == ResponseCode.SUCCESS, sent.remark
    return int(sent.fields["queueOffset"])


class Sending:
    """Sends numbers, one after the other, until it is told to stop."""

    def __init__(self, address: str) -> None:
        self.count = 0
        self._address = address
        self._is_over = threading.Event()
        self.problem: BaseException | None = None

    @contextmanager
    def going_on(self) -> Iterator[None]:
        self._is_over.clear()
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()
        assert self.problem is None

    def _run(self) -> None:
        try:
            with Member(self._address, "producer") as producer:
                while not self._is_over.is_set():
                    send(producer, self.count)
                    self.count += 1
        except BaseException as error:
            self.problem = error
            raise


def kill(broker: ShmqBroker, name: str) -> None:
    """End a process, and wait for its successor."""
    victim = broker.kill_worker(name)
    assert broker.worker(name).pid != victim.pid


def read_all(member: Member, version: int, counts: list[int]) -> list[int]:
    """Everything that the group is given of the first so many messages of each queue, from offset 0 on."""
    got: list[int] = []
    for queue_id, count in enumerate(counts):
        offset = 0

        def pull(queue_id: int = queue_id, count: int = count) -> bool:
            nonlocal offset
            answer = member.pull_as(GROUP, TOPIC, offset, version=version, queue_id=queue_id)
            if answer.code == ResponseCode.SUCCESS:
                got.extend(int(bytes(each.body)) for each in decode_messages(answer.body))
            offset = int(answer.fields.get("nextBeginOffset", offset))
            return offset >= count

        eventually(pull, DEADLINE_S)
    return got


@pytest.mark.timeout(300)
def test_no_wanted_message_is_missing_while_expressions_change_and_processes_die(broker: ShmqBroker) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - to run a failure again
    chance = random.Random(seed)
    sending = Sending(broker.address)
    with Member(broker.address) as member:
        for version in range(1, ROUNDS + 1):
            expression, is_wanted = chance.choice(EXPRESSIONS)
            with sending.going_on():
                goal = sending.count + 300
                member.join(GROUP, TOPIC, expression, version, kind="SQL92")
                for name in chance.choices(("dispatcher", "conductor"), k=chance.randrange(3)):
                    kill(broker, name)
                eventually(lambda goal=goal: sending.count >= goal, DEADLINE_S)
            counts = [len(range(queue_id, sending.count, QUEUES)) for queue_id in range(QUEUES)]
            got = read_all(member, version, counts)
            assert sorted(got) == [number for number in range(sending.count) if is_wanted(number)]


def entries(member: Member, index: int, group: str | None = None) -> ConsumeQueueBody:
    fields = {"topic": TOPIC, "queueId": "0", "index": str(index), "count": "100"}
    if group is not None:
        fields["consumerGroup"] = group
    answer = member.call(Command(RequestCode.QUERY_CONSUME_QUEUE, fields=fields))
    assert answer.code == ResponseCode.SUCCESS, answer.remark
    return ConsumeQueueBody.from_bytes(answer.body)


def test_an_administrator_sees_what_an_extension_says(broker: ShmqBroker) -> None:
    with Member(broker.address) as member:
        member.join(GROUP, TOPIC, "color = 'blue'", kind="SQL92")

        def is_mapped() -> bool:
            """A message that is dispatched before the expression is published has no bit map."""
            index = send(member, 4)
            eventually(lambda: entries(member, index).entries)
            return any(each.bit_map for each in entries(member, index).entries or ())

        eventually(is_mapped, DEADLINE_S)
        first, *_ = [send(member, number) for number in (4, 8, 12)]
        eventually(lambda: len(entries(member, first).entries or ()) == 3, DEADLINE_S)
        listed = list(entries(member, first, GROUP).entries or ())
    assert [each.is_wanted for each in listed] == [True, False, False]
    assert all(each.tag_hash > EXTENSION_MAX and each.message is None for each in listed)
    assert all('"size":34' in (each.extension or "") for each in listed)
    assert [(each.bit_map or "").count("1") > 0 for each in listed] == [True, False, False]


def test_a_delayed_message_is_delivered_in_its_time(broker: ShmqBroker) -> None:
    """Its queue's entry holds no time of delivery, but an address."""
    with Member(broker.address) as member:
        sent_ms = time.time_ns() // 1_000_000
        sent = member.send(TOPIC, b"late", queue_id=0, properties="DELAY\x011\x02")
        assert sent.code == ResponseCode.SUCCESS, sent.remark
        kept: list[int] = []

        def is_delivered() -> bool:
            answer = member.pull(TOPIC, 0, 0)
            if answer.code != ResponseCode.SUCCESS:
                return False
            (message,) = decode_messages(answer.body)
            kept.append(message.store_timestamp_ms - sent_ms)
            return True

        eventually(is_delivered, DEADLINE_S)
    assert kept[0] >= 1000


def test_who_wants_a_tag_gets_no_others(broker: ShmqBroker) -> None:
    """Nor is a waiting pull answered by them."""
    with Member(broker.address) as producer, Member(broker.address, "waiting") as member:
        for tag in ("A", "B", "A", "B"):
            sent = producer.send(TOPIC, tag.encode(), queue_id=0, properties=f"TAGS\x01{tag}\x02")
            assert sent.code == ResponseCode.SUCCESS, sent.remark
        assert tagged(member, 0, 2) == [b"A", b"A"]
        sending = threading.Thread(target=send_late, args=(producer, ("B", "A")))
        sending.start()
        assert tagged(member, 4, 1, suspend_ms=10_000) == [b"A"]
        sending.join()


def tagged(member: Member, offset: int, count: int, suspend_ms: int = 0) -> list[bytes]:
    """The bodies of the next messages that a pull for the tag A is given, once there are so many."""
    found: list[bytes] = []

    def pull() -> bool:
        nonlocal offset
        answer = member.pull(TOPIC, 0, offset, expression="A", suspend_ms=suspend_ms)
        if answer.code == ResponseCode.SUCCESS:
            found.extend(bytes(each.body) for each in decode_messages(answer.body))
            offset = int(answer.fields["nextBeginOffset"])
        return len(found) >= count

    eventually(pull, DEADLINE_S)
    return found


def send_late(producer: Member, tags: tuple[str, ...]) -> None:
    for tag in tags:
        assert producer.send(TOPIC, tag.encode(), queue_id=0, properties=f"TAGS\x01{tag}\x02").code == 0
