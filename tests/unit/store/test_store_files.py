"""The store's directory: its lock, its mark of an open store, and what it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store.store_files import (
    StoreLock,
    StorePaths,
    StoreSizes,
    check_layout,
    find_holder,
    mark_closed,
    mark_open,
    read_abort,
    was_left_open,
)

TRY_LOCK = """
import sys
from pathlib import Path
from shmq.errors import StoreError
from shmq.store.store_files import StoreLock, StorePaths
try:
    StoreLock(StorePaths(Path(sys.argv[1])))
except StoreError as error:
    print(error)
else:
    print("locked")
"""


def lock_elsewhere(root: Path) -> str:
    made = subprocess.run(
        [sys.executable, "-c", TRY_LOCK, str(root)], capture_output=True, text=True, check=True
    )
    return made.stdout.strip()


def test_a_second_process_is_refused_and_told_who_holds_the_store(tmp_path: Path) -> None:
    paths = StorePaths(tmp_path)
    lock = StoreLock(paths)
    mark_open(paths)
    refusal = lock_elsewhere(tmp_path)
    assert str(tmp_path) in refusal
    assert f"process {os.getpid()}" in refusal
    lock.release()
    lock.release()
    assert lock_elsewhere(tmp_path) == "locked"


def test_the_lock_file_holds_rocketmqs_word(tmp_path: Path) -> None:
    lock = StoreLock(StorePaths(tmp_path))
    lock.release()
    assert (tmp_path / "lock").read_bytes() == b"lock"


def test_the_mark_of_an_open_store_holds_the_process_id(tmp_path: Path) -> None:
    paths = StorePaths(tmp_path)
    assert not was_left_open(paths)
    mark_open(paths)
    mark_open(paths)
    assert was_left_open(paths)
    assert paths.abort.read_text() == str(os.getpid())
    mark_closed(paths)
    mark_closed(paths)
    assert not was_left_open(paths)


def test_an_absent_root_is_made_and_a_whole_store_accepted(tmp_path: Path) -> None:
    paths = StorePaths(tmp_path / "a" / "b")
    check_layout(paths)
    assert list(paths.root.iterdir()) == []
    paths.commitlog.mkdir()
    mark_open(paths)
    check_layout(paths)


@pytest.mark.parametrize("name", ["commitlog", "consumequeue", "index", "config", "quarantine"])
def test_a_file_in_the_place_of_a_directory_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(StoreError, match=f"{name} must be a directory"):
        check_layout(StorePaths(tmp_path))


@pytest.mark.parametrize("name", ["checkpoint", "abort", "lock"])
def test_a_directory_in_the_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(StoreError, match=f"{name} must be a file"):
        check_layout(StorePaths(tmp_path))


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(StoreError, match="store"):
        check_layout(StorePaths(tmp_path / "store"))


def test_sizes_that_no_store_can_have_are_refused() -> None:
    assert StoreSizes().consume_queue_file_bytes == 6_000_000
    for sizes in ((0, 20), (1 << 31, 20), (100, 30), (100, 0)):
        with pytest.raises(AssertionError):
            StoreSizes(*sizes)


HOLD = """
import fcntl, os, sys
from pathlib import Path
from shmq.store.store_files import StoreLock, StorePaths, take_duty
paths = StorePaths(Path(sys.argv[1]))
if sys.argv[2] == "store":
    lock = StoreLock(paths)
else:
    paths.lock.touch()
    take_duty(paths, 3)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("what", ["store", "duty"])
def test_who_holds_a_store_is_seen_and_nothing_changed(tmp_path: Path, what: str) -> None:
    paths = StorePaths(tmp_path)
    assert find_holder(paths) is None
    assert list(tmp_path.iterdir()) == []
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), what], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert find_holder(paths) == process.pid
        process.communicate(b"")
    assert find_holder(paths) is None


@pytest.mark.parametrize(("text", "pid"), [("123", 123), ("", None), ("x", None), ("-4", None), (None, None)])
def test_the_pid_of_an_unclean_end_is_read(tmp_path: Path, text: str | None, pid: int | None) -> None:
    paths = StorePaths(tmp_path)
    if text is not None:
        paths.abort.write_text(text)
    assert read_abort(paths) == pid
