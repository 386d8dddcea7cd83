"""Documents: replaced whole, read from whichever copy is good."""

import json
from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store.documents import Document


def document(tmp_path: Path) -> Document[dict[str, int]]:
    return Document(tmp_path / "config" / "topics.json", json.loads, lambda value: json.dumps(value).encode())


def test_what_was_never_written_is_none(tmp_path: Path) -> None:
    assert document(tmp_path).load() is None


def test_a_document_is_read_back_and_its_predecessor_kept(tmp_path: Path) -> None:
    written = document(tmp_path)
    for number in (1, 2, 3):
        written.persist({"n": number})
    assert document(tmp_path).load() == {"n": 3}
    assert json.loads(written.backup.read_bytes()) == {"n": 2}
    assert sorted(path.name for path in written.path.parent.iterdir()) == ["topics.json", "topics.json.bak"]


@pytest.mark.parametrize("text", [b"", b'{"n": 2', b"\0\0\0\0"])
def test_a_broken_document_gives_way_to_its_backup_and_nothing_is_removed(
    tmp_path: Path, text: bytes
) -> None:
    first = document(tmp_path)
    first.persist({"n": 1})
    first.persist({"n": 2})
    first.path.write_bytes(text)
    assert document(tmp_path).load() == {"n": 1}
    assert first.path.read_bytes() == text
    assert json.loads(first.backup.read_bytes()) == {"n": 1}


def test_a_missing_document_gives_way_to_its_backup(tmp_path: Path) -> None:
    first = document(tmp_path)
    first.persist({"n": 1})
    first.path.rename(first.backup)
    assert document(tmp_path).load() == {"n": 1}


def test_a_broken_document_never_replaces_the_good_backup(tmp_path: Path) -> None:
    first = document(tmp_path)
    first.persist({"n": 1})
    first.persist({"n": 2})
    first.path.write_bytes(b"{")
    second = document(tmp_path)
    second.load()
    second.persist({"n": 3})
    assert json.loads(second.backup.read_bytes()) == {"n": 1}
    second.persist({"n": 4})
    assert json.loads(second.backup.read_bytes()) == {"n": 3}


@pytest.mark.parametrize("backup", [b"{", b"", None])
def test_no_good_copy_is_an_error_that_names_both(tmp_path: Path, backup: bytes | None) -> None:
    broken = document(tmp_path)
    broken.path.parent.mkdir()
    broken.path.write_bytes(b"{")
    if backup is not None:
        broken.backup.write_bytes(backup)
    with pytest.raises(StoreError) as raised:
        broken.load()
    assert f"{broken.path}:" in str(raised.value)
    assert f"{broken.backup}:" in str(raised.value)


def test_left_over_temporaries_do_no_harm(tmp_path: Path) -> None:
    left = document(tmp_path)
    left.persist({"n": 1})
    (left.path.parent / "topics.json.new").write_bytes(b"{{")
    (left.path.parent / "topics.json.bak.new").write_bytes(b"{{")
    left.persist({"n": 2})
    assert document(tmp_path).load() == {"n": 2}
    assert json.loads(left.backup.read_bytes()) == {"n": 1}


def test_a_document_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"a file")
    with pytest.raises(StoreError, match="config"):
        document(tmp_path).persist({"n": 1})
