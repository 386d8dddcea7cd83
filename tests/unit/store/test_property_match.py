"""Picking entries by properties of their records."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from shmq.store import record_texts
from shmq.store.properties import join
from shmq.store.property_match import ENTRIES_MAX
from shmq.store.read import ReadStatus
from tests.unit.store.test_read import Reading


@dataclass(frozen=True)
class Wanted:
    names: tuple[str, ...]
    matches: Callable[..., bool]


@pytest.fixture
def store(tmp_path):
    return Reading(tmp_path, queue_file_bytes=20_000)


def fill(store, *properties):
    for each in properties:
        store.append(properties=each if isinstance(each, bytes) else join(each))
    assert not store.run().problem


def seen(store, names, **how):
    """The values that a filter is given of each message, which it all passes over."""
    values = []

    def matches(*given):
        values.append(given)
        return False

    result = store.read(tags=Wanted(names, matches), **how)
    assert result.status == ReadStatus.NO_MATCHED_MESSAGE
    return values


def test_values_are_found_whatever_order_they_have(store):
    fill(store, {"a": "1", "b": "2"}, {"b": "3", "xa": "4"}, {}, {"ab": "x", "a": "5", "aa": "y"})
    assert seen(store, ("a", "b")) == [("1", "2"), ("", "3"), ("", ""), ("5", "")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"a\x011\x02a\x012\x02", "2"),  # the last one counts
        (b"a\x011\x02a\x01\x02", "1"),  # of those that have a value
        (b"a\x011", "1"),
        (b"a\x01x\x01y\x02", "x\x01y"),
        (b"a", ""),
        (b"a\x02b\x01", ""),
        (b"\x01a\x02", ""),
        (b"a\x01\xc3\xa4\xff\xc3\x02", "ä\ufffd\ufffd"),
        (b"x\x01" + b"y" * 5000 + b"\x02a\x01z\x02", "z"),
    ],
)
def test_odd_properties_are_read_as_elsewhere(tmp_path, text, value):
    store = Reading(tmp_path, log_file_bytes=1 << 16)
    fill(store, text)
    assert seen(store, ("a",)) == [(value,)]


def test_what_matches_is_answered(store):
    fill(store, *({"a": str(number)} for number in range(100)))
    result = store.read(tags=Wanted(("a",), lambda a: int(a) % 7 == 3))
    assert (result.count, result.next_offset) == (14, 100)
    assert store.last_content == store.bytes_of(*range(3, 100, 7))


def test_no_more_is_answered_than_is_asked_for(store):
    fill(store, *({"a": str(number)} for number in range(100)))
    result = store.read(tags=Wanted(("a",), lambda a: int(a) % 2 == 1), count_max=3)
    assert (result.count, result.next_offset) == (3, 6)
    assert store.read(tags=Wanted(("a",), lambda _: True)).next_offset == 32


def test_no_more_is_looked_at_than_rocketmq_does(store):
    fill(store, *({"a": "x"} for _ in range(900)))
    assert len(seen(store, ("a",))) == 800
    assert store.read(tags=Wanted(("a",), lambda _: False)).next_offset == 800
    assert store.read(tags=Wanted(("a",), lambda _: False), count_max=850).next_offset == 850
    assert store.read(tags=Wanted(("a",), lambda _: False), filter_bytes=100).next_offset == 32


def test_a_client_cannot_have_a_whole_file_looked_at(tmp_path):
    store = Reading(tmp_path, log_file_bytes=1 << 20, queue_file_bytes=100_000)
    fill(store, *({"a": "x"} for _ in range(ENTRIES_MAX + 10)))
    result = store.read(tags=Wanted(("a",), lambda _: False), count_max=(1 << 31) - 1)
    assert (result.status, result.next_offset) == (ReadStatus.NO_MATCHED_MESSAGE, ENTRIES_MAX)


def test_a_filter_without_names_is_asked_once(store):
    fill(store, {}, {})
    asked = []
    assert store.read(tags=Wanted((), lambda: asked.append(1) or True)).count == 2
    assert asked == [1]
    assert store.read(tags=Wanted((), lambda: False)).status == ReadStatus.NO_MATCHED_MESSAGE


def test_records_of_several_files_are_looked_at(store):
    fill(store, *({"a": str(number), "padding": "x" * 300} for number in range(40)))
    assert len(list((store.root / "commitlog").iterdir())) > 3
    assert [int(a) for (a,) in seen(store, ("a",))] == list(range(40))


def test_a_file_that_is_gone_matches_nothing(store):
    fill(store, *({"a": str(number), "padding": "x" * 300} for number in range(40)))
    min((store.root / "commitlog").iterdir()).unlink()
    gone = sum(1 for each in store.records if each[0] < store.log_file_bytes)
    result = store.read(tags=Wanted(("a",), lambda _: True))
    assert (result.status, result.count) == (ReadStatus.FOUND, 40 - gone)
    assert store.last_content == store.bytes_of(*range(gone, 40))
    assert store.read(tags=Wanted(("a",), lambda _: True), count_max=1).next_offset == gone + 1


def test_blanks_are_passed_over(store):
    store.append(properties=join({"a": "1"}))
    store.append(queue_offset=3, properties=join({"a": "2"}))
    assert not store.run().problem
    result = store.read(tags=Wanted(("a",), lambda _: True))
    assert (result.count, result.next_offset) == (2, 4)


def test_a_record_that_is_none_has_no_properties(store):
    fill(store, {"a": "1"}, {"a": "2"})
    store.write(store.records[0][0] + 84, b"\x7f\xff\xff\xff")  # a body of 2 GB
    assert seen(store, ("a",)) == [("",), ("2",)]


def test_what_does_not_fit_at_once_comes_later(tmp_path, monkeypatch):
    monkeypatch.setattr("shmq.store.property_match._ROOM_BYTES", 40_000)
    store = Reading(tmp_path, log_file_bytes=1 << 20)
    fill(store, *({"a": "x" * 30_000, "b": str(number)} for number in range(4)))
    assert [b for _, b in seen(store, ("a", "b"))] == ["0", "1", "2", "3"]


def test_a_name_has_room_for_what_is_noted_of_it():
    assert record_texts.NAME_BYTES == 4 * 8
