"""A producer and a consumer of a tiny ring, in every order: whole records, each once, in order."""

import numpy as np

from shmq.memory.block import address_of
from shmq.ring import spsc
from tests.support.interleaving import World, explore, stepping

PAYLOAD_BYTES = 8


class Stage:
    """A ring of 64 bytes, which holds two records of 24 and their padding, in one place for all tries."""

    def __init__(self, capacity_bytes=64):
        self.memory = np.zeros(spsc.ring_bytes(capacity_bytes), dtype=np.uint8)
        self.capacity_bytes = capacity_bytes
        self.ring = address_of(self.memory)
        self.functions = stepping(spsc)
        self.offered = []
        self.taken = []

    def world(self, **actors):
        self.memory[:] = 0
        spsc.initialise(self.ring, self.capacity_bytes)
        self.offered, self.taken = [], []
        return World(self.memory, **{name: actor(self) for name, actor in actors.items()})

    def rest(self):
        """What is left in the ring at the end."""
        left, at = [], spsc.consumed_position(self.ring)
        while (found := spsc.peek(self.ring, at)).position >= 0:
            left.append(self.memory[found.address - self.ring :][:PAYLOAD_BYTES].view(np.int64)[0])
            at = found.position + spsc.space_of(found.size_bytes)
        return left


def producer(count):
    """Offers the numbers 1 to count, each once; what finds no room is dropped."""

    def run(stage):
        functions, offered = stage.functions, stage.offered
        for number in range(1, count + 1):
            position = yield from functions.claim(stage.ring, PAYLOAD_BYTES)
            if position < 0:
                continue
            yield ("store_native_i64", (yield from functions.payload_address(stage.ring, position)), number)
            after = yield from functions.fill_head(stage.ring, position, PAYLOAD_BYTES, 1, -number)
            yield from functions.publish(stage.ring, after)
            offered.append(number)

    return run


def consumer(attempts):
    """Looks so many times, and takes what is there."""

    def run(stage):
        functions, taken = stage.functions, stage.taken
        for _ in range(attempts):
            at = yield from functions.consumed_position(stage.ring)
            found = yield from functions.peek(stage.ring, at)
            if found.position < 0:
                continue
            number = yield ("load_native_i64", found.address)
            assert (found.size_bytes, found.kind, found.tag) == (PAYLOAD_BYTES, 1, -number)
            taken.append(number)
            space = yield from functions.space_of(found.size_bytes)
            yield from functions.give_back(stage.ring, found.position + space)

    return run


def all_orders(stage, **actors):
    outcomes = set()

    def check(world):
        assert world.stuck == []
        assert stage.taken + stage.rest() == stage.offered
        outcomes.add((tuple(stage.offered), tuple(stage.taken)))

    explore(lambda: stage.world(**actors), check)
    return outcomes


def test_what_is_taken_is_what_was_offered():
    outcomes = all_orders(Stage(), producer=producer(2), consumer=consumer(2))
    assert {taken for _, taken in outcomes} == {(), (1,), (1, 2)}


def test_in_a_ring_that_is_full_soon_nothing_is_overwritten():
    outcomes = all_orders(Stage(32), producer=producer(3), consumer=consumer(3))
    assert {offered for offered, _ in outcomes} >= {(1,), (1, 2), (1, 3), (1, 2, 3)}


def test_the_same_holds_where_padding_is_needed():
    outcomes = all_orders(Stage(64), producer=producer(3), consumer=consumer(2))
    assert ((1, 2, 3), (1, 2)) in outcomes
