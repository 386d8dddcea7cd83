"""Recovery: each fault that a store may come with, and the store that is made of it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store import recover
from shmq.store.checkpoint import Checkpoint, CheckpointFile, read_checkpoint
from shmq.store.queue_directory import list_queues, queue_path
from shmq.store.segment import file_name, list_starts
from shmq.store.store_files import StorePaths, was_left_open
from tests.support.store_on_disk import (
    BASE_MS,
    LOG_BYTES,
    NOW_MS,
    QUEUE_BYTES,
    QUEUES,
    Store,
    check,
    crash,
    end_cleanly,
    end_unmarked,
    made_store,
    start,
)

ENDS = pytest.mark.parametrize(
    "end", [end_cleanly, end_unmarked, crash], ids=["clean", "unmarked", "unclean"]
)
End = Callable[[Store], None]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return made_store(tmp_path)


def set_checkpoint(store: Store, checkpoint: Checkpoint) -> None:
    file = CheckpointFile(store.paths.checkpoint)
    file.write(checkpoint)
    file.close()


def queue_files(store: Store, queue: tuple[bytes, int]) -> list[Path]:
    return sorted(queue_path(store.paths.consumequeue, *queue).iterdir())


def lose_units(store: Store, queue: tuple[bytes, int], count: int) -> None:
    """Zero the last units of a queue, as if they had not reached the disk."""
    for offset in range(store.next[queue] - count, store.next[queue]):
        path = queue_path(store.paths.consumequeue, *queue) / file_name(
            offset * 20 // QUEUE_BYTES * QUEUE_BYTES
        )
        data = bytearray(path.read_bytes())
        at = offset * 20 % QUEUE_BYTES
        data[at : at + 20] = bytes(20)
        path.write_bytes(data)


@ENDS
def test_a_whole_store_is_found_as_it_was(store: Store, end: End) -> None:
    end(store)
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.walked_from > 0
    assert outcome.recovered.trimmed == 0
    assert outcome.recovered.store_ms == BASE_MS + 69_000
    assert outcome.recovered.set_aside == ()


def test_an_empty_directory_is_an_empty_store(tmp_path: Path) -> None:
    outcome = start(Store(StorePaths(tmp_path)))
    assert (outcome.recovered.trimmed, outcome.recovered.end) == (0, 0)
    assert was_left_open(StorePaths(tmp_path))


def test_an_unwritten_first_file_is_an_empty_store(tmp_path: Path) -> None:
    store = Store(StorePaths(tmp_path))
    store.log.create(0).close()
    check(store, start(store))


def test_prepared_and_rolled_back_records_take_no_place_in_a_queue(tmp_path: Path) -> None:
    store = Store(StorePaths(tmp_path))
    for number in range(20):
        store.append(QUEUES[0], sys_flag=(0, 4, 8, 0xC)[number % 4])
    hidden = [message for number, message in enumerate(store.messages) if number % 4 in (1, 3)]
    store.messages = [message for message in store.messages if message not in hidden]
    check(store, start(store))


@ENDS
@pytest.mark.parametrize("checkpoint", ["kept", "removed"])
def test_lost_queues_are_rebuilt(store: Store, end: End, checkpoint: str) -> None:
    end(store)
    shutil.rmtree(store.paths.consumequeue)
    if checkpoint == "removed":
        store.paths.checkpoint.unlink()
    check(store, start(store))


@ENDS
def test_one_lost_queue_is_rebuilt(store: Store, end: End) -> None:
    end(store)
    shutil.rmtree(store.paths.consumequeue / "A")
    outcome = start(store)
    check(store, outcome)
    assert any("whole log" in line for line in outcome.said)


@ENDS
@pytest.mark.parametrize("count", [1, 2, 11])
def test_the_last_units_of_a_queue_are_rebuilt_in_place(store: Store, end: End, count: int) -> None:
    end(store)
    lose_units(store, store.messages[-1].queue, count)
    check(store, start(store))


@ENDS
def test_the_last_units_of_all_queues_are_rebuilt_in_place(store: Store, end: End) -> None:
    end(store)
    for queue in QUEUES:
        lose_units(store, queue, 9)
    check(store, start(store))


@ENDS
def test_an_empty_queue_file_made_ahead_is_removed(store: Store, end: End) -> None:
    end(store)
    directory = queue_path(store.paths.consumequeue, *QUEUES[0])
    last = list_starts(directory, QUEUE_BYTES)[-1]
    (directory / file_name(last + QUEUE_BYTES)).write_bytes(bytes(QUEUE_BYTES))
    check(store, start(store))


@ENDS
def test_a_zeroed_last_queue_file_is_rebuilt(store: Store, end: End) -> None:
    end(store)
    path = queue_files(store, QUEUES[0])[-1]
    path.write_bytes(bytes(QUEUE_BYTES))
    check(store, start(store))


def test_a_hole_in_what_the_disk_kept_of_a_queue_is_rebuilt(store: Store) -> None:
    crash(store)
    path = queue_files(store, QUEUES[0])[-1]
    data = bytearray(path.read_bytes())
    data[0:20] = bytes(20)
    path.write_bytes(data)
    check(store, start(store))


def test_stale_units_of_the_walked_part_are_written_again(store: Store) -> None:
    crash(store)
    last = store.messages[-1]
    at = last.offset * 20 % QUEUE_BYTES
    path = queue_files(store, last.queue)[-1]
    data = bytearray(path.read_bytes())
    data[at : at + 8] = (last.position + 1).to_bytes(8, "big")
    path.write_bytes(data)
    check(store, start(store))


@ENDS
def test_queues_ahead_of_a_shorter_log_are_cut(store: Store, end: End) -> None:
    end(store)
    first_lost = store.log.starts()[-2]
    for at in store.log.starts()[-2:]:
        store.log.file(at).unlink()
    store.lose_from(first_lost)
    kept = store.messages[-1]
    store.end = kept.position + kept.size
    outcome = start(store)
    check(store, outcome)
    store.append(QUEUES[0])
    crash(store)
    check(store, start(store))


@ENDS
def test_queues_of_a_trimmed_log_begin_behind_it(store: Store, end: End) -> None:
    end(store)
    trimmed = store.log.starts()[2]
    for at in store.log.starts()[:2]:
        store.log.file(at).unlink()
    store.messages = [message for message in store.messages if message.position >= trimmed]
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.trimmed == trimmed


@ENDS
def test_lost_queues_of_a_trimmed_log_keep_their_offsets(store: Store, end: End) -> None:
    end(store)
    trimmed = store.log.starts()[2]
    for at in store.log.starts()[:2]:
        store.log.file(at).unlink()
    store.messages = [message for message in store.messages if message.position >= trimmed]
    shutil.rmtree(store.paths.consumequeue)
    check(store, start(store))


@ENDS
def test_without_a_log_the_queues_go_and_all_begins_at_0(store: Store, end: End) -> None:
    end(store)
    shutil.rmtree(store.paths.commitlog)
    outcome = start(store)
    assert (outcome.recovered.end, outcome.queues.count) == (0, 0)
    assert list(list_queues(store.paths.consumequeue)) == []


@ENDS
def test_empty_last_files_are_removed(store: Store, end: End) -> None:
    end(store)
    store.log.file(store.log.starts()[-1] + LOG_BYTES).touch()
    directory = queue_path(store.paths.consumequeue, *QUEUES[0])
    (directory / file_name(list_starts(directory, QUEUE_BYTES)[-1] + QUEUE_BYTES)).touch()
    check(store, start(store))


@pytest.mark.parametrize("where", ["commitlog", "consumequeue/A/0"])
@pytest.mark.parametrize(("name", "size_bytes"), [("notes.txt", LOG_BYTES), (file_name(1 << 20), 17)])
def test_a_foreign_file_is_named_and_nothing_touched(
    store: Store, where: str, name: str, size_bytes: int
) -> None:
    stray = store.paths.root / where / name
    stray.write_bytes(bytes(size_bytes))
    before = {path: path.read_bytes() for path in store.paths.root.rglob("*") if path.is_file()}
    with pytest.raises(StoreError, match=name):
        start(store)
    assert before == {path: path.read_bytes() for path in store.paths.root.rglob("*") if path.is_file()}


def test_a_hole_in_the_log_is_named_and_nothing_touched(store: Store) -> None:
    missing = store.log.file(store.log.starts()[1])
    missing.unlink()
    with pytest.raises(StoreError, match=missing.name):
        start(store)
    assert not was_left_open(store.paths)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint(NOW_MS + 1, NOW_MS + 1),
        Checkpoint(NOW_MS, NOW_MS),
        Checkpoint(-5, -5),
        Checkpoint(1 << 62, 1 << 62, 7, 8, 9),
    ],
)
def test_a_checkpoint_that_cannot_be_is_ignored(store: Store, checkpoint: Checkpoint) -> None:
    crash(store)
    set_checkpoint(store, checkpoint)
    for queue in QUEUES:
        lose_units(store, queue, 15)
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.walked_from == 0


def test_a_checkpoint_beyond_the_newest_record_is_ignored(store: Store) -> None:
    crash(store)
    newest_ms = BASE_MS + 69_000
    set_checkpoint(store, Checkpoint(newest_ms, newest_ms + 1))
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.walked_from == 0


def test_an_old_checkpoint_only_lengthens_the_walk(store: Store) -> None:
    crash(store)
    third = next(message for message in store.messages if message.position == 2 * LOG_BYTES)
    first_ms = BASE_MS + 1000 * store.messages.index(third)
    set_checkpoint(store, Checkpoint(first_ms + 3000, first_ms + 3000))
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.walked_from == 2 * LOG_BYTES


def test_recovery_leaves_a_true_checkpoint(store: Store) -> None:
    store.append(QUEUES[0])
    crash(store)
    set_checkpoint(store, Checkpoint(index_timestamp_ms=5, master_flushed_position=6))
    check(store, start(store))
    newest_ms = BASE_MS + 70_000
    # There is no full file of the key index that the third time could vouch for.
    expected = Checkpoint(newest_ms, newest_ms, 0, 6, store.messages[-1].position)
    assert read_checkpoint(store.paths.checkpoint) == expected


def test_recovery_that_is_killed_begins_no_later_the_next_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash(store)
    lose_units(store, QUEUES[0], 12)
    shutil.rmtree(store.paths.consumequeue / "B")

    def die(_dirty: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recover, "sync_files", die)
    with pytest.raises(KeyboardInterrupt):
        start(store)
    monkeypatch.undo()
    assert was_left_open(store.paths)
    assert read_checkpoint(store.paths.checkpoint).safe_timestamp_ms == 0
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.walked_from == 0


def test_a_record_whose_topic_was_lost_is_the_end_of_the_log(store: Store) -> None:
    torn = store.append(QUEUES[0])
    topic_at = torn.size - len(b"TAGS\x01t\x02") - 2 - len(QUEUES[0][0])
    assert store.read(torn.position + topic_at, 1) == QUEUES[0][0]
    store.write(torn.position + topic_at, b"\0")
    store.lose_from(torn.position)
    crash(store)
    check(store, start(store))
