import os
import select

import numpy as np
import pytest

from shmq.memory import epoll
from shmq.memory.block import address_of

EVENTS_MAX = 4


@pytest.fixture
def waiting():
    """An epoll, an eventfd that it does not know yet, and room for events."""
    events = np.zeros(EVENTS_MAX * epoll.SIZE, dtype=np.uint8)
    descriptor = os.eventfd(0, os.EFD_NONBLOCK)
    with select.epoll() as poller:
        yield poller.fileno(), descriptor, events
    os.close(descriptor)


def test_who_is_ready_is_told_with_its_data(waiting):
    poller, descriptor, events = waiting
    epoll.write_event(address_of(events), epoll.READABLE, -7)
    assert epoll.control(poller, epoll.ADD, descriptor, address_of(events)) == 0
    assert epoll.wait_for_events(poller, address_of(events), EVENTS_MAX, 0) == 0
    os.eventfd_write(descriptor, 1)
    assert epoll.wait_for_events(poller, address_of(events), EVENTS_MAX, -1) == 1
    assert epoll.data_of(address_of(events)) == -7
    assert epoll.events_of(address_of(events)) == epoll.READABLE


def test_what_is_wanted_can_be_changed_and_taken_back(waiting):
    poller, descriptor, events = waiting
    at = address_of(events)
    epoll.write_event(at, epoll.READABLE, 1 << 62)
    epoll.control(poller, epoll.ADD, descriptor, at)
    epoll.write_event(at, epoll.WRITABLE, 1 << 62)
    assert epoll.control(poller, epoll.CHANGE, descriptor, at) == 0
    assert epoll.wait_for_events(poller, at, EVENTS_MAX, 0) == 1
    assert (epoll.data_of(at), epoll.events_of(at)) == (1 << 62, epoll.WRITABLE)
    assert epoll.control(poller, epoll.REMOVE, descriptor, at) == 0
    assert epoll.wait_for_events(poller, at, EVENTS_MAX, 0) == 0


def test_a_change_is_told_once_for_each_change(waiting):
    poller, descriptor, events = waiting
    at = address_of(events)
    epoll.write_event(at, epoll.READABLE | epoll.ON_CHANGE, 5)
    epoll.control(poller, epoll.ADD, descriptor, at)
    for _ in range(2):
        os.eventfd_write(descriptor, 1)
        assert epoll.wait_for_events(poller, at, EVENTS_MAX, -1) == 1
        assert epoll.wait_for_events(poller, at, EVENTS_MAX, 0) == 0


def test_a_descriptor_that_epoll_does_not_take_is_an_error(waiting):
    poller, _, events = waiting
    epoll.write_event(address_of(events), epoll.READABLE, 0)
    assert epoll.control(poller, epoll.ADD, 1 << 20, address_of(events)) < 0
