"""Messages with a moment of their own: when each is delivered, what takes one back, and what an end in the middle leaves."""

import pytest

from shmq.broker import message_properties as names
from shmq.broker.outcome import PutStatus
from shmq.store import properties
from tests.support.small_metadata import NOW_MS
from tests.support.small_timers import SmallTimers

GRACE_MS = 50


@pytest.fixture
def small(tmp_path):
    made = SmallTimers(tmp_path)
    yield made
    made.close()


def test_a_message_comes_at_its_moment_and_not_before(small):
    key, _ = small.send(TIMER_DELIVER_MS=NOW_MS + 5432)
    small.pass_ms(5431)
    assert small.keys() == []
    small.pass_ms(1)
    assert small.keys() == [key]


@pytest.mark.parametrize(
    ("asked", "due_ms"),
    [
        ({"TIMER_DELAY_MS": 2750}, 2750),
        ({"TIMER_DELAY_SEC": 3}, 3000),
        ({"TIMER_DELAY_SEC": 3, "TIMER_DELAY_MS": 1}, 3000),
    ],
)
def test_a_delay_counts_from_when_the_message_was_stored(small, asked, due_ms):
    key, _ = small.send(**asked)
    small.pass_ms(due_ms - 1)
    assert small.keys() == []
    small.pass_ms(GRACE_MS + 1)
    assert small.keys() == [key]


def test_messages_come_in_the_order_of_their_moments_and_then_of_their_coming(small):
    last = small.send(TIMER_DELIVER_MS=NOW_MS + 2900)[0]
    first = small.send(TIMER_DELIVER_MS=NOW_MS + 2100)[0]
    middle = [small.send(TIMER_DELIVER_MS=NOW_MS + 2500)[0] for _ in range(3)]
    small.pass_ms(60_000)
    assert small.keys() == [first, *middle, last]


def test_what_comes_late_into_the_slot_that_is_delivered_still_comes_at_its_moment(small):
    small.send(TIMER_DELIVER_MS=NOW_MS + 1100)
    small.pass_ms(1200)
    key, _ = small.send(TIMER_DELAY_MS=300)
    small.pass_ms(299)
    assert small.keys()[-1:] != [key]
    small.pass_ms(1)
    assert small.keys()[-1] == key


def test_a_delivery_says_when_it_was_put_into_the_wheel_and_taken_out(small):
    small.send(1, TIMER_DELIVER_MS=NOW_MS + 2500)
    small.pass_ms(10)
    small.pass_ms(2490)
    (message,) = small.delivered(1)
    pairs = properties.parse(message.properties)
    assert pairs[names.TIMER_ENQUEUE_MS] == str(NOW_MS)
    assert pairs[names.TIMER_DEQUEUE_MS] == str(NOW_MS + 2500)
    assert pairs[names.TIMER_OUT_MS] == str(NOW_MS + 2000)
    assert (message.topic, message.queue_id) == (b"T", 1)


def test_a_message_that_is_taken_back_does_not_come(small):
    key, _ = small.send(TIMER_DELIVER_MS=NOW_MS + 5000)
    other, _ = small.send(TIMER_DELIVER_MS=NOW_MS + 5000)
    small.pass_ms(1000)
    small.recall(key, NOW_MS + 4000)
    small.pass_ms(10_000)
    assert small.keys() == [other]


def test_a_recall_is_heeded_though_its_message_is_rolled_on_late(tmp_path):
    small = SmallTimers(tmp_path, roll_slots=8)
    first, _ = small.send(TIMER_DELIVER_MS=NOW_MS + 1)
    key, _ = small.send(TIMER_DELIVER_MS=NOW_MS + 8001)
    small.look()
    small.now_ms += 8000
    small.look()
    assert len(small.pending) == 1  # until it is stored, nothing that is due later goes on
    small.recall(key, NOW_MS + 8000)
    small.now_ms += 1050
    small.work()
    small.pass_ms(20_000)
    assert small.keys() == [first]
    small.close()


def test_a_recall_of_the_last_moment_is_heeded(small):
    key, _ = small.send(TIMER_DELIVER_MS=NOW_MS + 5001)
    small.pass_ms(5001)
    small.recall(key, NOW_MS + 5000)
    small.pass_ms(10_000)
    assert small.keys() == []


def test_a_far_message_is_stored_anew_on_the_way_and_comes_once(tmp_path):
    small = SmallTimers(tmp_path, roll_slots=10)
    key, _ = small.send(TIMER_DELIVER_MS=NOW_MS + 47_300)
    recalled, _ = small.send(TIMER_DELIVER_MS=NOW_MS + 47_300)
    small.recall(recalled, NOW_MS + 47_000)
    for _ in range(47):
        small.pass_ms(1000)
    assert small.keys() == []
    small.pass_ms(300)
    assert small.keys() == [key]
    pairs = properties.parse(small.delivered()[0].properties)
    assert int(pairs[names.TIMER_ROLL_TIMES]) >= 4
    small.close()


def test_a_failed_delivery_is_tried_again_and_keeps_its_place(small):
    keys = [small.send(TIMER_DELIVER_MS=NOW_MS + 2500 + each)[0] for each in range(3)]
    small.now_ms += 2501
    small.look()
    small.pending += small.timers.due(small.now_ms, small.marks())
    small.settle(PutStatus.SYSTEM_BUSY)
    small.look()
    assert not small.pending
    small.pass_ms(1000)
    assert small.keys() == keys


@pytest.mark.parametrize("stored", [0, 1])
def test_a_conductor_that_dies_with_a_delivery_on_its_way_delivers_once(small, stored):
    keys = [small.send(TIMER_DELIVER_MS=NOW_MS + 2500)[0] for _ in range(3)]
    small.now_ms += 2600
    small.look()
    small.look()
    assert len(small.pending) == 1
    small.crash(stored)
    small.pass_ms(1000)
    assert sorted(small.keys()) == keys


def test_what_was_delivered_is_not_delivered_again_by_a_successor(small):
    keys = [small.send(TIMER_DELIVER_MS=NOW_MS + 2500 + each)[0] for each in range(300)]
    small.pass_ms(2700)
    before = small.keys()
    assert 0 < len(before) < 300
    small.crash(0)
    small.pass_ms(5000)
    assert small.keys() == keys


def test_a_broker_that_was_away_delivers_what_is_late_at_once_in_order(small):
    keys = [small.send(TIMER_DELIVER_MS=NOW_MS + 2500 + 1000 * each)[0] for each in range(5)]
    small.look()
    small.now_ms += 86_400_000
    small.crash(0)
    small.work()
    assert small.keys() == keys
