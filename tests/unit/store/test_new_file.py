"""Files that get their name once they are whole."""

import os

import pytest

from shmq.store.new_file import make_file
from tests.support.small_store import names


@pytest.fixture(params=["unnamed", "named"])
def folder(request, tmp_path, monkeypatch):
    if request.param == "named":
        # What a filesystem without unnamed files makes of the flag: a directory, which cannot be written.
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)
    return tmp_path / "T" / "0"


def test_a_file_holds_what_was_prepared(folder):
    descriptor = make_file(folder / "x", lambda made: os.write(made, b"content"))
    assert os.pread(descriptor, 10, 0) == b"content"
    os.close(descriptor)
    assert (folder / "x").read_bytes() == b"content"
    assert names(folder) == ["x"]
    assert names(folder.parent) == ["0"]


def test_a_file_has_no_name_before_it_is_whole(folder):
    def look(_):
        assert names(folder) == []

    os.close(make_file(folder / "x", look))
    assert names(folder) == ["x"]


def test_a_file_that_could_not_be_prepared_is_not_there(folder):
    def fail(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        make_file(folder / "x", fail)
    assert names(folder) == []
    assert names(folder.parent) == ["0"]


def test_a_name_that_is_taken_is_left_alone(folder):
    os.close(make_file(folder / "x", lambda made: os.write(made, b"first")))
    with pytest.raises(FileExistsError):
        make_file(folder / "x", lambda made: os.write(made, b"second"))
    assert (folder / "x").read_bytes() == b"first"
    assert names(folder.parent) == ["0"]
