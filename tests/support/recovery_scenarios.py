"""What recovery must make of a store after each thing that can happen to it, as functions that fail where it does not.

Scenarios of key index and documents are in `recovery_scenarios_keys.py`. They are small: the tests of each rule in `tests/unit/store` go further. Here they are together, so that a rule which is
broken on purpose can be shown to be noticed (`test_recovery_mutations.py`).
"""

import shutil
from collections.abc import Callable

import pytest

from shmq.store import record
from shmq.store import recover as recover_module
from shmq.store.checkpoint import Checkpoint, read_checkpoint
from shmq.store.queue_directory import list_queues
from shmq.store.segment import file_name, list_starts
from shmq.store.store_files import StorePaths, was_left_open
from tests.support.recovery_lab import (
    Lab,
    flip,
    lose_units,
    overwrite,
    queue_of,
    refused,
    scenario,
    set_checkpoint,
    start_and_check,
)
from tests.support.store_on_disk import (
    BASE_MS,
    LOG_BYTES,
    NOW_MS,
    QUEUE_BYTES,
    QUEUES,
    Store,
    check,
    close,
    crash,
    end_cleanly,
    end_unmarked,
    start,
)

# The log.


@scenario
def a_closed_store_is_as_it_was(lab: Lab) -> None:
    store = lab.store()
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.records == 1


@scenario
def a_store_that_was_not_closed_is_as_it_was(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    outcome = start(store)
    check(store, outcome)
    assert 0 < outcome.recovered.walked_from < store.log.starts()[-1] + 1


@scenario
def a_record_cut_in_half_is_dropped(lab: Lab) -> None:
    for end in (end_cleanly, crash):
        store = lab.store()
        end(store)
        last = store.messages[-1]
        store.write(last.position + 100, bytes(last.size - 100))
        store.lose_from(last.position)
        start_and_check(store)


@scenario
def the_log_ends_at_a_flipped_byte(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    store.lose_from(flip(store, -1))
    start_and_check(store)


@scenario
def what_follows_a_flipped_byte_is_kept_aside(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    store.lose_from(flip(store, -5))
    outcome = start(store)
    check(store, outcome)
    assert [path.parent for path in outcome.recovered.set_aside] == [store.paths.quarantine]


@scenario
def files_behind_a_flipped_byte_go(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    store.paths.checkpoint.unlink()
    store.lose_from(flip(store, 5))
    start_and_check(store)
    assert store.log.starts() == [0]


@scenario
def a_stale_record_never_comes_back(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    bad = store.messages[-5]
    store.lose_from(flip(store, -5))
    check(store, start(store))
    store.append(bad.queue)
    check(store, start(store))


@scenario
def a_record_of_another_place_is_none(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    old = store.messages[0]
    store.write(store.end, store.read(old.position, old.size))
    check(store, start(store))


@scenario
def files_made_ahead_are_removed(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    store.log.create(store.log.starts()[-1] + LOG_BYTES).close()
    check(store, start(store))


@scenario
def a_byte_flipped_long_ago_does_not_end_the_log(lab: Lab) -> None:
    """Though the whole log is walked, for a queue that is lost."""
    store = lab.store()
    end_unmarked(store)
    flip(store, 1)
    bad = store.messages[1]
    bad.body = record.decode(memoryview(store.read(bad.position, bad.size))).body.tobytes()
    shutil.rmtree(queue_of(store))
    start_and_check(store)


@scenario
def a_hole_in_the_log_is_refused(lab: Lab) -> None:
    store = lab.store()
    store.log.file(store.log.starts()[1]).unlink()
    assert "is missing before" in refused(store)


@scenario
def a_first_file_without_a_record_is_refused(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    store.log.file(0).write_bytes(bytes(LOG_BYTES))
    assert "does not begin with a record" in refused(store)


@scenario
def a_stray_file_is_refused(lab: Lab) -> None:
    for where in ("commitlog", "consumequeue/A/0"):
        store = lab.store()
        (store.paths.root / where / "notes.txt").write_bytes(bytes(LOG_BYTES))
        assert "notes.txt" in refused(store)


@scenario
def empty_last_files_are_removed(lab: Lab) -> None:
    store = lab.store()
    store.log.file(store.log.starts()[-1] + LOG_BYTES).touch()
    directory = queue_of(store)
    (directory / file_name(list_starts(directory, QUEUE_BYTES)[-1] + QUEUE_BYTES)).touch()
    start_and_check(store)
    assert not [path for path in store.paths.root.rglob("0*") if path.is_file() and not path.stat().st_size]


@scenario
def without_a_log_the_queues_go(lab: Lab) -> None:
    store = lab.store()
    shutil.rmtree(store.paths.commitlog)
    assert start(store).recovered.end == 0
    assert list(list_queues(store.paths.consumequeue)) == []


# The queues.


@scenario
def queues_ahead_of_the_log_are_cut(lab: Lab) -> None:
    store = lab.store()
    end_unmarked(store)
    first_lost = store.log.starts()[-1]
    store.log.file(first_lost).unlink()
    store.lose_from(first_lost)
    kept = store.messages[-1]
    store.end = kept.position + kept.size
    start_and_check(store)


@scenario
def a_trimmed_log_moves_the_min(lab: Lab) -> None:
    store = lab.store()
    trimmed = store.log.starts()[2]
    for at in store.log.starts()[:2]:
        store.log.file(at).unlink()
    store.messages = [message for message in store.messages if message.position >= trimmed]
    start_and_check(store)


@scenario
def a_lost_queue_is_rebuilt(lab: Lab) -> None:
    for end in (end_unmarked, crash):
        store = lab.store()
        end(store)
        shutil.rmtree(queue_of(store))
        assert any("whole log" in line for line in start_and_check(store))


@scenario
def all_lost_queues_are_rebuilt(lab: Lab) -> None:
    store = lab.store()
    end_unmarked(store)
    shutil.rmtree(store.paths.consumequeue)
    start_and_check(store)


@scenario
def lost_units_are_rebuilt_in_place(lab: Lab) -> None:
    for end in (end_cleanly, crash):
        store = lab.store()
        end(store)
        lose_units(store, store.messages[-1].queue, 2)
        start_and_check(store)


@scenario
def units_of_the_walked_part_are_written_again(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    last = store.messages[-1]
    path = max(queue_of(store, last.queue).iterdir())
    overwrite(path, last.offset * 20 % QUEUE_BYTES + 12, b"\x77" * 8)  # its tag
    start(store)
    at = last.offset * 20 % QUEUE_BYTES
    assert path.read_bytes()[at + 12 : at + 20] != b"\x77" * 8


@scenario
def a_hole_in_a_queue_is_rebuilt(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    overwrite(sorted(queue_of(store).iterdir())[-2], 40, bytes(20))
    start_and_check(store)


@scenario
def garbage_in_a_queue_is_rebuilt(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    max(queue_of(store).iterdir()).write_bytes(b"\x5a" * QUEUE_BYTES)
    start_and_check(store)


@scenario
def an_empty_queue_file_made_ahead_is_removed(lab: Lab) -> None:
    store = lab.store()
    end_unmarked(store)
    directory = queue_of(store)
    last = list_starts(directory, QUEUE_BYTES)[-1]
    (directory / file_name(last + QUEUE_BYTES)).write_bytes(bytes(QUEUE_BYTES))
    check(store, start(store))


@scenario
def records_that_take_no_place_are_passed_over(lab: Lab) -> None:
    store = Store(StorePaths(lab.directory()))
    for number in range(20):
        store.append(QUEUES[0], sys_flag=(0, 4, 8, 0xC)[number % 4])
    hidden = [message for number, message in enumerate(store.messages) if number % 4 in (1, 3)]
    store.messages = [message for message in store.messages if message not in hidden]
    check(store, start(store))


# The close mark.


@scenario
def a_queue_that_was_quiet_for_long_is_rebuilt(lab: Lab) -> None:
    store = Store(StorePaths(lab.directory()))
    quiet = (b"quiet", 0)
    for queue in [quiet] * 3 + [QUEUES[0]] * 40:
        store.append(queue)
    close(store, start(store))
    lose_units(store, quiet, 1)
    check(store, start(store))


@scenario
def a_queue_that_the_mark_does_not_know_is_loaded(lab: Lab) -> None:
    store = lab.store()
    shutil.copytree(queue_of(store), queue_of(store, (b"A", 9)))
    outcome = start(store)
    assert outcome.queues.max[outcome.slot((b"A", 9))] == store.next[QUEUES[0]]


# The checkpoint, and what happens when.


@scenario
def a_checkpoint_of_the_future_is_ignored(lab: Lab) -> None:
    newest_ms = BASE_MS + 69_000
    for time_ms in (NOW_MS + 1, newest_ms + 60_000):
        store = lab.store()
        crash(store)
        set_checkpoint(store, Checkpoint(time_ms, time_ms))
        outcome = start(store)
        check(store, outcome)
        assert outcome.recovered.walked_from == 0


@scenario
def an_old_checkpoint_lengthens_the_walk(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    third = next(message for message in store.messages if message.position == 2 * LOG_BYTES)
    first_ms = BASE_MS + 1000 * store.messages.index(third)
    set_checkpoint(store, Checkpoint(first_ms + 3000, first_ms + 3000))
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.walked_from == 2 * LOG_BYTES


@scenario
def a_time_within_the_allowance_of_the_checkpoint_is_not_on_disk(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    third = next(message for message in store.messages if message.position == 2 * LOG_BYTES)
    first_ms = BASE_MS + 1000 * store.messages.index(third)
    set_checkpoint(store, Checkpoint(first_ms + 2999, first_ms + 2999))
    assert start(store).recovered.walked_from == LOG_BYTES


@scenario
def recovery_leaves_a_true_checkpoint(lab: Lab) -> None:
    store = lab.store()
    store.append(QUEUES[0])
    crash(store)
    set_checkpoint(store, Checkpoint(index_timestamp_ms=5, master_flushed_position=6))
    check(store, start(store))
    newest_ms = BASE_MS + 70_000
    # There is no full file of the key index that the third time could vouch for.
    expected = Checkpoint(newest_ms, newest_ms, 0, 6, store.messages[-1].position)
    assert read_checkpoint(store.paths.checkpoint) == expected


@scenario
def recovery_that_was_killed_begins_no_later_the_next_time(lab: Lab) -> None:
    store = lab.store()
    crash(store)
    shutil.rmtree(queue_of(store, QUEUES[2]))

    def die(_paths: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recover_module, "sync_files", die)
        with pytest.raises(KeyboardInterrupt):
            start(store)
    assert read_checkpoint(store.paths.checkpoint).safe_timestamp_ms == 0
    check(store, start(store))


@scenario
def everything_is_in_its_order(lab: Lab) -> None:
    """The mark of an open store before any change, and the new checkpoint after all is synced."""
    store = lab.store()
    end_unmarked(store)
    happened: list[str] = []

    def note(name: str) -> Callable[..., object]:
        real = getattr(recover_module, name)

        def noted(*arguments: object, **named: object) -> object:
            assert name == "mark_open" or was_left_open(store.paths)
            happened.append(name)
            return real(*arguments, **named)

        return noted

    names = ("mark_open", "CheckpointFile", "sync_files", "cut_log", "flush_range", "recover_keys")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(recover_module, name, note(name))
        start(store)
    assert happened == [
        "mark_open",
        "CheckpointFile",
        "sync_files",
        "cut_log",
        "flush_range",
        "CheckpointFile",
        "recover_keys",
    ]
    assert was_left_open(store.paths)
