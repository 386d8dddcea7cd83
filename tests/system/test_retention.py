"""Old files go while a broker serves: what consumers see before, across and after, and whoever is killed meanwhile."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psutil
import pytest

from shmq.errors import RefusedError
from shmq.local.consumer import LocalConsumer
from shmq.local.producer import LocalProducer
from shmq.store.segment import list_starts
from shmq.wire.bodies import KVTable
from shmq.wire.codes import RequestCode, ResponseCode
from shmq.wire.command import Command
from shmq.wire.message import ReceivedMessage, decode_messages
from tests.support.remote import Remote, pull_request
from tests.support.shmq_process import ShmqBroker
from tests.support.small_disk import SmallDisk
from tests.support.waiting import eventually

LOG_FILE_BYTES: Final = 64 << 10
QUEUE_ENTRIES: Final = 50
TOPIC: Final = "aging"
QUEUES: Final = 2
DAY_S: Final = 86_400
SETTINGS: Final = {
    "network_workers": 1,
    "commit_log_file_bytes": LOG_FILE_BYTES,
    "message_bytes_max": "32KiB",
    "consume_queue_file_bytes": 20 * QUEUE_ENTRIES,
    "key_index_slots": 100,
    "key_index_entries": 200,
    "clean_interval_ms": 100,
    "delete_hours": "",
    "delete_log_interval_ms": 10,
    "delete_queue_interval_ms": 10,
    "disk_reclaim_percent": 95,
    "clean_forcibly_enable": "false",
}


class Aging:
    """A broker whose files are old where the test says so, and what was sent to it.

    Attributes:
        sent: of each queue, the bodies and positions of its messages.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sent: list[list[tuple[bytes, int]]] = [[] for _ in range(QUEUES)]
        self.broker = ShmqBroker(directory, settings=SETTINGS)

    @property
    def log_starts(self) -> list[int]:
        return list_starts(self.directory / "store" / "commitlog", LOG_FILE_BYTES)

    def queue_starts(self, queue_id: int) -> list[int]:
        folder = self.directory / "store" / "consumequeue" / TOPIC / str(queue_id)
        return [start // 20 for start in list_starts(folder, 20 * QUEUE_ENTRIES)]

    def index_names(self) -> list[str]:
        return sorted(path.name for path in (self.directory / "store" / "index").iterdir())

    def send(self, count: int) -> None:
        with Remote(self.broker.address) as remote:
            for _ in range(count):
                for queue_id, messages in enumerate(self.sent):
                    body = f"{queue_id}/{len(messages)}/".encode().ljust(1000, b".")
                    answer = remote.send(TOPIC, body, queue_id, f"KEYS\x01{queue_id}-{len(messages)}\x02")
                    assert answer.code == ResponseCode.SUCCESS, answer.remark
                    assert int(answer.fields["queueOffset"]) == len(messages)
                    messages.append((body, int(answer.fields["msgId"][-16:], 16)))

    def age(self, files: int) -> int:
        """Set back the time of the oldest files; return where the next one begins."""
        for start in self.log_starts[:files]:
            path = self.directory / "store" / "commitlog" / f"{start:020d}"
            seconds = path.stat().st_mtime - 4 * DAY_S
            os.utime(path, (seconds, seconds))
        return self.log_starts[files]

    def ask(self, code: RequestCode) -> None:
        with Remote(self.broker.address) as remote:
            answer = remote.call(Command(code))
            assert (answer.code, answer.remark) == (ResponseCode.SUCCESS, None)

    def delete_expired(self, files: int) -> int:
        """Have the oldest files deleted, and what points there; return where the log begins then."""
        begin = self.age(files)
        self.ask(RequestCode.DELETE_EXPIRED_COMMITLOG)
        self.wait_trimmed(begin)
        return begin

    def wait_trimmed(self, begin: int) -> None:
        def is_trimmed() -> bool:
            return self.log_starts[0] == begin and all(
                self.queue_starts(queue_id)[0]
                == min(self.first(queue_id, begin), len(self.sent[queue_id]) - 1)
                // QUEUE_ENTRIES
                * QUEUE_ENTRIES
                for queue_id in range(QUEUES)
            )

        eventually(is_trimmed)

    def first(self, queue_id: int, begin: int) -> int:
        """The offset of the first message of a queue that lies at or behind a position."""
        positions = [position for _, position in self.sent[queue_id]]
        return next((n for n, position in enumerate(positions) if position >= begin), len(positions))

    def check(self, begin: int) -> None:
        """Whatever is asked, what lies below a position is gone, and the rest is as it was sent."""
        with Remote(self.broker.address) as remote:
            assert runtime_info(remote)["commitLogMinOffset"] == str(begin)
            for queue_id, messages in enumerate(self.sent):
                self._check_queue(remote, queue_id, self.first(queue_id, begin), messages)

    def _check_queue(
        self, remote: Remote, queue_id: int, first: int, messages: Sequence[tuple[bytes, int]]
    ) -> None:
        fields = {"topic": TOPIC, "queueId": str(queue_id)}

        def answered(code: RequestCode, **more: str) -> Command:
            return remote.call(Command(code, fields=fields | more))

        assert answered(RequestCode.GET_MIN_OFFSET).fields["offset"] == str(first)
        # A dispatcher that was killed may just be coming to the last of them.
        eventually(lambda: answered(RequestCode.GET_MAX_OFFSET).fields["offset"] == str(len(messages)))
        read = read_from(remote, queue_id, first, len(messages))
        assert [bytes(each.body) for each in read] == [body for body, _ in messages[first:]]
        if first > 0:
            moved = remote.pull(TOPIC, queue_id, first - 1)
            assert moved.code == ResponseCode.PULL_OFFSET_MOVED
            assert (moved.fields["nextBeginOffset"], moved.fields["minOffset"]) == (str(first), str(first))
            gone = remote.call(
                Command(RequestCode.VIEW_MESSAGE_BY_ID, fields={"offset": str(messages[first - 1][1])})
            )
            assert gone.code == ResponseCode.SYSTEM_ERROR
            assert remote.query(TOPIC, f"{queue_id}-{first - 1}") == []
        assert answered(RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, timestamp="0").fields["offset"] == str(first)
        earliest = answered(RequestCode.GET_EARLIEST_MSG_STORETIME).fields["timestamp"]
        assert earliest == (str(read[0].store_timestamp_ms) if read else "-1")
        for number in {first, len(messages) - 1}:
            eventually(lambda number=number: remote.query(TOPIC, f"{queue_id}-{number}"))  # the index follows
            (found,) = remote.query(TOPIC, f"{queue_id}-{number}")
            assert bytes(found.body) == messages[number][0]
            viewed = remote.call(
                Command(RequestCode.VIEW_MESSAGE_BY_ID, fields={"offset": str(messages[number][1])})
            )
            assert viewed.code == ResponseCode.SUCCESS

    def restart(self) -> None:
        """Start another broker of that name on the store."""
        self.broker = ShmqBroker(self.directory, settings=SETTINGS, broker_name=self.broker.broker_name)


@pytest.fixture
def aging(tmp_path: Path) -> Iterator[Aging]:
    made = Aging(tmp_path)
    yield made
    made.broker.discard()


def runtime_info(remote: Remote) -> dict[str, str]:
    answer = remote.call(Command(RequestCode.GET_BROKER_RUNTIME_INFO))
    return dict(KVTable.from_bytes(answer.body).table)


def read_from(remote: Remote, queue_id: int, first: int, end: int) -> list[ReceivedMessage]:
    messages: list[ReceivedMessage] = []
    while first + len(messages) < end:
        answer = remote.pull(TOPIC, queue_id, first + len(messages))
        assert answer.code == ResponseCode.SUCCESS, (answer.code, answer.remark)
        messages += decode_messages(answer.body)
    return messages


def deleted_files(broker: ShmqBroker) -> list[str]:
    """What a process of the broker has mapped or open of the store though it is gone, whatever its name is said to be."""
    root = str(broker.store_root)
    there = {path.stat().st_ino for path in broker.store_root.rglob("*")}
    found = []
    for process in broker.workers():
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        mapped = [(int(line.split()[4]), line) for line in maps.splitlines() if root in line]
        links = [(each, str(each.readlink())) for each in Path(f"/proc/{process.pid}/fd").iterdir()]
        opened = [(each.stat().st_ino, link) for each, link in links if root in link]
        found += [f"{process.name()}: {what}" for inode, what in (*mapped, *opened) if inode not in there]
    return found


def wait_let_go(broker: ShmqBroker) -> None:
    """Wait until nobody keeps room on the disk for what is gone."""
    left: list[str] = []

    def is_let_go() -> bool:
        left[:] = deleted_files(broker)
        return not left

    try:
        eventually(is_let_go)
    except AssertionError:
        pytest.fail(f"still mapped or open: {left}")


def test_what_is_old_goes_and_the_rest_is_served(aging: Aging) -> None:
    aging.send(250)
    aging.check(0)
    before = aging.index_names()
    assert len(aging.log_starts) > 6
    for _ in range(2):
        begin = aging.delete_expired(2)
        aging.check(begin)
        aging.send(10)
        aging.check(begin)
    eventually(lambda: aging.index_names()[0] > before[0])
    wait_let_go(aging.broker)
    faults = [line for line in aging.broker.log_lines() if line["level"] in {"error", "critical"}]
    assert faults == []
    aging.broker.stop()
    aging.restart()
    aging.check(begin)
    aging.send(10)
    aging.check(begin)
    aging.broker.stop()


def test_what_expires_goes_only_when_it_is_asked_for_or_the_hour_has_come(aging: Aging) -> None:
    aging.send(100)
    starts = aging.log_starts
    aging.age(2)
    aging.ask(RequestCode.CLEAN_EXPIRED_CONSUMEQUEUE)
    with Remote(aging.broker.address) as remote:
        for _ in range(50):  # more than one look, which come as often as requests do
            runtime_info(remote)
    assert aging.log_starts[0] == starts[0]
    aging.ask(RequestCode.DELETE_EXPIRED_COMMITLOG)
    aging.wait_trimmed(starts[2])
    aging.broker.stop()


def test_a_local_consumer_keeps_what_it_reads_and_goes_on_where_messages_are(aging: Aging) -> None:
    aging.send(250)
    with LocalConsumer(aging.broker.broker_name, "local", TOPIC, queues=(0,), from_="earliest") as consumer:
        held = consumer.poll(20, timeout=30)
        assert len(held) == 20
        begin = aging.delete_expired(4)
        first = aging.first(0, begin)
        assert first > 20
        expected = [body for body, _ in aging.sent[0]]
        assert [bytes(body) for body in held.bodies()] == expected[:20]
        bodies: list[bytes] = []
        while len(bodies) < len(expected) - first:
            batch = consumer.poll(1000, timeout=30)
            assert len(batch)
            bodies += [bytes(body) for body in batch.bodies()]
        assert bodies == expected[first:]
        mapped = Path("/proc/self/maps").read_text()
        kept = {
            line.split()[-2] for line in mapped.splitlines() if line.endswith("(deleted)") and TOPIC in line
        }
        assert kept == set(), "queue files are let go of"
        assert [bytes(body) for body in held.bodies()] == expected[:20]
        del held, batch
        mapped = Path("/proc/self/maps").read_text()
        assert [
            line for line in mapped.splitlines() if str(aging.directory) in line and "(deleted)" in line
        ] == []
        assert consumer.position(0) == len(expected)
    with LocalConsumer(aging.broker.broker_name, "new", TOPIC, queues=(1,)) as consumer:
        assert consumer.position(1) == aging.first(1, begin)
    aging.broker.stop()


def test_a_pull_that_waits_and_a_consumer_far_behind_are_answered(aging: Aging) -> None:
    aging.send(150)
    end = len(aging.sent[0])
    with Remote(aging.broker.address) as waiting, Remote(aging.broker.address) as behind:
        first = read_from(behind, 0, 0, 32)
        assert len(first) >= 32
        number = waiting.post(pull_request(TOPIC, 0, end, suspend_ms=60_000))
        begin = aging.delete_expired(2)
        moved = behind.pull(TOPIC, 0, len(first))
        assert moved.code == ResponseCode.PULL_OFFSET_MOVED
        assert int(moved.fields["nextBeginOffset"]) == aging.first(0, begin)
        aging.send(1)
        answer = waiting.answer_to(number)
        assert answer.code == ResponseCode.SUCCESS
        assert [bytes(each.body) for each in decode_messages(answer.body)] == [aging.sent[0][-1][0]]
    aging.broker.stop()


@pytest.mark.parametrize("victim", ["conductor", "dispatcher", "net-0", "writer"])
def test_a_process_killed_while_files_go_changes_nothing(aging: Aging, victim: str) -> None:
    aging.send(250)
    begin = aging.age(5)
    before = aging.broker.worker(victim)
    aging.ask(RequestCode.DELETE_EXPIRED_COMMITLOG)
    eventually(lambda: aging.log_starts[0] > 0)
    os.kill(before.pid, signal.SIGKILL)
    psutil.wait_procs([before], timeout=30)
    aging.wait_trimmed(begin)
    aging.check(begin)
    aging.send(5)
    aging.check(begin)
    wait_let_go(aging.broker)
    aging.broker.stop()


def test_a_broker_killed_while_files_go_is_whole_when_it_starts_again(aging: Aging) -> None:
    aging.send(250)
    aging.age(5)
    aging.ask(RequestCode.DELETE_EXPIRED_COMMITLOG)
    eventually(lambda: aging.log_starts[0] > 0)
    aging.broker.kill()
    begin = aging.log_starts[0]
    aging.restart()
    aging.wait_trimmed(begin)
    aging.check(begin)
    aging.send(5)
    aging.check(begin)
    aging.broker.stop()


def test_queue_files_of_a_deleted_topic_go_when_that_is_asked_for(aging: Aging) -> None:
    aging.send(60)
    root = aging.directory / "store" / "consumequeue"
    with Remote(aging.broker.address) as remote:
        assert remote.send("unused", b"x").code == ResponseCode.SUCCESS
        eventually((root / "unused").exists)
        deleted = remote.call(Command(RequestCode.DELETE_TOPIC_IN_BROKER, fields={"topic": "unused"}))
        assert deleted.code == ResponseCode.SUCCESS
        aging.ask(RequestCode.CLEAN_UNUSED_TOPIC)
        eventually(lambda: not (root / "unused").exists())
        aging.check(0)
        assert remote.send("unused", b"again").code == ResponseCode.SUCCESS
        (message,) = read_last(remote, "unused")
        assert (bytes(message.body), message.queue_offset) == (b"again", 1)
    aging.broker.stop()
    aging.restart()
    aging.check(0)
    aging.broker.stop()


def read_last(remote: Remote, topic: str) -> list[ReceivedMessage]:
    """The last message of a topic's first queue, as soon as it can be consumed."""
    eventually(lambda: remote.pull(topic, 0, 1).code == ResponseCode.SUCCESS)
    return decode_messages(remote.pull(topic, 0, 1).body)


def test_a_disk_that_is_nearly_full_stops_sends_and_nothing_else(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, "64m") as disk:
        settings = SETTINGS | {"key_index_slots": 10, "key_index_entries": 20}
        broker = ShmqBroker(tmp_path, store_root=disk.path / "store", settings=settings)
        try:
            workers = set(broker.workers())
            with Remote(broker.address) as remote, LocalProducer(broker.broker_name, "full") as producer:
                assert remote.send("full", b"first").code == ResponseCode.SUCCESS
                assert float(runtime_info(remote)["commitLogDiskRatio"]) < 0.85
                fill_up_to(disk, 93)
                refused = wait_for_code(remote, ResponseCode.SERVICE_NOT_AVAILABLE)
                assert "the broker's disk is full" in str(refused.remark)
                info = runtime_info(remote)
                assert info["runningFlags"] == "16"
                assert 0.90 < float(info["commitLogDiskRatio"]) < 1
                assert (
                    remote.send("full", b"slow", 0, "DELAY\x011\x02").code
                    == ResponseCode.SERVICE_NOT_AVAILABLE
                )
                with pytest.raises(RefusedError, match="disk is full"):
                    producer.send_wait(b"local")
                assert [bytes(each.body) for each in remote.read_queue("full", 0, 1)][:1] == [b"first"]
                fill_up_to(disk, 87)  # below the one bound, above the other
                for _ in range(500):  # more than one look
                    assert remote.send("full", b"x").code == ResponseCode.SERVICE_NOT_AVAILABLE
                    runtime_info(remote)
                fill_up_to(disk, 0)
                wait_for_code(remote, ResponseCode.SUCCESS)
                producer.send_wait(b"local again")
                assert runtime_info(remote)["runningFlags"] == "0"
            assert set(broker.workers()) == workers, "a process was restarted"
            said = [line["event"] for line in broker.log_lines() if line["level"] in {"error", "warning"}]
            assert said.count("a disk is full: refusing messages") == 1
            assert said.count("the disks have room: taking messages again") == 1
            broker.stop()
        finally:
            broker.discard()


def wait_for_code(remote: Remote, code: ResponseCode) -> Command:
    """Send until the answer is this one."""
    answers: list[Command] = []

    def is_answered() -> bool:
        runtime_info(remote)  # whoever asks is company: the disk is looked at more often
        answers.append(remote.send("full", b"x"))
        return answers[-1].code == code

    eventually(is_answered)
    return answers[-1]


def fill_up_to(disk: SmallDisk, percent: int) -> None:
    """Let a file take so much, and never less on the way, that the disk is so full."""
    ballast = disk.path / "ballast"
    ballast.touch()
    state = os.statvfs(disk.path)
    missing = percent * state.f_blocks // 100 - (state.f_blocks - state.f_bfree)
    if missing > 0:
        with ballast.open("ab") as file:
            file.write(bytes(missing * state.f_frsize))
    else:
        os.truncate(ballast, max(ballast.stat().st_size + missing * state.f_frsize, 0))


def test_the_oldest_files_go_for_want_of_room(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, "64m") as disk:
        settings = SETTINGS | {"clean_forcibly_enable": "true", "key_index": "false"}
        broker = ShmqBroker(tmp_path, store_root=disk.path / "store", settings=settings)
        try:
            with Remote(broker.address) as remote:
                for _ in range(400):
                    assert remote.send("full", bytes(1000)).code == ResponseCode.SUCCESS
                before = list_starts(disk.path / "store" / "commitlog", LOG_FILE_BYTES)
                assert before[0] == 0
                fill_up_to(disk, 88)

                def has_made_room() -> bool:
                    runtime_info(remote)
                    return len(list_starts(disk.path / "store" / "commitlog", LOG_FILE_BYTES)) <= 2

                eventually(has_made_room)
                fill_up_to(disk, 0)
                wait_for_code(remote, ResponseCode.SUCCESS)
            broker.stop()
        finally:
            broker.discard()
