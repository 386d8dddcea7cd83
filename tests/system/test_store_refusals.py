"""Stores that cannot be opened are refused with one clear line and left as they were; a disk that fills up is borne."""

from pathlib import Path
from typing import Final

import pytest

from shmq.wire.codes import ResponseCode
from tests.support.ports import HOST, free_broker_port
from tests.support.remote import Remote
from tests.support.shmq_process import ShmqBroker, run_supervisor
from tests.support.small_disk import SmallDisk
from tests.support.tree import tree_of
from tests.support.waiting import eventually

LOG_FILE_BYTES: Final = 1 << 20
BODY: Final = b"x" * 60_000
NO_ROOM: Final = {ResponseCode.SERVICE_NOT_AVAILABLE, ResponseCode.SYSTEM_ERROR}


def refusal(directory: Path, store_root: Path) -> tuple[int, str]:
    """Try to start on a store; return the exit code and what was printed."""
    code, printed = run_supervisor(
        directory,
        *("--store-root", store_root, "--broker-name", "refused", "--namesrv-listen", "off"),
        *("--listen", f"{HOST}:{free_broker_port()}"),
        *("--set", f"commit_log_file_bytes={LOG_FILE_BYTES}"),
    )
    assert "Traceback" not in printed, printed
    assert not list(Path("/dev/shm").glob("shmq-refused*"))
    return code, printed


def make_file(path: Path, size_bytes: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size_bytes)


@pytest.mark.parametrize(
    ("name", "is_directory", "complaint"),
    [
        ("commitlog", False, "must be a directory"),
        ("consumequeue", False, "must be a directory"),
        ("config", False, "must be a directory"),
        ("checkpoint", True, "must be a file"),
        ("lock", True, "must be a file"),
        ("abort", True, "must be a file"),
    ],
)
def test_a_name_taken_by_something_else_is_refused(
    tmp_path: Path, name: str, is_directory: bool, complaint: str
) -> None:
    root = tmp_path / "store"
    if is_directory:
        (root / name).mkdir(parents=True)
    else:
        make_file(root / name)
    before = tree_of(root)
    code, printed = refusal(tmp_path, root)
    assert code == 1
    assert f"error: {root / name} {complaint}\n" in printed
    assert tree_of(root) == before


@pytest.mark.parametrize(
    ("file", "size_bytes", "complaint"),
    [
        (f"{0:020d}", 4711, f"has 4711 bytes where {LOG_FILE_BYTES} are configured"),
        (f"{4096:020d}", LOG_FILE_BYTES, f"does not begin at a multiple of {LOG_FILE_BYTES} bytes"),
        ("notes.txt", LOG_FILE_BYTES, "does not belong here"),
    ],
)
def test_a_foreign_file_in_the_log_is_refused(
    tmp_path: Path, file: str, size_bytes: int, complaint: str
) -> None:
    root = tmp_path / "store"
    make_file(root / "commitlog" / file, size_bytes)
    before = tree_of(root)
    code, printed = refusal(tmp_path, root)
    assert code == 1
    assert f"{root / 'commitlog' / file} {complaint}" in printed
    assert tree_of(root) == before


def test_a_hole_in_the_log_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "store"
    for start in (0, 2 * LOG_FILE_BYTES):
        make_file(root / "commitlog" / f"{start:020d}", LOG_FILE_BYTES)
    before = tree_of(root)
    code, printed = refusal(tmp_path, root)
    assert code == 1
    assert f"{root / 'commitlog' / f'{LOG_FILE_BYTES:020d}'} is missing" in printed
    assert tree_of(root) == before


@pytest.mark.parametrize("name", ["topics.json", "consumerOffset.json"])
def test_a_document_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "store"
    make_file(root / "config" / name)
    make_file(root / "config" / f"{name}.bak")
    before = tree_of(root)
    code, printed = refusal(tmp_path, root)
    assert code == 1
    assert f"a document in {root / 'config'} cannot be used: " in printed
    assert str(root / "config" / f"{name}.bak") in printed
    assert tree_of(root) == before


def test_a_file_in_place_of_the_store_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "store"
    make_file(root)
    code, printed = refusal(tmp_path, root)
    assert code == 1
    assert f"error: the store directory {root} cannot be made: File exists\n" in printed
    assert root.read_bytes() == b"xxx"


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    root = Path("/proc/shmq-store")  # where not even root can make one
    code, printed = refusal(tmp_path, root)
    assert code == 1
    assert f"error: the store directory {root} cannot be made: " in printed


def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, "64m") as disk:
        root = disk.path / "store"
        make_file(root / "commitlog" / f"{0:020d}", LOG_FILE_BYTES)
        disk.forbid_writing()
        before = tree_of(root)
        code, printed = refusal(tmp_path, root)
        assert code == 1
        assert f"error: {root} must be readable and writable to this user\n" in printed
        assert tree_of(root) == before


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, "4m") as disk:
        root = disk.path / "store"
        root.mkdir()
        code, printed = refusal(tmp_path, root)
        assert code == 1
        assert "bytes are free for the store" in printed
        assert tree_of(root) == {}


def test_a_disk_that_fills_up_stops_sends_and_nothing_else(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, "32m") as disk:
        broker = ShmqBroker(
            tmp_path,
            store_root=disk.path / "store",
            settings={"commit_log_file_bytes": LOG_FILE_BYTES, "consume_queue_file_bytes": 20 * 1000},
        )
        try:
            workers = set(broker.workers())
            with Remote(broker.address) as remote:
                stored = fill(remote, disk)
                assert len(remote.read_queue("full", 0, stored)) == stored, "reads go on"
                (disk.path / "ballast").unlink()
                eventually(lambda: remote.send("full", b"taken again").code == ResponseCode.SUCCESS)
                messages = remote.read_queue("full", 0, stored + 1)
            assert [bytes(each.body) for each in messages] == [BODY] * stored + [b"taken again"]
            assert set(broker.workers()) == workers, "a process was restarted"
            broker.stop()
        finally:
            broker.discard()


def fill(remote: Remote, disk: SmallDisk) -> int:
    """Take all the room but what was taken before, then send until nothing goes; return how many went."""
    assert remote.send("full", BODY).code == ResponseCode.SUCCESS
    disk.occupy(disk.path / "ballast")
    stored = 1
    while (answer := remote.send("full", BODY)).code == ResponseCode.SUCCESS:
        stored += 1
        assert stored * len(BODY) < 4 * LOG_FILE_BYTES, "there was room where none should be"
    assert answer.code in NO_ROOM
    assert remote.send("full", b"small").code in NO_ROOM
    return stored
