"""Documents are read before a store is opened: what cannot be used is named, and nothing changed."""

from pathlib import Path

import pytest

from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.store.store_files import StorePaths
from shmq.supervisor.documents import check_documents
from shmq.workers.flight_store import SqliteFlightStore
from tests.support.tree import tree_of

GOOD = {
    "topics.json": b'{"topicConfigTable":{"T":{"topicName":"T","readQueueNums":4,"writeQueueNums":4,"perm":6}}}',
    "subscriptionGroup.json": b'{"subscriptionGroupTable":{"G":{"groupName":"G"}}}',
    "consumerOffset.json": b'{"offsetTable":{"T@G":{0:5,1:7}}}',
    "delayOffset.json": b'{"offsetTable":{3:12}}',
}
NAMES = pytest.mark.parametrize("name", GOOD)
BROKEN = pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"7", b'{"offsetTable":', b"\0" * 100, b"\xff\xfe", b'{"dataVersion":7}'],
    ids=repr,
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "config").mkdir()
    for name, text in GOOD.items():
        (tmp_path / "config" / name).write_bytes(text)
    return Config(store_root=str(tmp_path))


def check(config: Config) -> None:
    """Whatever comes of it, nothing is changed."""
    before = tree_of(Path(config.store_root))
    try:
        check_documents(config, StorePaths.of(config))
    finally:
        assert tree_of(Path(config.store_root)) == before


def refusal(config: Config) -> str:
    with pytest.raises(StoreError) as raised:
        check(config)
    return str(raised.value)


def folder(config: Config) -> Path:
    return Path(config.store_root) / "config"


def test_good_documents_are_none_of_its_business(config: Config) -> None:
    check(config)


def test_a_store_without_documents_is_a_new_one(tmp_path: Path) -> None:
    check(Config(store_root=str(tmp_path)))
    assert not (tmp_path / "config").exists()


@NAMES
@BROKEN
def test_a_broken_document_without_a_backup_is_refused_by_its_name(
    config: Config, name: str, text: bytes
) -> None:
    (folder(config) / name).write_bytes(text)
    if text:
        said = refusal(config)
        assert name in said
        assert str(folder(config)) in said
        assert "put back a copy" in said
    else:
        check(config)  # as RocketMQ has it, what is empty was never written


@NAMES
@pytest.mark.parametrize("text", [b"", b"{", b"\0" * 100])
def test_a_backup_stands_in_for_a_document_that_cannot_be_read(
    config: Config, name: str, text: bytes
) -> None:
    path = folder(config) / name
    path.rename(path.with_name(name + ".bak"))
    check(config)
    path.write_bytes(text)
    check(config)


@NAMES
@pytest.mark.parametrize("backup", [b"", b"{", b"\0" * 100])
def test_two_broken_copies_are_refused_and_both_named(config: Config, name: str, backup: bytes) -> None:
    path = folder(config) / name
    path.write_bytes(b"{")
    path.with_name(name + ".bak").write_bytes(backup)
    said = refusal(config)
    assert f"{path}:" in said
    assert f"{path}.bak:" in said


@NAMES
@pytest.mark.parametrize("suffix", ["", ".bak"])
def test_a_directory_in_the_place_of_a_document_is_refused(config: Config, name: str, suffix: str) -> None:
    path = folder(config) / (name + suffix)
    path.unlink(missing_ok=True)
    path.mkdir()
    assert str(path) in refusal(config)


def test_unknown_files_are_left_alone(config: Config) -> None:
    (folder(config) / "lmqConsumerFilter.json").write_bytes(b"{")
    (folder(config) / "notes").mkdir()
    (folder(config) / "topics.json.new").write_bytes(b"{{")
    check(config)


def test_more_than_the_tables_have_room_for_is_refused(config: Config) -> None:
    (folder(config) / "topics.json").write_bytes(
        b'{"topicConfigTable":{"T":{"readQueueNums":1000000,"writeQueueNums":1000000,"perm":6}}}'
    )
    assert "no room" in refusal(config)


def test_a_file_of_popped_messages_is_looked_at_and_left_as_it_is(config: Config) -> None:
    path = StorePaths.of(config).flights
    check(config)
    assert not path.exists()
    path.parent.mkdir()
    path.touch()
    check(config)
    SqliteFlightStore(path).abandon()  # with all of it in the write-ahead log
    check(config)
    SqliteFlightStore(path).close()
    check(config)


@pytest.mark.parametrize(
    "content", [b"x" * 5000, b"SQLite format 3\0", b"SQLite format 3\0".ljust(60, b"x") + b"\0\0\0\x09" * 20]
)
def test_a_file_of_popped_messages_that_is_none_is_refused(config: Config, content: bytes) -> None:
    path = StorePaths.of(config).flights
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    said = refusal(config)
    assert str(path) in said
    assert "does not come again" in said
