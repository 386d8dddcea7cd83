"""A ring between two processes that run at the same time, each asleep on its bell when it can do nothing."""

import ctypes
import os

from shmq.memory import region
from shmq.ring import doorbell, spsc

RECORDS = 5000
CAPACITY_BYTES = 1024
BELL_FULL, BELL_EMPTY, RING = 0, doorbell.SIZE, 2 * doorbell.SIZE
FOR_LONG_NS = 20_000_000_000


def payload_of(number):
    """Another length and content for each number."""
    return (number.to_bytes(4, "little") * 50)[: number * 7 % 200]


def produce(ring, own_bell, other_bell):
    for number in range(RECORDS):
        payload = payload_of(number)
        while (position := spsc.claim(ring, len(payload))) < 0:
            doorbell.will_sleep(own_bell)
            if spsc.claim(ring, len(payload)) < 0:
                doorbell.sleep(own_bell, FOR_LONG_NS)
        ctypes.memmove(spsc.payload_address(ring, position), payload, len(payload))
        spsc.publish(ring, spsc.fill_head(ring, position, len(payload), 1, number))
        doorbell.ring_bell(other_bell)


def consume(ring, own_bell, other_bell):
    for number in range(RECORDS):
        while (found := spsc.peek(ring, spsc.consumed_position(ring))).position < 0:
            doorbell.will_sleep(own_bell)
            if spsc.is_empty(ring):
                doorbell.sleep(own_bell, FOR_LONG_NS)
        assert (found.tag, found.kind) == (number, 1)
        assert ctypes.string_at(found.address, found.size_bytes) == payload_of(number)
        spsc.give_back(ring, found.position + spsc.space_of(found.size_bytes))
        doorbell.ring_bell(other_bell)


def test_everything_that_one_sends_the_other_gets():
    shared = region.anonymous(RING + spsc.ring_bytes(CAPACITY_BYTES))
    full, empty, ring = (shared.address + at for at in (BELL_FULL, BELL_EMPTY, RING))
    for bell in (full, empty):
        doorbell.initialise(bell)
    spsc.initialise(ring, CAPACITY_BYTES)
    producer = os.fork()
    if producer == 0:
        try:
            produce(ring, full, empty)
        finally:
            os._exit(0)
    consume(ring, empty, full)
    assert os.waitpid(producer, 0)[1] == 0
    assert spsc.is_empty(ring)
