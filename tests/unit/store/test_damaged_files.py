"""Every kind of damaged file, in every directory: put right, rebuilt, or refused with nothing changed.

The rows of docs/recovery.md name these tests.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store.key_files import list_key_files
from shmq.store.queue_directory import queue_path
from shmq.store.segment import file_name
from shmq.store.store_files import StorePaths, check_layout, was_left_open
from tests.support.store_on_disk import (
    CAPACITY,
    LOG_BYTES,
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
from tests.support.tree import tree_of

End = Callable[[Store], None]
Where = Callable[[Store], Path]
Damage = Callable[[Path, int], Path]

ENDS = pytest.mark.parametrize(
    "end", [end_cleanly, end_unmarked, crash], ids=["clean", "unmarked", "unclean"]
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return made_store(tmp_path)


def log_of(store: Store) -> Path:
    return store.paths.commitlog


def queue_of(store: Store) -> Path:
    return queue_path(store.paths.consumequeue, *QUEUES[0])


SEQUENCES = pytest.mark.parametrize(
    ("where", "file_bytes"), [(log_of, LOG_BYTES), (queue_of, QUEUE_BYTES)], ids=["log", "queue"]
)


def lose_middle(directory: Path, _file_bytes: int) -> Path:
    path = sorted(directory.iterdir())[1]
    path.unlink()
    return path


def resize(path: Path, size_bytes: int) -> Path:
    os.truncate(path, size_bytes)
    return path


def truncate_last(directory: Path, file_bytes: int) -> Path:
    return resize(max(directory.iterdir()), file_bytes - 20)


def lengthen_last(directory: Path, file_bytes: int) -> Path:
    return resize(max(directory.iterdir()), file_bytes + 20)


def truncate_middle(directory: Path, file_bytes: int) -> Path:
    return resize(sorted(directory.iterdir())[1], file_bytes // 2)


def empty_first(directory: Path, _file_bytes: int) -> Path:
    return resize(min(directory.iterdir()), 0)


def end_of(directory: Path, file_bytes: int) -> int:
    return int(max(directory.iterdir()).name) + file_bytes


def add_beyond(directory: Path, file_bytes: int) -> Path:
    """A file that leaves a hole before it."""
    path = directory / file_name(end_of(directory, file_bytes) + file_bytes)
    path.write_bytes(bytes(file_bytes))
    return directory / file_name(end_of(directory, file_bytes) - 2 * file_bytes)


def add_named(name: str) -> Damage:
    def add(directory: Path, file_bytes: int) -> Path:
        path = directory / name
        path.write_bytes(bytes(file_bytes))
        return path

    add.__name__ = f"add_{name[:9]}"
    return add


def add_unaligned(directory: Path, file_bytes: int) -> Path:
    path = directory / file_name(end_of(directory, file_bytes) + 20)
    path.write_bytes(bytes(file_bytes))
    return path


def replace_by_directory(directory: Path, _file_bytes: int) -> Path:
    path = max(directory.iterdir())
    path.unlink()
    path.mkdir()
    return path


def add_directory_ahead(directory: Path, file_bytes: int) -> Path:
    """Where the next file is to be."""
    path = directory / file_name(end_of(directory, file_bytes))
    path.mkdir()
    return path


def replace_by_pipe(directory: Path, _file_bytes: int) -> Path:
    path = max(directory.iterdir())
    path.unlink()
    os.mkfifo(path)
    return path


def replace_by_dangling_link(directory: Path, _file_bytes: int) -> Path:
    path = max(directory.iterdir())
    path.unlink()
    path.symlink_to(directory / "nowhere")
    return path


REFUSED: list[Damage] = [
    lose_middle,
    truncate_last,
    lengthen_last,
    truncate_middle,
    empty_first,
    add_beyond,
    add_named("notes.txt"),
    add_named("0000000000000000000x"),
    add_named(" " + "0" * 19),
    add_named("4096"),
    add_unaligned,
    replace_by_directory,
    add_directory_ahead,
    replace_by_pipe,
    replace_by_dangling_link,
]


def refused(store: Store, end: End) -> str:
    """Hold a refusal to its promise: nothing is changed, the mark of an open store included; return what it says."""
    was_open = end is crash
    before = tree_of(store.paths.root)
    with pytest.raises(StoreError) as raised:
        start(store)
    assert tree_of(store.paths.root) == before
    assert was_left_open(store.paths) == was_open
    return str(raised.value)


@SEQUENCES
@pytest.mark.parametrize("damage", REFUSED, ids=lambda damage: damage.__name__)
@ENDS
def test_what_nobody_can_use_is_refused_and_nothing_changed(
    store: Store, where: Where, file_bytes: int, damage: Damage, end: End
) -> None:
    end(store)
    path = damage(where(store), file_bytes)
    said = refused(store, end)
    assert str(path) in said
    assert any(advice in said for advice in ("move away", "move it away", "put", "configure"))


@SEQUENCES
def test_a_file_that_may_not_be_read_is_refused(
    store: Store, where: Where, file_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By who is not root, whom the system lets read everything."""
    del file_bytes
    path = max(where(store).iterdir())
    may = os.access
    monkeypatch.setattr(os, "access", lambda name, mode: may(name, mode) and Path(name) != path)
    assert f"{path} must be readable and writable" in refused(store, end_cleanly)


@pytest.mark.parametrize("name", ["A/1", "B", "T"])
@ENDS
def test_a_file_where_queues_belong_is_refused(store: Store, name: str, end: End) -> None:
    end(store)
    path = store.paths.consumequeue / name
    shutil.rmtree(path, ignore_errors=True)
    path.write_bytes(b"")
    assert f"{path} is where a directory of queues belongs: move it away" in refused(store, end)


@pytest.mark.parametrize("content", [bytes(LOG_BYTES), b"\xa5" * LOG_BYTES], ids=["zeros", "garbage"])
@ENDS
def test_a_log_whose_first_file_holds_nothing_is_refused(store: Store, content: bytes, end: End) -> None:
    """A walk would end there, and give up all that follows."""
    end(store)
    store.log.file(0).write_bytes(content)
    said = refused(store, end)
    assert str(store.log.file(0)) in said
    assert "move away" in said


def test_more_topics_or_queues_than_there_is_room_for_are_refused(store: Store) -> None:
    for number in range(CAPACITY):
        (store.paths.consumequeue / f"more{number}" / "0").mkdir(parents=True)
    assert "raise topics_max" in refused(store, end_cleanly)
    shutil.rmtree(store.paths.consumequeue)
    for number in range(CAPACITY + 1):
        (store.paths.consumequeue / "more" / str(number)).mkdir(parents=True)
    assert "raise queue_slots_max" in refused(store, end_cleanly)


@pytest.mark.parametrize("name", ["commitlog", "consumequeue", "index", "config", "checkpoint"])
def test_a_link_to_a_disk_that_is_not_mounted_is_refused(store: Store, name: str) -> None:
    """Without a log all queues would go: so a log that is elsewhere must not pass for none."""
    path = store.paths.root / name
    if path.exists():
        path.rename(store.paths.root / "elsewhere")
    path.symlink_to(store.paths.root / "unmounted" / name)
    before = tree_of(store.paths.root)
    with pytest.raises(StoreError, match=f"{name} is a symbolic link to nothing: is the disk mounted"):
        check_layout(store.paths)
    assert tree_of(store.paths.root) == before


@SEQUENCES
@ENDS
def test_a_file_may_be_a_link_to_another_disk(
    store: Store, where: Where, file_bytes: int, end: End, tmp_path_factory: pytest.TempPathFactory
) -> None:
    end(store)
    elsewhere = tmp_path_factory.mktemp("disk")
    path = min(where(store).iterdir())
    path.rename(elsewhere / path.name)
    path.symlink_to(elsewhere / path.name)
    check(store, start(store))
    assert path.stat().st_size == file_bytes


@SEQUENCES
@ENDS
def test_directories_of_others_are_left_alone(store: Store, where: Where, file_bytes: int, end: End) -> None:
    del file_bytes
    end(store)
    kept = where(store) / "lost+found" / "4711"
    kept.mkdir(parents=True)
    check(store, start(store))
    assert kept.exists()


@ENDS
def test_what_is_named_like_no_queue_is_left_alone(store: Store, end: End) -> None:
    end(store)
    foreign = [
        store.paths.consumequeue / "A" / name / file_name(0) for name in ("007", "-1", "copy", str(1 << 31))
    ]
    for path in foreign:
        path.parent.mkdir()
        path.write_bytes(b"x")
    (store.paths.consumequeue / ".DS_Store").write_bytes(b"x")
    (store.paths.consumequeue / "A" / "notes").write_bytes(b"x")
    outcome = start(store)
    assert outcome.recovered.end == store.end
    assert outcome.queues.count == len(QUEUES)
    assert all(path.read_bytes() == b"x" for path in foreign)


@ENDS
def test_a_queue_of_an_unknown_topic_is_loaded_as_any(store: Store, end: End) -> None:
    """Who deleted its topic, or lost topics.json, may make the topic again, and has its messages."""
    end(store)
    shutil.copytree(queue_of(store), store.paths.consumequeue / "my.host" / "3")
    outcome = start(store)
    assert outcome.recovered.end == store.end
    assert outcome.queues.max[outcome.slot((b"my.host", 3))] > 0


@ENDS
def test_without_a_log_what_is_not_ours_stays(store: Store, end: End) -> None:
    end(store)
    shutil.rmtree(store.paths.commitlog)
    kept = queue_of(store) / "notes"
    kept.mkdir()
    outcome = start(store)
    assert (outcome.recovered.end, outcome.queues.count) == (0, 0)
    assert [path for path in store.paths.consumequeue.rglob("*") if path.is_file()] == []
    assert kept.exists()


@pytest.mark.parametrize("content", [b"", b"\x01", bytes(39), b"\xff" * 4096], ids=len)
@ENDS
def test_a_checkpoint_that_is_cut_short_or_garbage_says_nothing(
    store: Store, content: bytes, end: End
) -> None:
    end(store)
    store.paths.checkpoint.write_bytes(content)
    check(store, start(store))


@pytest.mark.parametrize("lost", [0, -1])
@ENDS
def test_the_first_or_last_file_of_a_queue_is_rebuilt(store: Store, lost: int, end: End) -> None:
    """The first: unless there is another reason to walk the whole log, its messages are out of reach."""
    end(store)
    sorted(queue_of(store).iterdir())[lost].unlink()
    if lost == -1:
        check(store, start(store))
        return
    outcome = start(store)
    slot = outcome.slot(QUEUES[0])
    assert outcome.queues.min[slot] == QUEUE_BYTES // 20
    assert outcome.queues.max[slot] == store.next[QUEUES[0]]


@pytest.mark.parametrize("content", [b"\xff" * QUEUE_BYTES, b"\x5a" * QUEUE_BYTES])
@pytest.mark.parametrize("which", [-1, -2])
@ENDS
def test_garbage_in_a_queue_is_rebuilt(store: Store, content: bytes, which: int, end: End) -> None:
    """But where the close mark vouches for the end of the queue: nobody looks at what lies before."""
    end(store)
    sorted(queue_of(store).iterdir())[which].write_bytes(content)
    outcome = start(store)
    if end is end_cleanly and which != -1:
        assert outcome.recovered.records == 1
    else:
        check(store, outcome)


class TestIndex:
    """Its files are derived: whatever they are, the start goes on, and they are made again."""

    @pytest.fixture
    def names(self, store: Store) -> list[Path]:
        store.paths.index.mkdir(exist_ok=True)
        return [store.paths.index / f"2023111506132012{number}" for number in range(3)]

    @ENDS
    def test_files_that_cannot_be_read_are_removed(self, store: Store, names: list[Path], end: End) -> None:
        end(store)
        names[0].symlink_to(store.paths.index / "nowhere")
        names[1].write_bytes(b"x" * 4711)
        os.mkfifo(names[2])
        check(store, start(store))
        assert list_key_files(store.paths.index) == []

    @ENDS
    def test_foreign_names_and_directories_are_left_alone(
        self, store: Store, names: list[Path], end: End
    ) -> None:
        end(store)
        names[0].mkdir()
        (store.paths.index / "notes.txt").write_bytes(b"x")
        (store.paths.index / "123").write_bytes(b"x")
        before = tree_of(store.paths.index)
        check(store, start(store))
        assert tree_of(store.paths.index) == before

    @pytest.mark.parametrize("content", [b"", b"\xff" * 48, bytes(48)], ids=["empty", "garbage", "zeros"])
    @ENDS
    def test_a_mark_that_says_nothing_has_the_index_made_anew(
        self, store: Store, content: bytes, end: End
    ) -> None:
        end(store)
        store.paths.index_checkpoint.write_bytes(content)
        outcome = start(store)
        check(store, outcome)
        assert outcome.recovered.indexed == 0


def test_the_paths_of_a_message_are_those_of_the_store(tmp_path: Path) -> None:
    """A log that lies elsewhere is named there."""
    paths = StorePaths(tmp_path / "store", tmp_path / "other")
    check_layout(paths)
    store = Store(paths)
    store.append(QUEUES[0])
    check(store, start(store))
    (tmp_path / "other" / "stray").write_bytes(b"x")
    with pytest.raises(StoreError, match=str(tmp_path / "other" / "stray")):
        start(store)
