"""Flights in SQLite: what is committed is there again, and nothing else."""

import sqlite3

import pytest

from shmq.broker.pop.flights import Cursor, Delivery, Flight, FlightStoreError, Key
from shmq.workers.flight_store import SqliteFlightStore

KEY, OTHER = Key("G", "T", 0), Key("G", "T", 1)


def flight(offset, key=KEY, visible_ms=110, taker=1):
    return Flight(key, offset, offset * 100, visible_ms - 10, 10, visible_ms, taker)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pop" / "pop.db"


@pytest.fixture
def store(path):
    return SqliteFlightStore(path)


def reopen(store, path):
    store.abandon()
    return SqliteFlightStore(path)


def test_what_is_committed_outlives_its_process(store, path):
    store.set_cursor(KEY, Cursor(2, 0))
    store.put([flight(0), flight(1)])
    store.set_order(OTHER, b"order")
    store.commit()
    store = reopen(store, path)
    assert store.cursors() == [(KEY, Cursor(2, 0))]
    assert store.due(1000, 10) == [flight(0), flight(1)]
    assert store.order(OTHER) == b"order"


def test_what_is_not_committed_does_not(store, path):
    store.set_cursor(KEY, Cursor(1, 0))
    store.put([flight(0)])
    store.commit()
    store.set_cursor(KEY, Cursor(2, 1))
    store.put([flight(1)])
    store = reopen(store, path)
    assert (store.cursor(KEY), store.due(1000, 10)) == (Cursor(1, 0), [flight(0)])


def test_a_round_is_undone(store):
    store.set_cursor(KEY, Cursor(1, 0))
    store.roll_back()
    assert store.cursor(KEY) is None
    store.set_cursor(KEY, Cursor(5, 0))  # its number is made anew
    assert store.commit()
    assert store.cursor(KEY) == Cursor(5, 0)


def test_there_may_be_nothing_to_commit_or_undo(store):
    assert not store.commit()
    store.roll_back()
    store.sync()


def test_the_end_in_good_order_is_noted_once(store, path):
    assert store.was_closed
    store.close()
    second = SqliteFlightStore(path)
    assert second.was_closed
    assert not reopen(second, path).was_closed


def test_what_is_due_comes_in_its_order_and_no_more_than_asked_for(store):
    store.put([flight(0, visible_ms=300), flight(1, visible_ms=100), flight(2, visible_ms=200)])
    assert [each.offset for each in store.due(250, 10)] == [1, 2]
    assert [each.offset for each in store.due(1000, 2)] == [1, 2]
    assert store.next_due_ms() == 100


def test_nothing_is_due_of_nothing(store):
    assert store.next_due_ms() is None
    assert store.due(1 << 60, 10) == []
    assert (store.cursor(KEY), store.order(KEY), store.flight(KEY, 0), store.count(KEY)) == (
        None,
        None,
        None,
        0,
    )


def test_a_flight_is_removed_by_its_own_delivery_alone(store):
    store.put([flight(0)])
    assert not store.remove(KEY, Delivery(0, 99, 10))
    assert not store.remove(KEY, Delivery(0, 100, 11))
    assert not store.remove(OTHER, Delivery(0, 100, 10))
    assert store.remove(KEY, Delivery(0, 100, 10))
    assert store.count(KEY) == 0


def test_a_later_delivery_of_a_message_is_in_the_place_of_the_earlier(store):
    store.put([flight(0)])
    store.put([flight(0, visible_ms=500)])
    assert store.due(1000, 10) == [flight(0, visible_ms=500)]


def test_flights_from_an_offset_on_are_forgotten(store):
    store.put([flight(0), flight(1), flight(2)])
    store.put([flight(5, OTHER)])
    store.remove_from(KEY, 1)
    assert (store.count(KEY), store.count(OTHER)) == (1, 1)


def test_a_flight_is_postponed_with_its_receipt(store):
    store.put([flight(0)])
    store.postpone(flight(0), 900)
    assert store.flight(KEY, 0) == flight(0)._replace(visible_ms=900)


def test_queues_are_forgotten(store):
    for key in (KEY, OTHER):
        store.set_cursor(key, Cursor(1, 0))
        store.put([flight(0, key)])
    store.forget([KEY])
    assert store.cursors() == [(OTHER, Cursor(1, 0))]
    assert (store.count(KEY), store.count(OTHER)) == (0, 1)


def test_a_file_that_is_none_is_refused_by_name(path):
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(FlightStoreError, match=r"pop\.db"):
        SqliteFlightStore(path)


def test_a_file_of_another_version_is_refused(store, path):
    store.abandon()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(FlightStoreError, match="version 9"):
        SqliteFlightStore(path)


def test_a_failure_is_told_as_one(store):
    store.abandon()
    with pytest.raises(FlightStoreError):
        store.set_cursor(KEY, Cursor(1, 0))
