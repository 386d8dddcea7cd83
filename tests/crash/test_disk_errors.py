"""A disk that fails: the watcher answers a call with an error number in the system's place."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from shmq.inspect.verify import verify_store
from shmq.store.store_files import StorePaths
from shmq.wire.codes import ResponseCode
from tests.crash.system_calls import is_permitted
from tests.crash.watcher import Rule, Watcher, launched_under
from tests.crash.workload import Plan
from tests.support.remote import Remote
from tests.support.shmq_process import ShmqBroker
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(
    not is_permitted(), reason="seccomp's user notification is not permitted here"
)

TOPIC: Final = "errors"
SENDS_MAX: Final = 1000
SYNC: Final = Plan(seed=3, is_sync=True)
ASYNC: Final = Plan(seed=3, is_sync=False)
BOTH: Final = pytest.mark.parametrize("plan", [SYNC, ASYNC], ids=["sync", "async"])


@dataclass
class Ground:
    """A watched broker, and a connection to it."""

    broker: ShmqBroker
    watcher: Watcher
    remote: Remote

    def send(self, body: bytes, topic: str = TOPIC) -> ResponseCode | int:
        return self.remote.send(topic, body).code

    def bodies(self, count: int, topic: str = TOPIC) -> list[bytes]:
        return [bytes(each.body) for each in self.remote.read_queue(topic, 0, count)]

    def has_said(self, event: str) -> bool:
        return any(line["event"] == event for line in self.broker.log_lines())


@contextmanager
def ground(directory: Path, plan: Plan) -> Iterator[Ground]:
    root = directory / "store"
    watcher = Watcher(root, seed=1, sync_s=0.001)
    with watcher:
        broker = ShmqBroker(
            directory,
            store_root=root,
            settings={**plan.settings, "sync_flush_timeout_ms": 500},
            launcher=launched_under(watcher.socket_path),
        )
        try:
            with Remote(broker.address) as remote:
                yield Ground(broker, watcher, remote)
        finally:
            broker.discard()


def fails(calls: set[str], part: str, error: int, times: int = 1 << 30) -> Rule:
    """These calls on paths with this part fail, so many times."""
    left = iter(range(times))

    def rule(call: str, path: str) -> int | None:
        return error if call in calls and part in path and next(left, None) is not None else None

    return rule


def assert_whole(directory: Path, plan: Plan, expected: list[bytes]) -> None:
    """A broker started again serves these first, and closes a store without a fault."""
    root = directory / "store"
    broker = ShmqBroker(directory / "again", store_root=root, settings=plan.settings)
    try:
        with Remote(broker.address) as remote:
            stored = [bytes(each.body) for each in remote.read_queue(TOPIC, 0)]
            assert remote.send(TOPIC, b"taken again").code == ResponseCode.SUCCESS
        broker.stop()
    finally:
        broker.discard()
    assert stored[: len(expected)] == expected
    findings = [each for each in verify_store(StorePaths(root), plan.sizes) if not each.is_pending]
    assert not findings, findings


@BOTH
def test_when_the_log_cannot_be_synced_sends_are_refused_and_reads_are_served(
    tmp_path: Path, plan: Plan
) -> None:
    with ground(tmp_path, plan) as at:
        sent = [str(number).encode() for number in range(20)]
        for body in sent:
            assert at.send(body) == ResponseCode.SUCCESS
        assert at.bodies(len(sent)) == sent
        at.watcher.rule = fails({"msync", "fdatasync", "fsync"}, "/commitlog/", errno.EIO)
        refused = None
        for number in range(SENDS_MAX):
            code = at.send(f"doubtful {number}".encode())
            if code == ResponseCode.SERVICE_NOT_AVAILABLE:
                refused = number
                break
            assert not (plan.is_sync and code == ResponseCode.SUCCESS), "answered before it was on disk"
        assert refused is not None
        assert at.watcher.faults
        # A first refusal may be for want of the next file; what is in this one is synced sooner or later.
        eventually(
            lambda: at.has_said("the disk failed: no message is taken until the broker is started anew")
        )
        eventually((at.broker.store_root / "sync.failed").exists)  # so that the next start knows of it
        at.watcher.rule = None
        assert at.send(b"the disk is well again") == ResponseCode.SERVICE_NOT_AVAILABLE, (
            "what failed is final"
        )
        assert at.bodies(len(sent))[: len(sent)] == sent
        at.broker.kill()
    assert_whole(tmp_path, plan, sent)


def test_a_queue_that_cannot_be_synced_once_costs_a_dispatcher_and_no_message(tmp_path: Path) -> None:
    with ground(tmp_path, SYNC) as at:
        before = at.broker.worker("dispatcher").pid
        at.watcher.rule = fails({"fdatasync"}, "/consumequeue/", errno.EIO, times=1)
        sent: list[bytes] = []
        while not at.watcher.faults or at.broker.worker("dispatcher").pid == before:
            sent.append(str(len(sent)).encode())
            assert at.send(sent[-1]) == ResponseCode.SUCCESS
        assert at.bodies(len(sent)) == sent
        at.broker.stop()
    assert_whole(tmp_path, SYNC, sent)


def test_a_checkpoint_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    with ground(tmp_path, SYNC) as at:
        checkpoint = at.broker.store_root / "checkpoint"
        at.watcher.rule = fails({"pwrite64"}, "/store/checkpoint", errno.ENOSPC)
        before = checkpoint.read_bytes()
        sent: list[bytes] = []
        while not at.has_said("the checkpoint stays as it was"):
            sent.append(str(len(sent)).encode())
            assert at.send(sent[-1]) == ResponseCode.SUCCESS
        assert checkpoint.read_bytes() == before
        at.watcher.rule = None
        eventually(lambda: checkpoint.read_bytes() != before or at.send(b"more") != ResponseCode.SUCCESS)
        assert checkpoint.read_bytes() != before
        at.broker.stop()
    assert_whole(tmp_path, SYNC, sent)


def test_a_document_that_cannot_be_synced_stays_as_it_was_and_is_saved_later(tmp_path: Path) -> None:
    with ground(tmp_path, SYNC) as at:
        topics = at.broker.store_root / "config" / "topics.json"
        at.watcher.rule = fails({"fsync"}, "/config/topics.json.new", errno.EIO)
        assert at.send(b"1") == ResponseCode.SUCCESS
        eventually(lambda: at.has_said("a document could not be saved"))
        assert not topics.exists() or TOPIC.encode() not in topics.read_bytes()
        at.watcher.rule = None
        eventually(lambda: topics.exists() and TOPIC.encode() in topics.read_bytes())
        at.broker.stop()
    assert_whole(tmp_path, SYNC, [b"1"])
