"""A disk without room, for each kind of file that a broker writes: what can go on goes on, and nothing is lost."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from shmq.inspect.verify import verify_store
from shmq.store.key_shape import KeyIndexShape
from shmq.store.store_files import StorePaths, StoreSizes
from shmq.wire.codes import ResponseCode
from tests.support.ports import HOST, free_broker_port
from tests.support.remote import Remote
from tests.support.shmq_process import ShmqBroker, run_supervisor
from tests.support.small_disk import SmallDisk
from tests.support.waiting import eventually

TOPIC: Final = "room"
INDEXED: Final = "indexed"
SIZES: Final = StoreSizes(1 << 20, 2000, KeyIndexShape(100, 50))
SETTINGS: Final = {
    "commit_log_file_bytes": SIZES.commit_log_file_bytes,
    "consume_queue_file_bytes": SIZES.consume_queue_file_bytes,
    "key_index_slots": SIZES.key_index.slots,
    "key_index_entries": SIZES.key_index.entries,
    "flush_disk_type": "SYNC_FLUSH",
}
BODY: Final = b"x" * 60_000
RECORDS_MAX: Final = 200


@contextmanager
def broker_on(directory: Path, disk: SmallDisk) -> Iterator[ShmqBroker]:
    """A broker whose processes all live until it is stopped, and whose store is whole then."""
    store_root = disk.path / "store"
    broker = ShmqBroker(directory, store_root=store_root, settings=SETTINGS)
    try:
        workers = set(broker.workers())
        yield broker
        assert set(broker.workers()) == workers, "a process was restarted"
        broker.stop()
    finally:
        broker.discard()
    findings = [each for each in verify_store(StorePaths(store_root), SIZES) if not each.is_pending]
    assert not findings, findings


def start_once(directory: Path, disk: SmallDisk) -> tuple[int, str]:
    """Start a broker that cannot start; return its exit code and what it printed."""
    return run_supervisor(
        directory / "refused",
        *("--store-root", disk.path / "store", "--broker-name", "refused", "--namesrv-listen", "off"),
        *("--listen", f"{HOST}:{free_broker_port()}"),
        *(part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")),
    )


def complaints(broker: ShmqBroker, event: str) -> list[str]:
    return [line.get("reason", "") for line in broker.log_lines() if line["event"] == event]


def send(remote: Remote, body: bytes, topic: str = TOPIC, key: str = "") -> ResponseCode | int:
    return remote.send(topic, body, 0, f"KEYS\x01{key}\x02" if key else "").code


def bodies(remote: Remote, count: int, topic: str = TOPIC) -> list[bytes]:
    return [bytes(each.body) for each in remote.read_queue(topic, 0, count)]


def test_without_room_for_the_log_sends_are_refused_and_survive_the_death_of_all(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, "32m") as disk:
        broker = ShmqBroker(tmp_path, store_root=disk.path / "store", settings=SETTINGS)
        try:
            with Remote(broker.address) as remote:
                assert send(remote, BODY) == ResponseCode.SUCCESS
                disk.occupy(disk.path / "ballast")
                stored = 1
                while (code := send(remote, BODY)) == ResponseCode.SUCCESS:
                    stored += 1
                    assert stored < RECORDS_MAX
                assert code == ResponseCode.SERVICE_NOT_AVAILABLE
                assert bodies(remote, stored) == [BODY] * stored, "reads go on"
            broker.kill()
            code, printed = start_once(tmp_path, disk)
            assert code == 1
            assert "bytes are free for the store" in printed
        finally:
            broker.discard()
        (disk.path / "ballast").unlink()
        with broker_on(tmp_path, disk) as again, Remote(again.address) as remote:
            assert bodies(remote, stored) == [BODY] * stored
            assert send(remote, b"taken again") == ResponseCode.SUCCESS
            assert bodies(remote, stored + 1)[stored] == b"taken again"


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SmallDisk, ShmqBroker]]:
    """A broker with a small disk for each part of its store but the log."""
    directory = tmp_path_factory.mktemp("parted")
    with SmallDisk(directory, "64m") as disk:
        for part in ("consumequeue", "index", "config"):
            disk.add(f"store/{part}", "1m")
        with broker_on(directory, disk) as broker:
            yield disk, broker


def test_without_room_for_a_queue_file_messages_are_kept_for_later(
    parted: tuple[SmallDisk, ShmqBroker],
) -> None:
    disk, broker = parted
    ballast = disk.path / "store" / "consumequeue" / "ballast"
    with Remote(broker.address) as remote:
        assert send(remote, b"before") == ResponseCode.SUCCESS
        assert bodies(remote, 1) == [b"before"]
        disk.occupy(ballast)
        assert send(remote, b"meanwhile", "another") == ResponseCode.SUCCESS, "it is in the log"
        eventually(lambda: complaints(broker, "cannot dispatch"))
        assert send(remote, b"and") == ResponseCode.SUCCESS
        assert bodies(remote, 1) == [b"before"], "reads go on"
        ballast.unlink()
        assert bodies(remote, 1, "another") == [b"meanwhile"]
        assert bodies(remote, 2) == [b"before", b"and"]
        assert len(complaints(broker, "cannot dispatch")) == 1, "it is said once"


def test_without_room_for_an_index_file_messages_come_and_go(parted: tuple[SmallDisk, ShmqBroker]) -> None:
    disk, broker = parted
    ballast = disk.path / "store" / "index" / "ballast"
    with Remote(broker.address) as remote:
        assert send(remote, b"0", INDEXED, key="first") == ResponseCode.SUCCESS
        eventually(lambda: len(remote.query(INDEXED, "first")) == 1)
        disk.occupy(ballast)
        count = 1
        while not complaints(broker, "cannot index keys"):
            assert send(remote, str(count).encode(), INDEXED, key=f"key{count}") == ResponseCode.SUCCESS
            count += 1
            assert count < RECORDS_MAX
        assert bodies(remote, count, INDEXED) == [str(number).encode() for number in range(count)]
        ballast.unlink()
        for number in range(1, count):
            eventually(lambda key=f"key{number}": len(remote.query(INDEXED, key)) == 1)


def test_without_room_for_a_document_it_is_saved_later(parted: tuple[SmallDisk, ShmqBroker]) -> None:
    disk, broker = parted
    folder = disk.path / "store" / "config"
    topics = folder / "topics.json"
    with Remote(broker.address) as remote:
        assert send(remote, b"1", "early") == ResponseCode.SUCCESS
        eventually(lambda: topics.exists() and b"early" in topics.read_bytes())
        disk.occupy(folder / "ballast")
        assert send(remote, b"2", "late") == ResponseCode.SUCCESS
        eventually(lambda: complaints(broker, "a document could not be saved"))
        assert b"early" in topics.read_bytes(), "the old one is whole"
        assert b"late" not in topics.read_bytes()
        assert bodies(remote, 1, "late") == [b"2"]
        (folder / "ballast").unlink()
        eventually(lambda: b"late" in topics.read_bytes())


def test_a_start_without_room_for_lost_queue_files_is_refused_and_loses_nothing(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, "64m") as disk:
        queues = disk.add("store/consumequeue", "1m")
        broker = ShmqBroker(tmp_path, store_root=disk.path / "store", settings=SETTINGS)
        try:
            with Remote(broker.address) as remote:
                for number in range(RECORDS_MAX):
                    assert send(remote, str(number).encode()) == ResponseCode.SUCCESS
        finally:
            broker.discard()
        shutil.rmtree(queues / TOPIC)  # as a power cut may leave it
        ballast = queues / "ballast.d" / "ballast"  # no topic has such a name
        ballast.parent.mkdir()
        disk.occupy(ballast)
        code, printed = start_once(tmp_path, disk)
        assert code == 1
        assert "No space left on device" in printed
        ballast.unlink()
        with broker_on(tmp_path, disk) as again, Remote(again.address) as remote:
            assert bodies(remote, RECORDS_MAX) == [str(number).encode() for number in range(RECORDS_MAX)]
