"""The key index of a broker that is stopped and started: it stays, and what was lost of it is built again."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.load import Acknowledged, assert_all_found_by_key, load_on
from tests.support.shmq_process import ShmqBroker

TOPIC: Final = "keys"
SETTINGS: Final = {
    "commit_log_file_bytes": "256KiB",
    "key_index_slots": 300,
    "key_index_entries": 500,
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], ShmqBroker]]:
    """Start a broker on the same store, as often as is wanted."""
    started: list[ShmqBroker] = []

    def start_one(**settings: object) -> ShmqBroker:
        started.append(ShmqBroker(tmp_path, settings={**SETTINGS, **settings}))
        return started[-1]

    yield start_one
    for broker in started:
        broker.discard()


def produce(broker: ShmqBroker, tag: str, messages: int = 600) -> list[Acknowledged]:
    with load_on(broker.address, TOPIC, tag=tag) as load:
        load.wait_for_more(messages)
    return load.acknowledged


def test_after_a_clean_stop_the_index_is_as_it_was(start: Callable[..., ShmqBroker], tmp_path: Path) -> None:
    broker = start()
    sent = produce(broker, "a")
    broker.stop()
    index = tmp_path / "store" / "index"
    before = {path.name: path.read_bytes() for path in index.iterdir()}
    assert len(before) > 2
    broker = start()
    assert_all_found_by_key(broker.address, TOPIC, sent)
    assert {path.name: path.read_bytes() for path in index.iterdir()} == before
    sent += produce(broker, "b")
    assert_all_found_by_key(broker.address, TOPIC, sent)
    broker.stop()


@pytest.mark.parametrize("damage", ["missing", "newest missing", "oldest missing", "torn"])
@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_what_is_lost_of_the_index_is_built_again(
    start: Callable[..., ShmqBroker], tmp_path: Path, damage: str, is_killed: bool
) -> None:
    broker = start()
    sent = produce(broker, "a")
    if is_killed:
        broker.kill()
    else:
        broker.stop()
    paths = sorted((tmp_path / "store" / "index").iterdir())
    match damage:
        case "missing":
            shutil.rmtree(paths[0].parent)
        case "newest missing":
            paths[-1].unlink()
        case "oldest missing":
            paths[0].unlink()
        case "torn":
            with paths[-1].open("r+b") as file:
                file.truncate(1000)
    broker = start()
    assert_all_found_by_key(broker.address, TOPIC, sent)
    broker.stop()


def test_what_was_stored_while_the_index_was_off_is_indexed_when_it_is_on_again(
    start: Callable[..., ShmqBroker],
) -> None:
    broker = start()
    sent = produce(broker, "a", 100)
    broker.stop()
    broker = start(key_index="false")
    sent += produce(broker, "b", 100)
    broker.stop()
    broker = start()
    sent += produce(broker, "c", 100)
    assert_all_found_by_key(broker.address, TOPIC, sent)
    broker.stop()
