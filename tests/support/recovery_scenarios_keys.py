"""As `recovery_scenarios.py`: what recovery must make of the key index, and a start of documents."""

import json
from pathlib import Path

import pytest

from shmq.errors import StoreError
from shmq.store.checkpoint import Checkpoint
from shmq.store.documents import Document
from tests.support.recovery_lab import Lab, scenario

# The key index.


@scenario
def entries_behind_the_key_mark_are_made_again(lab: Lab) -> None:
    ground = lab.ground()
    indexed = ground.store.end
    for number in range(2):
        ground.store.add(f"v{number}", "k1")
    ground.store.run_index(indexed)
    ground.store.patch(6, 40, ">5i", 3, 9, 12, -1, 1)
    resume = ground.recover()
    assert resume == indexed
    ground.finish(resume)


@scenario
def a_missing_key_file_is_noticed(lab: Lab) -> None:
    ground = lab.ground()
    ground.files[3].unlink()
    ground.finish(ground.recover(clean=True))


@scenario
def key_files_that_cannot_be_go(lab: Lab) -> None:
    for at, layout, value in ((36, ">i", 12), (16, ">q", -1), (16, ">q", 0)):
        ground = lab.ground()
        ground.store.patch(4, at, layout, value)
        ground.finish(ground.recover(clean=True))


@scenario
def entries_of_lost_records_go(lab: Lab) -> None:
    ground = lab.ground()
    end = ground.store.records[22][0]
    resume = ground.recover(end=end)
    assert resume == ground.store.records[21][0]
    ground.finish(resume)


@scenario
def without_a_key_mark_little_is_believed(lab: Lab) -> None:
    ground = lab.ground()
    ground.paths.index_checkpoint.unlink()
    full_ms = ground.store.records[19][5]
    resume = ground.recover(checkpoint=Checkpoint(index_timestamp_ms=full_ms))
    assert resume == ground.store.records[19][0]
    ground.finish(resume)


@scenario
def a_newest_key_file_with_too_few_entries_goes(lab: Lab) -> None:
    ground = lab.ground()
    ground.store.patch(6, 36, ">i", 4)
    ground.store.patch(6, 100, ">i", 77)
    ground.finish(ground.recover())


# The documents.


def _document(root: Path) -> "Document[dict[str, int]]":
    return Document(root / "config" / "topics.json", json.loads, lambda value: json.dumps(value).encode())


@scenario
def a_document_comes_before_its_backup(lab: Lab) -> None:
    root = lab.directory()
    for number in (1, 2):
        _document(root).persist({"n": number})
    assert _document(root).load() == {"n": 2}


@scenario
def a_broken_document_has_a_backup_that_is_kept(lab: Lab) -> None:
    root = lab.directory()
    written = _document(root)
    for number in (1, 2):
        written.persist({"n": number})
    written.path.write_bytes(b"{")
    again = _document(root)
    assert again.load() == {"n": 1}
    again.persist({"n": 3})
    assert json.loads(again.backup.read_bytes()) == {"n": 1}


@scenario
def two_broken_copies_are_refused(lab: Lab) -> None:
    root = lab.directory()
    written = _document(root)
    written.persist({"n": 1})
    written.path.write_bytes(b"{")
    written.backup.write_bytes(b"{")
    with pytest.raises(StoreError):
        written.load()
