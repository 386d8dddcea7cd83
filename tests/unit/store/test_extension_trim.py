"""Which files of a queue's extension go when the queue is trimmed."""

import pytest

from shmq.store.extension_trim import trim_extension
from shmq.store.queue_extension import BASE
from tests.unit.store.test_extension_files import QUEUE, Bench, unit

QUEUE_BYTES = 5 * 20


@pytest.fixture
def bench(tmp_path):
    """Twelve units in three files, four each, and their entries in three files, five each."""
    made = Bench(tmp_path)
    made.enter(*made.files().put(0, QUEUE, 0, [unit(n) for n in range(12)]))
    return made


def going(bench, min_offset, max_offset=None):
    max_offset = len(bench.tags) if max_offset is None else max_offset
    paths = trim_extension(bench.folder, bench.queue_folder, QUEUE_BYTES, min_offset, max_offset)
    return [int(path.name) for path in paths]


@pytest.mark.parametrize(
    ("min_offset", "files"), [(0, []), (3, []), (4, [0]), (7, [0]), (8, [0, 100]), (11, [0, 100])]
)
def test_files_before_the_first_unit_that_is_led_to_go(bench, min_offset, files):
    assert going(bench, min_offset) == files


def test_the_newest_file_stays_when_nothing_leads_to_it(bench):
    assert going(bench, 12) == [0, 100]


def test_entries_without_units_are_passed_over(bench):
    bench.enter(*range(8), BASE + 248, BASE + 300)  # its units begin in the last but one of its files
    assert bench.tags[20:] == [BASE + 248, BASE + 300]
    assert going(bench, 21) == [0, 100]


def test_where_a_queue_file_leads_to_no_unit_and_more_follow_all_stays(bench):
    bench.enter(*range(9))
    assert going(bench, 15) == []
    assert going(bench, 15, 20) == [0, 100]


def test_a_queue_without_an_extension_has_nothing_to_go(bench):
    assert trim_extension(bench.root / "X" / "0", bench.queue_folder, QUEUE_BYTES, 3, 12) == ()
