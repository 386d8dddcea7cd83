"""Recovery after a sync of the log has failed: what the system remembers may not be what is on disk."""

import errno
import os

import pytest

from shmq.errors import StoreError
from shmq.store import recover
from tests.support.store_on_disk import check, crash, made_store, start


@pytest.fixture
def store(tmp_path):
    made = made_store(tmp_path)
    crash(made)
    return made


def test_the_log_is_read_from_the_disk_again(store, monkeypatch):
    dropped = []
    monkeypatch.setattr(
        recover.os,
        "posix_fadvise",
        lambda descriptor, *rest: dropped.append((os.fstat(descriptor).st_ino, rest)),
    )
    store.paths.sync_failed.write_text("cannot sync: Input/output error")
    outcome = start(store)
    inodes = [store.log.file(begin).stat().st_ino for begin in store.log.starts()]
    assert [each for each in dropped if each[0] in inodes] == [
        (inode, (0, 0, os.POSIX_FADV_DONTNEED)) for inode in inodes
    ]
    assert any("could not be synced" in line for line in outcome.said)
    check(store, outcome)
    assert not store.paths.sync_failed.exists(), "what is there now is on disk"


def test_without_a_failure_nothing_is_read_twice(store):
    assert not any("could not be synced" in line for line in start(store).said)


def test_a_disk_that_still_fails_keeps_the_store_closed(store, monkeypatch):
    store.paths.sync_failed.write_text("cannot sync: Input/output error")

    def fail(_descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as failing:
        failing.setattr(recover.os, "fdatasync", fail)
        with pytest.raises(StoreError, match=r"cannot sync .*Input/output error"):
            start(store)
    assert store.paths.sync_failed.exists()
    check(store, start(store))
