"""Locks of queues."""

import pytest

from shmq.broker.locks import LOCK_LIFE_MS, QueueLocks
from shmq.wire.bodies import MessageQueue

A, B = MessageQueue("T", "b", 0), MessageQueue("T", "b", 1)


@pytest.fixture
def locks():
    return QueueLocks()


def test_a_free_queue_is_locked(locks):
    assert locks.take("g", "x", [A, B], 0) == (A, B)


def test_a_queue_named_twice_is_locked_once(locks):
    assert locks.take("g", "x", [A, A], 0) == (A,)


def test_a_held_queue_is_refused_to_another_client_but_not_to_another_group(locks):
    locks.take("g", "x", [A], 0)
    assert locks.take("g", "y", [A, B], 1) == (B,)
    assert locks.take("h", "y", [A], 1) == (A,)


def test_asking_again_renews_a_lock(locks):
    locks.take("g", "x", [A], 0)
    assert locks.take("g", "x", [A], LOCK_LIFE_MS) == (A,)
    assert locks.take("g", "y", [A], LOCK_LIFE_MS + 1) == ()


def test_a_lock_that_was_not_renewed_goes_to_who_asks(locks):
    locks.take("g", "x", [A], 0)
    assert locks.take("g", "y", [A], LOCK_LIFE_MS) == ()
    assert locks.take("g", "y", [A], LOCK_LIFE_MS + 1) == (A,)
    assert locks.take("g", "x", [A], LOCK_LIFE_MS + 1) == ()


def test_only_its_holder_gives_a_lock_back(locks):
    locks.take("g", "x", [A], 0)
    locks.give_back("g", "y", [A, B])
    locks.give_back("h", "x", [A])
    assert locks.take("g", "y", [A], 1) == ()
    locks.give_back("g", "x", [A])
    assert locks.take("g", "y", [A], 1) == (A,)


def test_a_group_consumes_in_order_while_a_member_holds_a_queue(locks):
    assert not locks.is_any_held("g", 0)
    locks.take("g", "x", [A], 0)
    assert locks.is_any_held("g", LOCK_LIFE_MS)
    assert not locks.is_any_held("g", LOCK_LIFE_MS + 1)
    assert not locks.is_any_held("h", 0)


def test_expired_locks_are_forgotten_and_others_kept(locks):
    locks.take("g", "x", [A], 0)
    locks.take("g", "x", [B], 10)
    locks.take("h", "x", [A], 0)
    locks.expire(LOCK_LIFE_MS + 1)
    assert locks.take("g", "y", [A, B], LOCK_LIFE_MS + 1) == (A,)
    assert locks.take("h", "y", [A], LOCK_LIFE_MS + 1) == (A,)


def test_the_life_of_a_lock_can_be_set():
    locks = QueueLocks(5)
    assert locks.take("g", "x", [A], 0) == (A,)
    assert locks.take("g", "y", [A], 5) == ()
    assert locks.take("g", "y", [A], 6) == (A,)
