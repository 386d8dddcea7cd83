"""The mark of a clean end: believed where every queue still is what it says, and of no effect anywhere else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store.close_mark import ClosedQueue, CloseMark, read_close_mark, write_close_mark
from shmq.store.queue_directory import queue_path
from shmq.store.segment import file_name, list_starts
from shmq.store.store_files import StorePaths, mark_closed
from tests.support.store_on_disk import LOG_BYTES, QUEUE_BYTES, QUEUES, Store, check, close, made_store, start

CLOSED = (ClosedQueue(b"A", 0, 7, 2, 1234), ClosedQueue(b"%RETRY%\xff", 65535, 1 << 40, 0, 1 << 50))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return made_store(tmp_path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "queues.checkpoint"
    write_close_mark(path, 5, CLOSED[:1])
    write_close_mark(path, 1 << 41, CLOSED)
    assert read_close_mark(path) == CloseMark(1 << 41, CLOSED)
    assert [each.name for each in tmp_path.iterdir()] == ["queues.checkpoint"]


def test_a_mark_of_no_queues_is_one(tmp_path: Path) -> None:
    write_close_mark(tmp_path / "mark", 5, [])
    assert read_close_mark(tmp_path / "mark") == CloseMark(5, ())


def test_a_mark_that_is_missing_or_no_file_says_nothing(tmp_path: Path) -> None:
    assert read_close_mark(tmp_path / "none") is None
    assert read_close_mark(tmp_path) is None


def test_a_mark_of_which_anything_is_wrong_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    write_close_mark(path, 5, CLOSED)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert read_close_mark(path) is None, at
        path.write_bytes(content[:at])
        assert read_close_mark(path) is None, at


def test_a_disk_that_refuses_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="mark"):
        write_close_mark(tmp_path / "absent" / "mark", 5, CLOSED)


def test_a_closed_store_is_walked_from_its_last_record_on(store: Store) -> None:
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.records == 1
    assert outcome.recovered.walked_from == store.messages[-1].position


def test_a_closed_store_is_closed_and_opened_again_and_again(store: Store) -> None:
    for _ in range(3):
        store.append(QUEUES[0])
        outcome = start(store)
        check(store, outcome)
        close(store, outcome)
        check(store, outcome := start(store))
        assert outcome.recovered.records == 1
        close(store, outcome)


def test_what_another_broker_stored_in_between_is_found(store: Store) -> None:
    for number in range(40):
        store.append((b"new", number % 2))
    check(store, start(store))  # as that broker would have left it: dispatched, and closed without a mark
    mark_closed(store.paths)
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.records > 1


def test_records_behind_the_last_that_a_queue_knows_are_dispatched(store: Store) -> None:
    for queue in (QUEUES[0], (b"new", 3)):
        store.append(queue)
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.records == 3


def lose_last_unit(directory: Path) -> None:
    path = max(directory.iterdir())
    content = path.read_bytes().rstrip(b"\0")
    content = content[: (len(content) - 1) // 20 * 20]
    path.write_bytes(content.ljust(QUEUE_BYTES, b"\0"))


def spoil_last_unit(directory: Path) -> None:
    path = max(directory.iterdir())
    content = bytearray(path.read_bytes())
    at = (len(content.rstrip(b"\0")) - 1) // 20 * 20
    content[at + 11] ^= 1  # its size
    path.write_bytes(content)


def add_unit(directory: Path) -> None:
    path = max(directory.iterdir())
    content = bytearray(path.read_bytes())
    end = -(-len(content.rstrip(b"\0")) // 20) * 20
    content[end : end + 20] = content[end - 20 : end]
    path.write_bytes(content)


def add_file(directory: Path, content: bytes = bytes(QUEUE_BYTES)) -> None:
    (directory / file_name(list_starts(directory, QUEUE_BYTES)[-1] + QUEUE_BYTES)).write_bytes(content)


def add_empty_file(directory: Path) -> None:
    add_file(directory, b"")


def lose_last_file(directory: Path) -> None:
    max(directory.iterdir()).unlink()


def lose_first_file(directory: Path) -> None:
    min(directory.iterdir()).unlink()


def lose_all(directory: Path) -> None:
    shutil.rmtree(directory)


def add_queue(directory: Path) -> None:
    shutil.copytree(directory, directory.with_name("9"))


REBUILT = [lose_last_unit, spoil_last_unit, add_file, add_empty_file, lose_last_file, lose_all]


@pytest.mark.parametrize("damage", REBUILT)
@pytest.mark.parametrize("queue", QUEUES)
def test_a_queue_that_is_not_what_the_mark_says_is_put_right(
    store: Store, damage: Callable[[Path], None], queue: tuple[bytes, int]
) -> None:
    damage(queue_path(store.paths.consumequeue, *queue))
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.records > 1, "the mark was believed"


@pytest.mark.parametrize("damage", REBUILT)
def test_a_queue_that_nothing_was_stored_in_for_long_is_put_right_too(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Of all that a walk of the last file sees, nothing tells that it lacks entries."""
    store = Store(StorePaths(tmp_path))
    quiet = (b"quiet", 0)
    for queue in [quiet] * 3 + [QUEUES[0]] * 40:
        store.append(queue)
    outcome = start(store)
    close(store, outcome)
    damage(queue_path(store.paths.consumequeue, *quiet))
    check(store, start(store))


@pytest.mark.parametrize("damage", [add_unit, add_queue, lose_first_file])
def test_a_mark_is_not_believed_of_a_queue_that_others_changed(
    store: Store, damage: Callable[[Path], None]
) -> None:
    damage(queue_path(store.paths.consumequeue, *QUEUES[0]))
    assert start(store).recovered.records > 1


def test_a_mark_is_not_believed_of_a_log_that_begins_elsewhere(store: Store) -> None:
    store.log.file(0).unlink()
    store.messages = [message for message in store.messages if message.position >= LOG_BYTES]
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.records > 1


def test_a_mark_is_not_believed_after_a_crash(store: Store) -> None:
    store.paths.abort.touch()
    outcome = start(store)
    check(store, outcome)
    assert outcome.recovered.records > 1


def test_a_flipped_byte_before_the_last_record_goes_unnoticed(store: Store) -> None:
    """As RocketMQ has it after a clean end; whoever reads the message sees its checksum."""
    bad = store.messages[-2]
    store.write(bad.position + 90, b"\xff")
    outcome = start(store)
    assert outcome.recovered.end == store.end
    assert outcome.recovered.set_aside == ()
