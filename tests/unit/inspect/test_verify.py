"""The check as a whole: it changes nothing, tells how far it is, and agrees with what recovery then does."""

from pathlib import Path

import pytest

from shmq.inspect.damage import Damage
from shmq.inspect.finding import FindingKind
from shmq.inspect.verify import verify_store
from shmq.store.store_files import StorePaths, StoreSizes, mark_closed
from tests.support import store_on_disk
from tests.support.sound_store import SoundStore
from tests.support.store_on_disk import QUEUES, crash, made_store


def state_of(root):
    """Every name below a directory, with content and times."""
    return {
        path: (
            path.stat().st_mtime_ns,
            path.stat().st_ctime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in (root, *root.rglob("*"))
    }


@pytest.mark.parametrize("spoilt", [False, True])
def test_nothing_is_changed(tmp_path, spoilt):
    store = SoundStore(tmp_path)
    if spoilt:
        store.patch_log(store.records[-1][0] + 40, b"????")
        store.paths.index_checkpoint.unlink()
        store.crash()
        (store.paths.commitlog / "notes").write_text("x")
    before = state_of(tmp_path)
    assert bool(store.verify()) == spoilt
    assert state_of(tmp_path) == before


def test_how_far_it_is_is_told(tmp_path):
    store = SoundStore(tmp_path)
    told = []
    list(verify_store(store.paths, store.sizes, progress=lambda *each: told.append(each)))
    assert [each[0] for each in told] == sorted(
        (each[0] for each in told), key=["log", "queues", "key index"].index
    )
    for what in ("log", "queues", "key index"):
        steps = [each for each in told if each[0] == what]
        assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)
        assert all(0 <= done <= total for _, done, total in steps)
    assert told[-1][1] == told[-1][2]


def verify(store):
    return list(verify_store(store.paths, store.sizes, delay_levels_ms=(1000, 5000)))


LOST = {
    "tail torn": lambda store: store.write(store.messages[-1].position + 60, b"\0" * 80),
    "tail gone": lambda store: store.write(store.messages[-4].position, b"\0" * 1000),
    "size not written": lambda store: store.write(store.messages[-1].position, b"\0" * 4),
    "queues gone": lambda store: [
        each.unlink() for each in store.paths.consumequeue.rglob("0*") if each.is_file()
    ],
    "checkpoint gone": lambda store: store.paths.checkpoint.unlink(),
}


@pytest.mark.parametrize("what", LOST)
def test_what_is_pending_is_gone_after_recovery(tmp_path, what):
    store = made_store(tmp_path)
    assert verify(store) == []
    crash(store)
    LOST[what](store)
    assert all(finding.is_pending for finding in verify(store))
    assert what == "checkpoint gone" or verify(store)
    store_on_disk.start(store)
    assert verify(store) == []
    mark_closed(store.paths)
    assert verify(store) == []


def test_what_is_not_dispatched_is_gone_after_recovery(tmp_path):
    store = made_store(tmp_path)
    crash(store)
    for number in range(30):
        store.append(QUEUES[number % 3])
    assert {finding.kind.value for finding in verify(store)} == {"entry-missing"}
    assert all(finding.is_pending for finding in verify(store))
    store_on_disk.start(store)
    assert verify(store) == []


def test_a_file_that_cannot_be_mapped_is_an_error_or_a_finding_and_no_crash(tmp_path):
    store = SoundStore(tmp_path)
    (store.paths.commitlog / ("0" * 15 + "12288")).symlink_to(tmp_path / "nowhere")
    with pytest.raises(Exception, match="12288"):
        store.verify()


def test_damage_keeps_many_ranges():
    damage = Damage()
    for number in range(100):
        damage.add(10 * number, 10 * number + 5)
    assert [position for position in range(1000) if damage.holds(position)] == [
        position for position in range(1000) if position % 10 < 5
    ]
    assert not damage.holds(-1)


def test_sizes_other_than_the_files_are_findings_and_no_crash(tmp_path):
    store = SoundStore(tmp_path)
    wrong = StoreSizes(8192, 400, store.sizes.key_index)
    kinds = {finding.kind.value for finding in verify_store(StorePaths(tmp_path), wrong)}
    assert {"file-size", "file-foreign"} <= kinds


def test_every_kind_of_finding_is_told_in_the_documentation():
    page = (Path(__file__).parents[3] / "docs" / "store-command.md").read_text()
    assert [kind.value for kind in FindingKind if f"`{kind.value}`" not in page] == []
