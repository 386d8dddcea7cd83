"""What trimming the log leaves of a queue, found while its end may be written."""

import struct

import numpy as np
import pytest

from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.store.position import NONE
from shmq.store.queue_directory import find_message
from shmq.store.queue_trim import trim_queue

FILE_BYTES = 100  # five entries
BLANK = (0, 0x7FFFFFFF, 0)


def entries(count):
    """Messages of 100 bytes, of which every second is this queue's."""
    return [(200 * number, 100, 7) for number in range(count)]


def fill(folder, units, first=0):
    folder.mkdir(parents=True, exist_ok=True)
    content = b"".join(struct.pack(">qiq", *unit) for unit in units)
    for at in range(0, len(content), FILE_BYTES):
        path = folder / f"{first * 20 + at:020d}"
        path.write_bytes(content[at : at + FILE_BYTES].ljust(FILE_BYTES, b"\0"))


def trimmed(folder, max_offset, position):
    found = trim_queue(folder, FILE_BYTES, max_offset, position)
    return found.min_offset, [int(path.name) // 20 for path in found.removable]


@pytest.mark.parametrize("position", range(0, 4000, 50))
def test_the_first_message_at_or_behind_a_position_is_found(tmp_path, position):
    fill(tmp_path, entries(17))
    left = [number for number in range(17) if 200 * number >= position]
    least = left[0] if left else 17
    gone = [first for first in (0, 5, 10) if first + 5 <= least]
    assert trimmed(tmp_path, 17, position) == (least, gone)


def test_the_newest_file_stays_and_so_does_the_offset(tmp_path):
    fill(tmp_path, entries(10))
    assert trimmed(tmp_path, 10, 10**6) == (10, [0])


def test_a_queue_without_files_shows_nothing(tmp_path):
    assert trimmed(tmp_path / "none", 7, 0) == (7, [])


def test_a_queue_that_begins_late_keeps_its_offsets(tmp_path):
    fill(tmp_path, entries(17)[10:], first=10)
    assert trimmed(tmp_path, 17, 0) == (10, [])
    assert trimmed(tmp_path, 17, 3200) == (16, [10])


def test_blanks_are_no_messages_and_hide_none(tmp_path):
    units = entries(20)
    for blank in (0, 1, 6, 7, 8, 9, 12):
        units[blank] = BLANK
    fill(tmp_path, units)
    for position in range(0, 4000, 100):
        left = [number for number in range(20) if units[number] != BLANK and 200 * number >= position]
        assert trimmed(tmp_path, 20, position)[0] == (left[0] if left else 20)


def test_a_file_of_blanks_alone_goes(tmp_path):
    fill(tmp_path, [BLANK] * 5 + [(2000, 100, 0)])
    assert trimmed(tmp_path, 6, 0) == (5, [0])


def test_what_is_not_published_is_not_there_and_its_file_stays(tmp_path):
    fill(tmp_path, entries(12))
    assert trimmed(tmp_path, 3, 10**6) == (3, [])  # whoever writes is at the first file still
    assert trimmed(tmp_path, 5, 10**6) == (5, [0])
    assert trimmed(tmp_path, 3, 400) == (2, [])
    assert trimmed(tmp_path, 3, 600) == (3, [])


def test_foreign_names_are_passed_over_and_foreign_sizes_are_an_error(tmp_path):
    fill(tmp_path, entries(7))
    (tmp_path / "notes.txt").touch()
    assert trimmed(tmp_path, 7, 1000) == (5, [0])
    (tmp_path / f"{0:020d}").write_bytes(b"x")
    with pytest.raises(StoreError, match="has 1 bytes"):
        trimmed(tmp_path, 7, 1000)


def test_the_search_finds_what_a_walk_finds():
    generator = np.random.default_rng(4)
    for _ in range(200):
        count = int(generator.integers(0, 12))
        units = [(10 * number, 5, 0) if generator.random() < 0.6 else BLANK for number in range(count)]
        memory = np.frombuffer(
            b"".join(struct.pack(">qiq", *unit) for unit in units) or b"\0", dtype=np.uint8
        )
        for position in range(-5, 125, 5):
            walked = [n for n, unit in enumerate(units) if unit != BLANK and unit[0] >= position]
            assert find_message(address_of(memory), count, position) == (walked[0] if walked else NONE)
