"""The mark of how far the key index is on disk."""

import pytest

from shmq.errors import StoreError
from shmq.store.key_mark import KeyMark, read_key_mark, write_key_mark

MARK = KeyMark(12345, 20231115061320123, 20231115061320999, 2, 17)


@pytest.mark.parametrize("mark", [MARK, KeyMark(0), KeyMark(1 << 40)])
def test_what_was_written_is_read(tmp_path, mark):
    path = tmp_path / "index.checkpoint"
    write_key_mark(path, KeyMark(7, 7, 7, 7, 7))
    write_key_mark(path, mark)
    assert read_key_mark(path) == mark
    assert path.stat().st_size == 48


def test_without_a_file_there_is_no_mark(tmp_path):
    assert read_key_mark(tmp_path / "index.checkpoint") is None


@pytest.mark.parametrize("at", range(48))
def test_a_mark_of_which_any_byte_is_wrong_says_nothing(tmp_path, at):
    path = tmp_path / "index.checkpoint"
    write_key_mark(path, MARK)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert read_key_mark(path) is None


@pytest.mark.parametrize("size", [0, 1, 40, 47])
def test_a_mark_that_is_cut_off_says_nothing(tmp_path, size):
    path = tmp_path / "index.checkpoint"
    write_key_mark(path, MARK)
    path.write_bytes(path.read_bytes()[:size])
    assert read_key_mark(path) is None


def test_a_disk_that_refuses_is_an_error(tmp_path):
    with pytest.raises(StoreError, match=r"index\.checkpoint"):
        write_key_mark(tmp_path / "absent" / "index.checkpoint", MARK)
