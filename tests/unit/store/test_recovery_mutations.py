"""Each rule of recovery is broken in turn, and a scenario must notice.

A rule that nobody would miss is either not needed or not tested. Kernels are broken as well, so everything here runs
with the JIT off: a test session with it on has one test, which starts another.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from shmq.jit import JIT_ENABLED
from shmq.memory.endian import load_i32
from shmq.store import (
    closed_queues,
    documents,
    key_recover,
    log,
    log_scan,
    log_tail,
    log_walk,
    queue_directory,
    queue_files,
    record,
    recover,
    survey,
)
from shmq.store.checkpoint import Checkpoint
from shmq.store.key_recover import _head
from shmq.store.log import LogDirectory
from shmq.store.queue_directory import QueueDirectory
from shmq.store.segment import Sequence, list_files
from tests.support import recovery_scenarios, recovery_scenarios_keys
from tests.support.recovery_lab import SCENARIOS, Lab

Patch = pytest.MonkeyPatch
UNLIMITED_SECONDS: Final = 280
FILLED_BY: Final = (recovery_scenarios, recovery_scenarios_keys)
"""Whoever imports these finds their scenarios in SCENARIOS."""


def run_with_jit_off() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=UNLIMITED_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(SCENARIOS) + len(MUTATIONS) + 1} passed" in done.stdout


@dataclass(frozen=True)
class Mutation:
    """A rule, how it is broken, and who notices."""

    rule: str
    break_it: Callable[[Patch], None]
    noticed_by: str


def replaced(owner: Any, name: str, value: Any) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(owner, name, value)


def nothing(*_arguments: Any, **_named: Any) -> None:
    return None


def no_checksum(patch: Patch) -> None:
    real = log_scan.verify_at

    def verify(address: int, readable_bytes: int, position: int, check_crc: bool) -> int:
        del check_crc
        return real(address, readable_bytes, position, check_crc=False)

    patch.setattr(log_scan, "verify_at", verify)
    patch.setattr(log_walk, "verify_at", verify)


def no_position(patch: Patch) -> None:
    def verify(address: int, readable_bytes: int, position: int, check_crc: bool) -> int:
        del position
        return record.verify(address, readable_bytes, check_crc)

    patch.setattr(log_scan, "verify_at", verify)


def files_behind_stay(patch: Patch) -> None:
    real = log_tail.cut_log

    class Front(LogDirectory):
        end = 0

        def starts(self) -> list[int]:
            return [start for start in super().starts() if start <= self.end]

    def cut(directory: LogDirectory, end: int, quarantine: Path) -> list[Path]:
        front = Front(directory.path, directory.file_bytes)
        front.end = end
        return real(front, end, quarantine)

    patch.setattr(recover, "cut_log", cut)


def a_file_late(patch: Patch) -> None:
    real = recover.last_start

    def last_start(log: LogDirectory, starts: list[int], is_on_disk: Callable[[int, int], bool]) -> int:
        start = real(log, starts, is_on_disk)
        later = [each for each in starts if each > start]
        return later[0] if later else start

    patch.setattr(recover, "last_start", last_start)


def everything_checked(patch: Patch) -> None:
    real = log_walk.ScanTables
    patch.setattr(log_walk, "ScanTables", lambda **fields: real(**{**fields, "checked_from": 0}))


def never_expecting(patch: Patch) -> None:
    real = log_scan._expect

    def expect(tables: log_scan.ScanTables, address: int) -> int:
        return real(tables._replace(may_miss=1), address)

    patch.setattr(log_scan, "_expect", expect)


def always_clean(patch: Patch) -> None:
    real = recover._Recovery.__init__

    def begin(self: Any, *arguments: Any) -> None:
        real(self, *arguments)
        self._clean_exit = True

    patch.setattr(recover._Recovery, "__init__", begin)


def never_clean(patch: Patch) -> None:
    real = recover._Recovery.__init__

    def begin(self: Any, *arguments: Any) -> None:
        real(self, *arguments)
        self._clean_exit = False

    patch.setattr(recover._Recovery, "__init__", begin)


def holes_are_allowed(patch: Patch) -> None:
    def sequence(directory: Path, file_bytes: int) -> Sequence:
        del file_bytes
        return Sequence([int(path.name) for path in list_files(directory)])

    patch.setattr(log, "list_sequence", sequence)


def stray_files_are_allowed(patch: Patch) -> None:
    def sequence(directory: Path, file_bytes: int) -> Sequence:
        named = [path for path in list_files(directory) if path.name.isdecimal()]
        starts = [int(path.name) for path in named if path.stat().st_size == file_bytes]
        return Sequence(starts, named[-1] if named and named[-1].stat().st_size == 0 else None)

    for module in (log, survey, queue_directory):
        patch.setattr(module, "list_sequence", sequence)


def any_entry(entries: int, count: int, log_end: int, below: int) -> int:
    """Whatever has a size."""
    del log_end, below
    for index in range(count):
        if load_i32(entries + 20 * index + 8) <= 0:
            return index
    return count


def nothing_is_cut_at_the_start(patch: Patch) -> None:
    real = QueueDirectory.recover

    def recover_queue(
        self: QueueDirectory, log_end: int, _below: int, sequence: Sequence | None = None
    ) -> Any:
        return real(self, log_end, sequence=sequence)

    patch.setattr(QueueDirectory, "recover", recover_queue)


def first_offset(self: QueueDirectory, max_offset: int, position: int) -> int:
    del position
    starts = self.starts()
    return starts[0] // 20 if starts else max_offset


def end_as_last_record(queue: Any, *_where: Any) -> int:
    """Believe the mark of a queue; its records have all the same size here."""
    return int(queue.end_position) - (299 if len(queue.topic) == 1 else 303)


def queues_of_others(patch: Patch) -> None:
    real = closed_queues.last_record

    def last_record(mark: Any, files: Any, root: Path, file_bytes: int) -> int:
        known = {(queue.topic, queue.queue_id) for queue in mark.queues}
        return real(mark, {name: files[name] for name in files if name in known}, root, file_bytes)

    patch.setattr(recover, "last_record", last_record)


def no_next(patch: Patch) -> None:
    real = recover._Recovery._finish_queues

    def finish(self: Any, known: int) -> None:
        before = self._queues.next.copy()
        real(self, known)
        self._queues.next[:] = before

    patch.setattr(recover._Recovery, "_finish_queues", finish)


def cut_without_set_back(self: Any, _checkpoint: Checkpoint, begin: int) -> None:
    if not self._clean_exit:
        self._cut_queues(begin)


def mark_open_late(patch: Patch) -> None:
    mark, keys = recover.mark_open, recover.recover_keys

    def late(paths: Any, *arguments: Any) -> int:
        mark(paths)
        return keys(paths, *arguments)

    patch.setattr(recover, "mark_open", nothing)
    patch.setattr(recover, "recover_keys", late)


def no_safety(patch: Patch) -> None:
    patch.setattr(
        Checkpoint,
        "safe_timestamp_ms",
        property(lambda self: min(self.log_timestamp_ms, self.queues_timestamp_ms)),
    )


def believe_by_the_clock_alone(self: Checkpoint, _newest_ms: int, now_ms: int) -> Checkpoint:
    return self if max(self.log_timestamp_ms, self.queues_timestamp_ms) <= now_ms else Checkpoint()


def every_record_counts(patch: Patch) -> None:
    patch.setattr(record, "is_dispatched", lambda _flags: True)


def backup_first(self: Any) -> Any:
    for path in (self.backup, self.path):
        if path.exists():
            return self._parse(path.read_bytes())
    return None


def only_the_document(self: Any) -> Any:
    return self._parse(self.path.read_bytes())


def guess_nothing_broken(patch: Patch) -> None:
    real = documents.Document.load

    def load(self: Any) -> Any:
        try:
            return real(self)
        except documents.StoreError:
            return None

    patch.setattr(documents.Document, "load", load)


def good_backup_replaced(patch: Patch) -> None:
    real = documents.Document._replace

    def replace(self: Any, text: bytes) -> None:
        self._is_backup_better = False
        real(self, text)

    patch.setattr(documents.Document, "_replace", replace)


RECOVERY = recover._Recovery
MUTATIONS: Final = [
    # The log.
    Mutation("checksums are looked at", no_checksum, "the_log_ends_at_a_flipped_byte"),
    Mutation("a record knows its position", no_position, "a_record_of_another_place_is_none"),
    Mutation("the tail is zeroed", replaced(log_tail, "_clear", nothing), "a_stale_record_never_comes_back"),
    Mutation("files behind the end go", files_behind_stay, "files_behind_a_flipped_byte_go"),
    Mutation("files made ahead go", files_behind_stay, "files_made_ahead_are_removed"),
    Mutation(
        "whole records are set aside",
        replaced(log_tail, "_set_aside", lambda *_: []),
        "what_follows_a_flipped_byte_is_kept_aside",
    ),
    Mutation("the walk begins early enough", a_file_late, "an_old_checkpoint_lengthens_the_walk"),
    Mutation(
        "old checksums are left alone", everything_checked, "a_byte_flipped_long_ago_does_not_end_the_log"
    ),
    Mutation("a log has no holes", holes_are_allowed, "a_hole_in_the_log_is_refused"),
    Mutation("stray files are refused", stray_files_are_allowed, "a_stray_file_is_refused"),
    Mutation(
        "a log has a beginning",
        replaced(survey, "_refuse_a_log_without_beginning", nothing),
        "a_first_file_without_a_record_is_refused",
    ),
    Mutation(
        "empty last files of the log go",
        replaced(log, "remove_empty_last", nothing),
        "empty_last_files_are_removed",
    ),
    Mutation(
        "empty last files of queues go",
        replaced(queue_directory, "remove_empty_last", nothing),
        "empty_last_files_are_removed",
    ),
    Mutation(
        "without a log no queue is true",
        replaced(QueueDirectory, "remove", nothing),
        "without_a_log_the_queues_go",
    ),
    # The queues.
    Mutation(
        "queues are cut at the end",
        replaced(RECOVERY, "_cut_queues", nothing),
        "a_record_cut_in_half_is_dropped",
    ),
    Mutation(
        "what was not on disk is written again",
        nothing_is_cut_at_the_start,
        "units_of_the_walked_part_are_written_again",
    ),
    Mutation("missing entries are noticed", never_expecting, "a_lost_queue_is_rebuilt"),
    Mutation(
        "what is missing is written", replaced(RECOVERY, "_dispatch", nothing), "all_lost_queues_are_rebuilt"
    ),
    Mutation(
        "entries rise with the log",
        replaced(queue_directory, "count_entries", any_entry),
        "garbage_in_a_queue_is_rebuilt",
    ),
    Mutation(
        "more than the last file is looked at",
        replaced(queue_directory, "_FILES_SCANNED", 1),
        "a_hole_in_a_queue_is_rebuilt",
    ),
    Mutation(
        "a queue is zeroed behind its end",
        replaced(queue_directory, "_clear", nothing),
        "queues_ahead_of_the_log_are_cut",
    ),
    Mutation(
        "no file follows the end of a queue",
        replaced(QueueDirectory, "_unlink", nothing),
        "an_empty_queue_file_made_ahead_is_removed",
    ),
    Mutation(
        "the min follows the log",
        replaced(QueueDirectory, "find_min", first_offset),
        "a_trimmed_log_moves_the_min",
    ),
    Mutation("the next offset is derived", no_next, "a_store_that_was_not_closed_is_as_it_was"),
    Mutation("some records take no place", every_record_counts, "records_that_take_no_place_are_passed_over"),
    # The close mark.
    Mutation(
        "each queue is held against its mark",
        replaced(closed_queues, "_last_record", end_as_last_record),
        "lost_units_are_rebuilt_in_place",
    ),
    Mutation(
        "a queue that falls short has the log walked",
        replaced(recover, "falls_short", lambda *_: False),
        "a_queue_that_was_quiet_for_long_is_rebuilt",
    ),
    Mutation("queues of others are seen", queues_of_others, "a_queue_that_the_mark_does_not_know_is_loaded"),
    Mutation("the mark is of use", never_clean, "a_closed_store_is_as_it_was"),
    Mutation("an unclean end is none", always_clean, "units_of_the_walked_part_are_written_again"),
    # The checkpoint, and what happens when.
    Mutation(
        "a checkpoint of the future is not believed",
        replaced(Checkpoint, "believed", lambda self, *_: self),
        "a_checkpoint_of_the_future_is_ignored",
    ),
    Mutation(
        "nor one beyond the newest record",
        replaced(Checkpoint, "believed", believe_by_the_clock_alone),
        "a_checkpoint_of_the_future_is_ignored",
    ),
    Mutation(
        "clocks are not quite steady",
        no_safety,
        "a_time_within_the_allowance_of_the_checkpoint_is_not_on_disk",
    ),
    Mutation(
        "the checkpoint is set back before the queues are cut",
        replaced(RECOVERY, "_set_back", cut_without_set_back),
        "recovery_that_was_killed_begins_no_later_the_next_time",
    ),
    Mutation(
        "the checkpoint says in the end what is true",
        replaced(RECOVERY, "_write_checkpoint", nothing),
        "recovery_leaves_a_true_checkpoint",
    ),
    Mutation("the store is marked open first", mark_open_late, "everything_is_in_its_order"),
    Mutation(
        "the queues are synced", replaced(RECOVERY, "_sync_queues", nothing), "everything_is_in_its_order"
    ),
    Mutation("the log is synced", replaced(RECOVERY, "_sync_log", nothing), "everything_is_in_its_order"),
    # The key index.
    Mutation(
        "entries behind the mark are not believed",
        replaced(key_recover, "_vouched_for", lambda found, *_: found),
        "entries_behind_the_key_mark_are_made_again",
    ),
    Mutation(
        "nor those that RocketMQ does not vouch for",
        replaced(key_recover, "_vouched_for", lambda found, *_: found),
        "without_a_key_mark_little_is_believed",
    ),
    Mutation(
        "nor a file with fewer entries than the mark says",
        replaced(key_recover, "_vouched_for", lambda found, *_: found),
        "a_newest_key_file_with_too_few_entries_goes",
    ),
    Mutation(
        "slots are made anew",
        replaced(key_recover, "rebuild_slots", nothing),
        "entries_behind_the_key_mark_are_made_again",
    ),
    Mutation(
        "a missing file is noticed",
        replaced(key_recover, "_is_any_missing", lambda *_: False),
        "a_missing_key_file_is_noticed",
    ),
    Mutation(
        "headers must be possible",
        replaced(key_recover, "_sound", lambda listed, shape: [_head(path, shape) for path in listed]),
        "key_files_that_cannot_be_go",
    ),
    Mutation(
        "entries behind the log go",
        replaced(key_recover, "_below", lambda found, *_: found),
        "entries_of_lost_records_go",
    ),
    Mutation(
        "indexing goes on where the index ends",
        replaced(key_recover, "_resume_at", lambda _found, _mark, end: end),
        "entries_of_lost_records_go",
    ),
    # The documents.
    Mutation(
        "a document comes before its backup",
        replaced(documents.Document, "load", backup_first),
        "a_document_comes_before_its_backup",
    ),
    Mutation(
        "a backup stands in",
        replaced(documents.Document, "load", only_the_document),
        "a_broken_document_has_a_backup_that_is_kept",
    ),
    Mutation("a good backup is kept", good_backup_replaced, "a_broken_document_has_a_backup_that_is_kept"),
    Mutation("nothing is guessed", guess_nothing_broken, "two_broken_copies_are_refused"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    return Lab.open(tmp_path_factory.mktemp("lab"))


if JIT_ENABLED:

    def test_every_rule_of_recovery_would_be_missed() -> None:
        run_with_jit_off()

else:

    @pytest.fixture(autouse=True)
    def no_sync(monkeypatch: Patch) -> None:
        """Whether a disk keeps what it was told is tested elsewhere, and takes its time."""
        monkeypatch.setattr(os, "fsync", nothing)
        monkeypatch.setattr(os, "fdatasync", nothing)
        monkeypatch.setattr(queue_files, "sync_disk_of", nothing)

    @pytest.mark.parametrize("name", SCENARIOS)
    def test_every_scenario_holds(lab: Lab, name: str) -> None:
        SCENARIOS[name](lab)

    @pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.rule.replace(" ", "_"))
    def test_a_broken_rule_is_noticed(lab: Lab, mutation: Mutation, monkeypatch: Patch) -> None:
        monkeypatch.context()
        mutation.break_it(monkeypatch)
        with pytest.raises((Exception, pytest.fail.Exception)):
            SCENARIOS[mutation.noticed_by](lab)

    def test_every_scenario_notices_something() -> None:
        assert {mutation.noticed_by for mutation in MUTATIONS} <= set(SCENARIOS)
        rules = [mutation.rule for mutation in MUTATIONS]
        assert len(rules) == len(set(rules)) >= 40
