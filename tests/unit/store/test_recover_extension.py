"""Recovery of a store whose queues have extensions."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shmq.store.extension_files import read_unit
from shmq.store.queue_directory import queue_path
from shmq.store.queue_entry import EXTENSION_MAX, LAYOUT
from shmq.store.queue_extension import BASE, HEAD_BYTES, Unit
from shmq.store.store_files import mark_closed
from tests.support.store_on_disk import BASE_MS, QUEUES, Store, check, crash, made_store, start

EXTENSION_BYTES = 200
TAG_T = ord("t")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One that recovery has just made the queues of, all of them with units."""
    made = made_store(tmp_path)
    shutil.rmtree(made.paths.consumequeue)
    made.sizes = replace(made.sizes, extension_file_bytes=EXTENSION_BYTES)
    crash(made)
    start(made)
    return made


def tags(store: Store, queue: tuple[bytes, int]) -> list[int]:
    folder = queue_path(store.paths.consumequeue, *queue)
    content = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    every = np.frombuffer(content, dtype=LAYOUT)
    found: list[int] = every["tag_hash"][every["record_size"] > 0].tolist()
    return found


def units(store: Store, queue: tuple[bytes, int]) -> list[Unit | None]:
    folder = queue_path(store.paths.extensions, *queue)
    return [read_unit(folder, EXTENSION_BYTES, tag) for tag in tags(store, queue)]


def expected(store: Store, queue: tuple[bytes, int]) -> list[Unit]:
    numbers = [number for number, message in enumerate(store.messages) if message.queue == queue]
    return [Unit(HEAD_BYTES, TAG_T, BASE_MS + 1000 * number, b"") for number in numbers]


def test_queues_are_rebuilt_with_units(store: Store) -> None:
    for queue in QUEUES:
        assert units(store, queue) == expected(store, queue)
        assert tags(store, queue)[0] == BASE


def test_after_a_clean_end_nothing_of_it_changes(store: Store) -> None:
    before = {queue: tags(store, queue) for queue in QUEUES}
    mark_closed(store.paths)
    check(store, start(store))
    assert {queue: tags(store, queue) for queue in QUEUES} == before


def test_after_a_crash_the_walked_part_gets_units_again_where_they_were(store: Store) -> None:
    before = {queue: tags(store, queue) for queue in QUEUES}
    crash(store)
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.walked_from > 0
    for queue in QUEUES:
        assert tags(store, queue) == before[queue]
        assert units(store, queue) == expected(store, queue)


def test_what_is_cut_off_leaves_no_unit_behind(store: Store) -> None:
    for message in store.lose_from(store.messages[-9].position):
        store.write(message.position, bytes(message.size))
    crash(store)
    check(store, start(store))
    for queue in QUEUES:
        assert units(store, queue) == expected(store, queue)
        folder = queue_path(store.paths.extensions, *queue)
        last = max(folder.iterdir())
        end = tags(store, queue)[-1] - BASE + HEAD_BYTES - int(last.name)
        assert 0 < end <= EXTENSION_BYTES
        assert not any(last.read_bytes()[end:])


@pytest.mark.parametrize("what", ["files", "last file", "short"])
def test_a_lost_extension_makes_nothing_fail(store: Store, what: str) -> None:
    for queue in QUEUES:
        folder = queue_path(store.paths.extensions, *queue)
        files = sorted(folder.iterdir())
        if what == "files":
            shutil.rmtree(folder)
        elif what == "last file":
            files[-1].unlink()
        else:
            with files[-1].open("r+b") as file:
                file.truncate(30)
    crash(store)
    check(store, start(store))
    for queue in QUEUES:
        found = units(store, queue)
        assert all(each in {None, wanted} for each, wanted in zip(found, expected(store, queue), strict=True))
        rebuilt = [each for each in found if each is not None]
        assert rebuilt, "what was walked has units again"
        assert len(set(tags(store, queue))) == len(tags(store, queue)), "two entries lead to one unit"


def test_turned_off_entries_are_made_without(store: Store) -> None:
    store.sizes = replace(store.sizes, extension_file_bytes=0)
    before = {queue: tags(store, queue) for queue in QUEUES}
    crash(store)
    check(store, start(store))
    for queue in QUEUES:
        made = tags(store, queue)
        kept = [tag for tag in made if tag <= EXTENSION_MAX]
        assert kept == before[queue][: len(kept)]
        assert set(made[len(kept) :]) == {TAG_T}


def test_without_a_log_the_extension_goes_too(store: Store) -> None:
    shutil.rmtree(store.paths.commitlog)
    store.messages.clear()
    store.end = 0
    start(store)
    assert not list(store.paths.extensions.rglob("0" * 9 + "*"))
