import weakref
from dataclasses import replace

import numpy as np
import pytest

from shmq.broker.outcome import Park
from shmq.store.position import NONE
from shmq.workers.parking import Parking


@pytest.fixture
def queue_max():
    return np.zeros(8, dtype=np.int64)


@pytest.fixture
def parking(queue_max):
    return Parking(queue_max)


def park(slot=0, past_offset=0, deadline_ms=1000):
    def again(_now_ms, _is_last):
        raise AssertionError("the parking calls nobody")

    return Park(slot, past_offset, deadline_ms, again)


def grown(parking):
    return [each.owner for each in parking.take_grown()]


def expired(parking, now_ms):
    return [each.owner for each in parking.take_expired(now_ms)]


def test_a_pull_waits_until_its_queue_has_grown_past_its_offset(parking, queue_max):
    parking.add(park(slot=3, past_offset=5), "a")
    queue_max[3] = 5
    assert grown(parking) == []
    queue_max[3] = 6
    assert grown(parking) == ["a"]
    assert grown(parking) == []
    assert len(parking) == 0


def test_other_queues_growth_wakes_nobody(parking, queue_max):
    parking.add(park(slot=3), "a")
    queue_max[[0, 2, 4]] = 100
    assert grown(parking) == []
    assert len(parking) == 1


def test_of_one_queues_pulls_only_those_that_it_has_outgrown_go_on(parking, queue_max):
    for past_offset in (4, 9, 6):
        parking.add(park(slot=1, past_offset=past_offset), past_offset)
    queue_max[1] = 7
    assert grown(parking) == [4, 6]
    assert len(parking) == 1
    queue_max[1] = 10
    assert grown(parking) == [9]


def test_a_queue_that_is_empty_wakes_at_its_first_message(parking, queue_max):
    parking.add(park(past_offset=0), "a")
    assert grown(parking) == []
    queue_max[0] = 1
    assert grown(parking) == ["a"]


def test_a_pull_is_taken_out_at_its_deadline_and_not_before(parking):
    parking.add(park(deadline_ms=1000), "late")
    parking.add(park(deadline_ms=500), "soon")
    assert expired(parking, 499) == []
    assert expired(parking, 500) == ["soon"]
    assert expired(parking, 5000) == ["late"]
    assert len(parking) == 0


def test_what_was_answered_before_does_not_expire(parking, queue_max):
    parking.add(park(), "a")
    queue_max[0] = 1
    assert grown(parking) == ["a"]
    assert expired(parking, 10**9) == []


def test_what_expired_is_not_woken(parking, queue_max):
    parking.add(park(), "a")
    assert expired(parking, 1000) == ["a"]
    queue_max[0] = 1
    assert grown(parking) == []


def test_a_pull_may_be_parked_again(parking, queue_max):
    parking.add(park(), "a")
    queue_max[0] = 1
    assert grown(parking) == ["a"]
    parking.add(park(past_offset=1), "a")
    assert grown(parking) == []
    queue_max[0] = 2
    assert grown(parking) == ["a"]


def test_pulls_of_owners_that_went_away_are_dropped(parking, queue_max):
    for owner in ("stays", "goes", "stays too"):
        parking.add(park(), owner)
    parking.forget(lambda owner: owner == "goes")
    assert len(parking) == 2
    queue_max[0] = 1
    assert grown(parking) == ["stays", "stays too"]
    assert expired(parking, 1000) == []


def test_pulls_that_are_alike_are_told_apart(parking):
    same = park()
    first, second = parking.add(same, "a"), parking.add(same, "a")
    assert first is not second
    assert len(parking) == 2
    assert expired(parking, 1000) == ["a", "a"]


def test_who_waits_for_the_parking_waits_until_the_next_deadline(parking):
    assert parking.wait_ms(0, 100) == 100
    parking.add(park(deadline_ms=1000), "a")
    assert parking.wait_ms(0, 100) == 100
    assert parking.wait_ms(950, 100) == 50
    assert parking.wait_ms(2000, 100) == 0


class Owner:
    """Somebody who can be let go."""


def test_who_was_answered_is_let_go_of_long_before_the_deadline(parking, queue_max):
    answered = weakref.WeakSet()
    parking.add(park(slot=1, deadline_ms=10**6), "waits")
    for number in range(1, 2000):
        owner = Owner()
        parking.add(park(past_offset=number - 1, deadline_ms=10**9), owner)
        answered.add(owner)
        queue_max[0] = number
        assert grown(parking) == [owner]
    del owner
    assert len(answered) < 100
    assert expired(parking, 10**6) == ["waits"]


def several(*slots, news=(), look_ms=0, key=""):
    (slot, past_offset), *also = slots or [(NONE, 0)]
    first = park(slot, past_offset)
    return replace(first, also=tuple(also), news=news, look_ms=look_ms, key=key)


def test_a_pop_waits_for_any_of_its_queues(parking, queue_max):
    for slot in (1, 2):
        parking.add(several((1, 0), (2, 5)), "a")
        queue_max[1], queue_max[2] = 0, 5
        assert grown(parking) == []
        queue_max[slot] = 6
        assert grown(parking) == ["a"]
        queue_max[:] = 9
        assert grown(parking) == []


def test_a_pop_that_watches_one_queue_twice_is_taken_once(parking, queue_max):
    parking.add(several((1, 0), (1, 0)), "a")
    queue_max[1] = 1
    assert grown(parking) == ["a"]
    assert len(parking) == 0


def test_a_pop_listens_for_news(parking, queue_max):
    parking.add(several((1, 0), news=("x", "y")), "a")
    parking.add(several(news=("y",)), "b")
    assert [each.owner for each in parking.take_told("x")] == ["a"]
    assert [each.owner for each in parking.take_told("y")] == ["b"]
    assert list(parking.take_told("y")) == []
    queue_max[1] = 1
    assert grown(parking) == []


def test_a_pop_may_be_looked_at_before_its_deadline(parking):
    parking.add(several(look_ms=300), "a")
    parking.add(several(look_ms=5000), "b")
    assert parking.wait_ms(0, 10_000) == 300
    assert expired(parking, 300) == ["a"]
    assert expired(parking, 1000) == ["b"]


def test_who_waits_is_counted_by_key(parking):
    first = parking.add(several((1, 0), key="k"), "a")
    parking.add(several(key="k", news=("n",)), "b")
    parking.add(park(), "c")
    assert [parking.count(key) for key in ("k", "", "none")] == [2, 3, 0]
    parking.forget(lambda owner: owner == "a")
    assert not first.is_waiting
    assert list(parking.take_told("n"))
    assert [parking.count(key) for key in ("k", "")] == [0, 1]
