"""Queues and key index are built anew from the log, byte for byte, wherever it was killed before."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store.key_files import list_key_files
from shmq.store.rebuild import Rebuilding, rebuild_store
from shmq.store.segment import file_name
from shmq.store.store_files import was_left_open
from tests.support.small_store import DELAYS_MS
from tests.support.sound_store import SHAPE, SoundStore

NOW_MS = 1_900_000_000_000
BOTH = Rebuilding(queues=True, index=True, delay_levels_ms=DELAYS_MS)


@pytest.fixture
def store(tmp_path):
    return SoundStore(tmp_path, messages=130)


def queues_of(store):
    return {
        str(path.relative_to(store.consumequeue)): path.read_bytes()
        for path in store.consumequeue.rglob("*")
        if path.is_file()
    }


def index_of(store):
    return [path.read_bytes() for path in list_key_files(store.paths.index)]


def rebuild(store, wanted=BOTH):
    said = []
    done = rebuild_store(store.paths, store.sizes, wanted, NOW_MS, said.append, lambda *_: None)
    return done, said


def spoil(store):
    for path in store.consumequeue.rglob("*0"):
        if path.is_file():
            path.write_bytes(b"\x07" * store.queue_file_bytes)
    shutil.rmtree(store.consumequeue / "B")
    for path in list_key_files(store.paths.index):
        path.write_bytes(b"\x07" * SHAPE.file_bytes)


@pytest.mark.parametrize("spoilt", [False, True])
def test_what_is_built_is_what_the_broker_wrote(store, spoilt):
    queues, index, documents = queues_of(store), index_of(store), sorted(store.paths.config.iterdir())
    if spoilt:
        spoil(store)
    done, _ = rebuild(store)
    assert (done.trimmed, done.end, done.set_aside) == (0, store.end, ())
    assert queues_of(store) == queues
    assert index_of(store) == index
    assert sorted(store.paths.config.iterdir()) == documents
    assert not was_left_open(store.paths)
    assert store.verify() == []


@pytest.mark.parametrize("what", ["queues", "index"])
def test_one_of_the_two_may_be_built_alone(store, what):
    queues, index = queues_of(store), index_of(store)
    names = [path.name for path in list_key_files(store.paths.index)]
    rebuild(store, Rebuilding(queues=what == "queues", index=what == "index", delay_levels_ms=DELAYS_MS))
    assert queues_of(store) == queues
    assert index_of(store) == index
    assert ([path.name for path in list_key_files(store.paths.index)] == names) == (what == "queues")
    assert store.verify() == []


def test_entries_of_trimmed_records_stay_so_that_no_queue_begins_again(tmp_path):
    store = SoundStore(tmp_path, messages=2)
    store.append(b"Old", 0, store_ms=store.now_ms)
    for number in range(2, 130):
        store.put(number)
    store.settle()
    queues = queues_of(store)
    store.log_file(0).unlink()
    done, _ = rebuild(store)
    assert done.trimmed == 4096
    assert queues_of(store) == queues
    assert store.verify() == []


@pytest.mark.parametrize("size", [0, 19, 400])
def test_queues_whose_files_cannot_be_used_are_removed_whole(store, size):
    queues = queues_of(store)
    (store.consumequeue / "B" / "0" / file_name(200)).write_bytes(b"\x01" * size)
    _, said = rebuild(store)
    assert any("removing the queue B 0" in text for text in said)
    assert queues_of(store) == queues


def test_a_store_that_was_not_closed_is_recovered_too(store):
    last = store.records[-1][0]
    store.patch_log(last + 90, b"\0" * 40)
    store.crash()
    done, _ = rebuild(store)
    assert done.end == last
    assert not was_left_open(store.paths)
    assert store.verify() == []


def test_files_that_are_no_queues_are_nobodys_to_remove(store):
    (store.consumequeue / "B" / "0" / "notes").write_text("mine")
    before = queues_of(store)
    with pytest.raises(StoreError, match="notes"):
        rebuild(store)
    assert queues_of(store) == before
    assert not was_left_open(store.paths)


def test_without_a_log_nothing_is_removed(store):
    for path in store.paths.commitlog.iterdir():
        path.unlink()
    before = queues_of(store)
    with pytest.raises(StoreError, match="no log"):
        rebuild(store)
    assert queues_of(store) == before


CHILD = """
import sys
from pathlib import Path
import shmq.store.key_recover, shmq.store.rebuild as rebuild
from shmq.store.store_files import StoreLock, StorePaths, StoreSizes
from tests.support.small_store import DELAYS_MS
from tests.support.sound_store import SHAPE
root, stop_at = Path(sys.argv[1]), int(sys.argv[2])
steps = 0

def step(*_):
    global steps
    steps += 1
    if steps == stop_at:
        print("here", flush=True)
        sys.stdin.read()

def stepping(function):
    def run(*arguments, **named):
        step()
        return function(*arguments, **named)
    return run

for name in ("mark_open", "CheckpointFile", "sync_directory", "write_key_mark", "KeyBuild", "mark_closed"):
    setattr(rebuild, name, stepping(getattr(rebuild, name)))
paths = StorePaths(root)
lock = StoreLock(paths)
sizes = StoreSizes(4096, 200, SHAPE)
wanted = rebuild.Rebuilding(queues=True, index=True, delay_levels_ms=DELAYS_MS)
rebuild.rebuild_store(paths, sizes, wanted, 1_900_000_000_000, step, step)
print("done", flush=True)
"""


def killed_at(root: Path, step: int) -> bool:
    """Rebuild in a process of its own, and kill that at a step; False where there are not so many."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), str(step)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert line in {b"here\n", b"done\n"}
    return line == b"here\n"


@pytest.mark.parametrize("after", ["rebuild", "recovery"])
def test_it_may_be_killed_anywhere(store, after):
    queues, index = queues_of(store), index_of(store)
    killed = 0
    for step in range(1, 100, 2 if after == "rebuild" else 3):
        if not killed_at(store.root, step):
            break
        killed += 1
        assert step == 1 or was_left_open(store.paths)
        assert all(finding.is_pending for finding in store.verify())
        if after == "rebuild":
            rebuild(store)
        else:
            store.recover()
        assert queues_of(store) == queues
        assert index_of(store) == index
        assert store.verify() == []
    assert killed > 5
