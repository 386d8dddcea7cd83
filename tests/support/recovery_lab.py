"""The ground of recovery's scenarios: stores by the dozen, and what is done to them."""

import copy
import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from shmq.errors import StoreError
from shmq.store.checkpoint import Checkpoint, CheckpointFile
from shmq.store.queue_directory import queue_path
from shmq.store.segment import file_name
from shmq.store.store_files import StorePaths
from tests.support.key_ground import Ground, made_ground
from tests.support.store_on_disk import (
    QUEUE_BYTES,
    QUEUES,
    Store,
    check,
    crash,
    made_store,
    start,
)
from tests.support.tree import tree_of

Scenario = Callable[["Lab"], None]
SCENARIOS: Final[dict[str, Scenario]] = {}


@dataclass
class Lab:
    """Where scenarios have their stores; a closed one is made once and copied."""

    root: Path
    base: Store
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    def open(cls, root: Path) -> "Lab":
        """Make the store that is copied."""
        return cls(root, made_store(root / "base"))

    def directory(self) -> Path:
        """An empty one."""
        path = self.root / str(next(self._numbers))
        path.mkdir()
        return path

    def store(self) -> Store:
        """A closed store: five files and a bit of log, three queues."""
        made = copy.deepcopy(self.base)
        root = self.directory()
        shutil.copytree(self.base.paths.root, root, dirs_exist_ok=True)
        made.paths = StorePaths(root)
        return made

    def ground(self) -> Ground:
        """A store with keys."""
        return made_ground(self.directory())


def scenario(function: Scenario) -> Scenario:
    """Enter a function among the scenarios, by its name."""
    SCENARIOS[function.__name__] = function
    return function


def start_and_check(store: Store) -> list[str]:
    """A start makes of it what is expected, after which it can be written and started again."""
    outcome = start(store)
    check(store, outcome)
    store.append(QUEUES[1])
    crash(store)
    check(store, start(store))
    return outcome.said


def refused(store: Store) -> str:
    before = tree_of(store.paths.root)
    with pytest.raises(StoreError) as raised:
        start(store)
    assert tree_of(store.paths.root) == before
    return str(raised.value)


def set_checkpoint(store: Store, checkpoint: Checkpoint) -> None:
    file = CheckpointFile(store.paths.checkpoint)
    file.write(checkpoint)
    file.close()


def queue_of(store: Store, queue: tuple[bytes, int] = QUEUES[0]) -> Path:
    return queue_path(store.paths.consumequeue, *queue)


def overwrite(path: Path, at: int, data: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    path.write_bytes(content)


def lose_units(store: Store, queue: tuple[bytes, int], count: int) -> None:
    for offset in range(store.next[queue] - count, store.next[queue]):
        path = queue_of(store, queue) / file_name(offset * 20 // QUEUE_BYTES * QUEUE_BYTES)
        overwrite(path, offset * 20 % QUEUE_BYTES, bytes(20))


def flip(store: Store, number: int) -> int:
    """Flip a byte in the body of a message; return its position."""
    bad = store.messages[number]
    store.write(bad.position + 90, b"\xff")
    return bad.position
