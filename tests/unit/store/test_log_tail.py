"""The end of the log: which record is the last, and what becomes of all behind it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shmq.store import record
from tests.support.store_on_disk import (
    LOG_BYTES,
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


def test_files_made_ahead_are_removed(store: Store) -> None:
    crash(store)
    last = store.log.starts()[-1]
    for number in (1, 2):
        store.log.create(last + number * LOG_BYTES).close()
    check(store, start(store))
    assert store.log.starts()[-1] == last


@ENDS
def test_a_file_behind_a_blank_holds_the_end(store: Store, end: End) -> None:
    end(store)
    room = LOG_BYTES - store.end % LOG_BYTES
    store.write(store.end, room.to_bytes(4, "big") + bytes.fromhex("cbd43194"))
    store.log.create(store.end + room).close()
    store.end += room
    check(store, start(store))


@ENDS
def test_a_blank_without_a_file_behind_it_is_taken_back(store: Store, end: End) -> None:
    end(store)
    room = LOG_BYTES - store.end % LOG_BYTES
    store.write(store.end, room.to_bytes(4, "big") + bytes.fromhex("cbd43194"))
    check(store, start(store))


@ENDS
def test_a_cut_last_record_is_dropped_with_its_unit(store: Store, end: End) -> None:
    end(store)
    last = store.messages[-1]
    store.write(last.position + 100, bytes(last.size - 100))
    store.lose_from(last.position)
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.set_aside == ()


def test_a_record_without_its_total_size_is_absent(store: Store) -> None:
    crash(store)
    last = store.messages[-1]
    store.write(last.position, bytes(4))
    store.lose_from(last.position)
    check(store, start(store))


@ENDS
def test_a_record_that_belongs_elsewhere_is_none(store: Store, end: End) -> None:
    end(store)
    old = store.messages[0]
    store.write(store.end, store.read(old.position, old.size))
    check(store, start(store))


@pytest.mark.parametrize("end", [end_unmarked, crash], ids=["unmarked", "unclean"])
def test_a_walk_begins_at_no_file_whose_first_record_is_bad(store: Store, end: End) -> None:
    end(store)
    last = store.log.starts()[-1]
    store.write(last + 90, b"\xff")
    store.lose_from(last)
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.walked_from < last


def test_what_follows_a_flipped_byte_is_set_aside_whole(store: Store) -> None:
    crash(store)
    bad = store.messages[-5]
    body = store.read(bad.position + 90, 1)
    store.write(bad.position + 90, bytes([body[0] ^ 1]))
    behind = store.read(bad.position, store.end - bad.position)
    assert bad.position // LOG_BYTES == (store.end - 1) // LOG_BYTES
    store.lose_from(bad.position)
    outcome = start(store)
    check(store, outcome)
    (copy,) = outcome.recovered.set_aside
    assert copy.parent == store.paths.quarantine
    assert copy.read_bytes() == behind.rstrip(b"\0") + bytes(
        len(copy.read_bytes()) - len(behind.rstrip(b"\0"))
    )


def test_files_behind_a_flipped_byte_are_set_aside_and_removed(store: Store) -> None:
    crash(store)
    store.paths.checkpoint.unlink()
    bad = store.messages[5]
    store.write(bad.position + 90, b"\xff")
    later = {at: store.log.file(at).read_bytes() for at in store.log.starts()[1:]}
    store.lose_from(bad.position)
    outcome = start(store)
    check(store, outcome)
    assert store.log.starts() == [0]
    for at, data in later.items():
        copy = store.paths.quarantine / f"commitlog-{at:020d}.0"
        assert copy in outcome.recovered.set_aside
        assert copy.read_bytes() == data[: copy.stat().st_size]
        assert not any(data[copy.stat().st_size :])


@ENDS
def test_a_flipped_byte_in_an_older_file_goes_unnoticed(store: Store, end: End) -> None:
    end(store)
    bad = store.messages[5]
    store.write(bad.position + 90, b"\xff")
    bad.body = bad.body[:1] + b"\xff" + bad.body[2:]
    bad.body = record.decode(memoryview(store.read(bad.position, bad.size))).body.tobytes()
    check(store, start(store))


def test_a_stale_record_behind_a_truncation_never_comes_back(store: Store) -> None:
    crash(store)
    bad = store.messages[-5]
    store.write(bad.position + 90, b"\xff")
    store.lose_from(bad.position)
    check(store, start(store))
    store.append(bad.queue)  # of the very size that the bad one had
    assert store.end == bad.position + bad.size
    check(store, start(store))
