"""A supervisor from its first line to its last: readiness, signals, and the ends that nobody asked for."""

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shmq.local.producer import LocalProducer
from shmq.store.checkpoint import read_checkpoint
from tests.support.member import Member
from tests.support.ports import HOST, free_broker_port, free_port
from tests.support.processes import STOP_DEADLINE_S, Process, assert_gone
from tests.support.remote import Remote
from tests.support.shmq_process import READY_DEADLINE_S, SUPERVISOR, ShmqBroker, run_supervisor
from tests.support.tree import tree_of
from tests.support.waiting import eventually

Start = Callable[..., ShmqBroker]
SMALL_FILES = {"commit_log_file_bytes": "1MiB", "consume_queue_file_bytes": 20 * 100}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start brokers on one store; whatever is left of them at the end is removed."""
    started: list[ShmqBroker] = []

    def make(**arguments: Any) -> ShmqBroker:
        settings = {**SMALL_FILES, **arguments.pop("settings", {})}
        started.append(ShmqBroker(tmp_path, settings=settings, **arguments))
        return started[-1]

    yield make
    for each in started:
        each.discard()


def send(broker: ShmqBroker, count: int, topic: str = "lifecycle") -> list[bytes]:
    bodies = [b"message %d" % number for number in range(count)]
    with Remote(broker.address) as remote:
        for body in bodies:
            assert remote.send(topic, body).code == 0
    return bodies


def bodies_of(broker: ShmqBroker, least: int, topic: str = "lifecycle") -> list[bytes]:
    with Remote(broker.address) as remote:
        return [bytes(message.body) for message in remote.read_queue(topic, 0, least)]


def logged(broker: ShmqBroker, event: str) -> bool:
    return any(line["event"] == event for line in broker.log_lines())


def open_logs(process: psutil.Process) -> set[str]:
    """The paths under which a process has the log open; a renamed file has its new name here."""
    return {Path(each.path).name for each in process.open_files() if "shmq.log" in each.path}


def test_readiness_is_a_line_a_file_and_a_message_to_systemd(start: Start, tmp_path: Path) -> None:
    ready_file = tmp_path / "ready"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(STOP_DEADLINE_S)
        broker = start(
            settings={"ready_file": str(ready_file)}, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}
        )
        assert b"READY=1" in notified.recv(4096).split(b"\n")
        eventually(lambda: ready_file.exists() and ready_file.read_text() == f"{broker.process.pid}\n")
        assert len(send(broker, 1)) == 1
        broker.stop()
        assert notified.recv(4096) == b"STOPPING=1"
    assert not ready_file.exists()


def test_the_banner_says_where_everything_is_and_what_to_try(start: Start) -> None:
    broker = start()
    banner = broker.process.log_path.read_text()
    for expected in (
        broker.broker_name,
        f"listens on     {broker.address}  VIP {broker.vip_address}",
        f"name server    {broker.namesrv_address} (embedded)",
        f"store          {broker.store_root}",
        f"shmq produce hello --body world --namesrv {broker.namesrv_address}\n",
        f"shmq consume hello --from-beginning --namesrv {broker.namesrv_address}\n",
    ):
        assert expected in banner
    for worker in broker.workers():
        assert f"{worker.name().removeprefix('shmq-')}({worker.pid})" in banner
    broker.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(start: Start, number: int) -> None:
    broker = start(in_own_group=True)
    bodies = send(broker, 20)
    workers = broker.workers()
    assert (broker.store_root / "abort").exists()
    assert broker.segments()

    if number == signal.SIGINT:
        broker.process.signal_group(number)  # as a terminal does
    else:
        broker.process.signal(number)

    assert broker.process.wait_exit(STOP_DEADLINE_S) == 0
    assert_gone(workers)
    assert not broker.segments()
    assert not (broker.store_root / "abort").exists()
    checkpoint = read_checkpoint(broker.store_root / "checkpoint")
    assert checkpoint.log_timestamp_ms > 0
    assert checkpoint.queues_timestamp_ms >= checkpoint.log_timestamp_ms

    again = start()
    assert bodies_of(again, len(bodies)) == bodies
    again.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("children", [0, 1, 4, 6])
def test_a_signal_while_it_starts_ends_it_in_good_order(tmp_path: Path, children: int, number: int) -> None:
    name, port = f"starting-{free_port()}", free_broker_port()
    segment = Path(f"/dev/shm/shmq-{name}")
    command: list[str | Path] = [
        SUPERVISOR,
        *("--store-root", tmp_path / "store", "--broker-name", name, "--set", "network_workers=2"),
        *("--listen", f"{HOST}:{port}", "--namesrv-listen", f"{HOST}:{free_port()}"),
    ]
    logs = {"SHMQ_LOG_DIRECTORY": str(tmp_path / "logs")}
    log_path = tmp_path / "supervisor.log"
    with Process(command, log_path=log_path, environment=logs, in_own_group=True) as process:
        eventually(lambda: segment.exists() and len(process.descendants()) >= children, READY_DEADLINE_S)
        process.signal_group(number) if number == signal.SIGINT else process.signal(number)
        assert process.wait_exit(STOP_DEADLINE_S) == 0, log_path.read_text()
    assert not segment.exists()
    assert not (tmp_path / "store" / "abort").exists()


@pytest.mark.parametrize("strategy", ["yield", "busy_spin"])
def test_processes_that_do_not_sleep_heed_a_signal_as_well(start: Start, strategy: str) -> None:
    broker = start(settings={"wait_strategy": strategy})
    with LocalProducer(broker.broker_name, "one-by-one") as producer:
        for _ in range(200):  # each ends a rest, and rests grow while little is done in them
            producer.send_wait(b"x")
    broker.stop()


def test_a_second_signal_kills_what_does_not_end(start: Start) -> None:
    broker = start()
    bodies = send(broker, 20)
    workers = broker.workers()
    broker.worker("net-0").suspend()
    broker.process.signal(signal.SIGTERM)
    eventually(lambda: logged(broker, "stopping"))
    broker.process.signal(signal.SIGTERM)

    assert broker.process.wait_exit(STOP_DEADLINE_S) != 0
    assert_gone(workers)
    assert not broker.segments()
    assert (broker.store_root / "abort").exists(), "the next start must check the store"

    again = start()
    assert bodies_of(again, len(bodies)) == bodies
    again.stop()


def test_a_killed_supervisor_takes_its_processes_along_in_good_order(start: Start) -> None:
    broker = start()
    bodies = send(broker, 20)
    with Member(broker.address) as member:
        member.join("G", "lifecycle")
        assert member.commit_offset("G", "lifecycle", 0, 7).code == 0
    workers = broker.workers()

    broker.process.signal(signal.SIGKILL)
    broker.process.wait_exit(STOP_DEADLINE_S)
    assert_gone(workers)
    stale = {segment: segment.stat().st_ino for segment in broker.segments()}
    assert stale, "nobody was left to remove it"

    again = start(broker_name=broker.broker_name)
    assert {segment: segment.stat().st_ino for segment in again.segments()} != stale
    assert bodies_of(again, len(bodies)) == bodies
    with Member(again.address) as member:
        assert member.query_offset("G", "lifecycle", 0) == 7, "the conductor saved it as it ended"
    again.stop()


def test_clean_removes_what_the_dead_left_and_nothing_of_the_living(start: Start, tmp_path: Path) -> None:
    dead = start()
    dead.kill()
    assert dead.segments()
    living = start()
    code, printed = run_supervisor(tmp_path, "--clean")
    assert code == 0
    assert f"removed /shmq-{dead.broker_name}\n" in printed
    assert not dead.segments()
    assert living.segments()
    assert len(send(living, 5)) == 5
    living.stop()


def test_a_log_that_was_moved_is_opened_anew_by_every_process(start: Start) -> None:
    broker = start()
    processes = [psutil.Process(broker.process.pid), *broker.workers()]
    moved = broker.log_path.with_suffix(".log.1")
    broker.log_path.rename(moved)
    assert all(open_logs(each) == {moved.name} for each in processes)
    broker.process.signal(signal.SIGHUP)
    eventually(lambda: all(open_logs(each) == {broker.log_path.name} for each in processes))
    before = moved.read_bytes()
    broker.stop()
    assert logged(broker, "stopped")
    assert moved.read_bytes() == before


def test_a_process_that_dies_again_and_again_ends_the_broker_loudly(start: Start) -> None:
    broker = start(settings={"restarts_max": 1, "restart_delay_ms_min": 10})
    workers = set(broker.workers())
    first = broker.worker("dispatcher")
    first.kill()
    eventually(lambda: broker.worker("dispatcher") != first)
    second = broker.worker("dispatcher")
    second.kill()
    assert broker.process.wait_exit(STOP_DEADLINE_S) != 0
    assert_gone([*workers, second])
    assert not broker.segments()
    last = [line for line in broker.log_lines() if line["level"] == "critical"]
    assert [(line["event"], line["name"]) for line in last] == [
        ("a process dies again and again; giving up", "dispatcher")
    ]


def test_a_second_supervisor_with_the_same_store_is_refused(start: Start, tmp_path: Path) -> None:
    first = start()
    code, printed = run_supervisor(
        tmp_path / "second",
        *("--store-root", first.store_root, "--broker-name", "second"),
        *("--listen", f"{HOST}:{free_broker_port()}", "--namesrv-listen", "off"),
    )
    assert code == 1
    assert f"error: the store {first.store_root} is open in another broker, process" in printed
    assert "Traceback" not in printed
    bodies = send(first, 3)
    assert bodies_of(first, 3) == bodies
    first.stop()


def test_a_second_supervisor_of_the_same_name_is_refused(start: Start, tmp_path: Path) -> None:
    first = start()
    code, printed = run_supervisor(
        tmp_path / "second",
        *("--store-root", tmp_path / "second" / "store", "--broker-name", first.broker_name),
        *("--listen", f"{HOST}:{free_broker_port()}", "--namesrv-listen", "off"),
    )
    assert code == 1
    assert f"error: a broker named '{first.broker_name}' runs already" in printed
    assert "Traceback" not in printed
    assert tree_of(tmp_path / "second" / "store") == {}
    assert first.segments()
    bodies = send(first, 3)
    assert bodies_of(first, 3) == bodies
    first.stop()


@pytest.mark.parametrize("which", ["listen", "VIP", "name server"])
def test_a_taken_port_is_refused_before_anything_is_changed(tmp_path: Path, which: str) -> None:
    port, namesrv_port = free_broker_port(), free_port()
    taken = {"listen": port, "VIP": port - 2, "name server": namesrv_port}[which]
    with socket.create_server((HOST, taken)):
        code, printed = run_supervisor(
            tmp_path,
            *("--store-root", tmp_path / "store", "--broker-name", "refused"),
            *("--listen", f"{HOST}:{port}", "--namesrv-listen", f"{HOST}:{namesrv_port}"),
        )
    assert code == 2
    assert f"error: cannot listen on {HOST}:{taken}: Address already in use" in printed
    assert "Traceback" not in printed
    assert tree_of(tmp_path / "store") == {}
