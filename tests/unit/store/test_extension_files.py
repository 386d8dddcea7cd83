"""The extension files that the dispatcher writes: where units lie, how files end, and where a successor goes on."""

import os
import struct

import pytest

from shmq.store.extension_files import (
    ExtensionFiles,
    first_address,
    last_address,
    read_unit,
    remove_extension,
)
from shmq.store.position import NONE
from shmq.store.queue_entry import LAYOUT
from shmq.store.queue_extension import BASE, encode_unit
from tests.support.small_store import names

FILE_BYTES = 100  # four units of 24 bytes, and 4 that stay free
QUEUE = (b"T", 3)


class Bench:
    """Extension files of one queue, and its entries in files of its own."""

    def __init__(self, root):
        self.root = root / "consumequeue_ext"
        self.folder = self.root / "T" / "3"
        self.queues = root / "consumequeue"
        self.queue_folder = self.queues / "T" / "3"
        self.tags = []

    def files(self, *, is_alone=False, file_bytes=FILE_BYTES):
        return ExtensionFiles(self.root, file_bytes, self.queues, is_alone=is_alone)

    def enter(self, *tags, file_entries=5):
        """Write entries with these last fields."""
        self.tags += tags
        self.queue_folder.mkdir(parents=True, exist_ok=True)
        for first in range(0, len(self.tags), file_entries):
            part = [(first + n, 9, tag) for n, tag in enumerate(self.tags[first : first + file_entries])]
            content = b"".join(struct.pack(">qiq", *entry) for entry in part)
            content = content.ljust(file_entries * LAYOUT.itemsize, b"\0")
            (self.queue_folder / f"{first * LAYOUT.itemsize:020d}").write_bytes(content)

    def content(self, start=0):
        return (self.folder / f"{start:020d}").read_bytes()


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def unit(number, bits=b"abcd"):
    return encode_unit(number, 1000 + number, bits)


def test_units_follow_each_other_and_an_address_is_an_offset(bench):
    files = bench.files()
    assert files.put(0, QUEUE, 0, [unit(1), unit(2, b"")]) == [BASE, BASE + 24]
    assert files.put(0, QUEUE, 0, [unit(3)]) == [BASE + 44]
    written = unit(1) + unit(2, b"") + unit(3)
    assert bench.content() == written.ljust(FILE_BYTES, b"\0")
    assert read_unit(bench.folder, FILE_BYTES, BASE + 44).tag_code == 3


def test_a_full_file_ends_with_a_mark_and_four_bytes_stay_free(bench):
    files = bench.files()
    addresses = files.put(0, QUEUE, 0, [unit(n) for n in range(6)])
    assert addresses == [BASE + at for at in (0, 24, 48, 72, 100, 124)]
    assert bench.content()[96:] == b"\xff\xff\0\0"
    assert bench.content(100)[:48] == unit(4) + unit(5)
    assert names(bench.folder) == [f"{start:020d}" for start in (0, 100)]


def test_a_unit_that_leaves_less_than_the_mark_goes_to_the_next_file(bench):
    files = bench.files()
    assert files.put(0, QUEUE, 0, [unit(n) for n in range(3)] + [unit(3, b"12345")])[-1] == BASE + 100
    assert bench.content()[72:76] == b"\xff\xff\0\0"


def test_a_unit_that_fits_into_no_file_gets_no_address(bench):
    files = bench.files()
    addresses = files.put(0, QUEUE, 0, [unit(1), unit(2, bytes(80)), unit(3)])
    assert addresses == [BASE, NONE, BASE + 24]


@pytest.mark.parametrize("published", [0, 1, 2, 4, 5])
def test_a_successor_goes_on_behind_the_last_published_unit(bench, published):
    """Killed after any number of entries, what is written again is the same bytes in the same place."""
    first = bench.files()
    addresses = first.put(0, QUEUE, 0, [unit(n) for n in range(6)])
    bench.enter(*addresses)
    before = [bench.content(start) for start in (0, 100)]
    first.close()
    successor = bench.files(is_alone=True)
    again = successor.put(0, QUEUE, published, [unit(n) for n in range(published, 6)])
    assert again == addresses[published:]
    assert [bench.content(start) for start in (0, 100)] == before


def test_what_lies_behind_the_last_published_unit_is_zeroed(bench):
    first = bench.files()
    addresses = first.put(0, QUEUE, 0, [unit(n, b"long bits") for n in range(5)])
    bench.enter(addresses[0])
    successor = bench.files()
    successor.put(0, QUEUE, 1, [unit(9, b"")])
    assert bench.content() == (unit(0, b"long bits") + unit(9, b"")).ljust(FILE_BYTES, b"\0")
    assert names(bench.folder) == [f"{0:020d}"]
    assert successor.take_dirty().files == [bench.folder / f"{0:020d}"]


@pytest.mark.parametrize("damage", ["missing", "short", "torn", "foreign size"])
def test_an_unreadable_last_unit_makes_a_new_file(bench, damage):
    """An offset that an entry leads to is never used again."""
    first = bench.files()
    bench.enter(*first.put(0, QUEUE, 0, [unit(n) for n in range(5)]))
    last = bench.folder / f"{100:020d}"
    match damage:
        case "missing":
            last.unlink()
        case "short":
            os.truncate(last, 60)
        case "torn":
            last.write_bytes(bytes(FILE_BYTES))
        case "foreign size":
            os.truncate(last, 350)
    expected = 500 if damage == "foreign size" else 200
    assert bench.files().put(0, QUEUE, 5, [unit(9)]) == [BASE + expected]


def test_entries_without_units_do_not_hide_the_last_address(bench):
    first = bench.files()
    bench.enter(*first.put(0, QUEUE, 0, [unit(n) for n in range(3)]), *range(20))
    assert last_address(bench.queue_folder, 23) == BASE + 48
    assert last_address(bench.queue_folder, 2) == BASE + 24
    assert bench.files().put(0, QUEUE, 23, [unit(9)]) == [BASE + 72]


def test_files_that_nothing_leads_to_are_not_written_while_somebody_may_read(bench):
    bench.files().put(0, QUEUE, 0, [unit(n) for n in range(5)])
    bench.enter(1, 2, 3)
    assert bench.files().put(0, QUEUE, 3, [unit(9)]) == [BASE + 200]
    assert bench.files(is_alone=True).put(0, QUEUE, 3, [unit(9)]) == [BASE]
    assert names(bench.folder) == [f"{0:020d}"]


def test_another_file_size_begins_behind_everything(bench):
    bench.enter(*bench.files().put(0, QUEUE, 0, [unit(n) for n in range(5)]))
    assert bench.files(file_bytes=64).put(0, QUEUE, 5, [unit(9)]) == [BASE + 256]


def test_a_failed_write_leaves_nothing_that_counts(bench, monkeypatch):
    files = bench.files()
    bench.enter(*files.put(0, QUEUE, 0, [unit(0)]))
    write, calls = os.pwrite, []

    def fail(*given):
        calls.append(given)
        write(given[0], given[1][:10], given[2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(Exception, match="No space left"):
        files.put(0, QUEUE, 1, [unit(1), unit(2)])
    monkeypatch.undo()
    assert calls
    assert files.put(0, QUEUE, 1, [unit(3, b"")]) == [BASE + 24]
    assert bench.content() == (unit(0) + unit(3, b"")).ljust(FILE_BYTES, b"\0")


def test_the_first_address_is_found(bench):
    bench.enter(5, 6, BASE + 48, BASE + 72, file_entries=10)
    path = bench.queue_folder / f"{0:020d}"
    assert first_address(path, 0, 4) == BASE + 48
    assert first_address(path, 3, 4) == BASE + 72
    assert first_address(path, 0, 2) == NONE


def test_all_of_an_extension_is_removed_and_removing_nothing_is_no_error(bench):
    bench.files().put(0, QUEUE, 0, [unit(n) for n in range(5)])
    remove_extension(bench.root, QUEUE)
    assert not bench.folder.parent.exists()
    remove_extension(bench.root, QUEUE)
    other = bench.files()
    other.put(1, (b"T", 4), 0, [unit(1)])
    remove_extension(bench.root, QUEUE)
    assert (bench.root / "T" / "4").exists()
