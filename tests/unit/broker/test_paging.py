"""Pages of a table."""

import pytest

from shmq.broker.paging import PAGE_COUNT_MAX, choose_page
from shmq.errors import RequestError
from shmq.wire.bodies import DataVersion

NAMES = ("c", "a", "b")
NOW, THEN = DataVersion(2, 0, 9), DataVersion(1, 0, 8)


def page(begin, count, version, names=NAMES):
    text = None if version is None else version.to_bytes().decode()
    return choose_page(names, begin, count, text, NOW)


def test_old_clients_get_the_whole_table():
    assert page(None, None, None) == ("a", "b", "c")
    assert len(page(None, None, None, map(str, range(5000)))) == 5000


@pytest.mark.parametrize(
    ("begin", "count", "expected"),
    [
        (0, 2, ("a", "b")),
        (2, 2, ("c",)),
        (3, 2, ()),
        (-1, 9, ("a", "b", "c")),
        (1, None, ("b", "c")),
        (0, -1, ()),
    ],
)
def test_a_page_of_the_same_table_begins_where_the_client_says(begin, count, expected):
    assert page(begin, count, NOW) == expected


@pytest.mark.parametrize("version", [THEN, None])
def test_a_page_of_another_table_begins_at_its_beginning(version):
    assert page(2, 1, version) == ("a",)


def test_a_page_is_never_longer_than_the_largest():
    assert len(page(0, 5000, NOW, map(str, range(5000)))) == PAGE_COUNT_MAX


def test_a_version_that_is_none_is_refused():
    with pytest.raises(RequestError):
        choose_page(NAMES, 0, 1, "{", NOW)
