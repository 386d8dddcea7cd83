"""Whatever its two ends do, a ring is a queue: held against a deque."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shmq.ring import record, spsc
from tests.support.rings import SmallRing

CAPACITY_BYTES = 128
payloads = st.binary(max_size=CAPACITY_BYTES - record.SIZE)


class RingMachine(RuleBasedStateMachine):
    """A producer that fills, publishes or dies; a consumer that looks ahead, gives back or dies."""

    def __init__(self):
        super().__init__()
        self.ring = SmallRing(CAPACITY_BYTES)
        self.published = deque()  # (payload, kind, tag) not given back
        self.filled = []  # filled and not published
        self.seen = 0  # of the published, how many the consumer has read in place
        self.filled_to = None
        self.read_to = 0
        self.tags = 0

    @rule(payload=payloads, kind=st.integers(1, 2**31 - 1))
    def fill(self, payload, kind):
        self.tags += 1
        after = self.ring.fill(payload, kind, self.tags, after=self.filled_to)
        if after < 0:
            # A record of up to half the ring is refused only where others are in the way.
            assert self.published or self.filled or len(payload) > spsc.payload_bytes_max(CAPACITY_BYTES)
            return
        self.filled.append((payload, kind, self.tags))
        self.filled_to = after

    @precondition(lambda self: self.filled)
    @rule()
    def publish(self):
        spsc.publish(self.ring.address, self.filled_to)
        self.published.extend(self.filled)
        self.producer_dies()

    @rule()
    def producer_dies(self):
        """What was not published never was; a successor goes on from the cursor."""
        self.filled = []
        self.filled_to = None

    @rule()
    def look(self):
        """Read the next record in place."""
        found, payload = self.ring.peek(self.read_to)
        if self.seen == len(self.published):
            assert found.position == spsc.NONE
            return
        assert (payload, found.kind, found.tag) == self.published[self.seen]
        assert found.address % record.ALIGNMENT == 0
        self.seen += 1
        self.read_to = found.position + spsc.space_of(found.size_bytes)

    @rule()
    def give_back(self):
        spsc.give_back(self.ring.address, self.read_to)
        for _ in range(self.seen):
            self.published.popleft()
        self.seen = 0

    @rule()
    def consumer_dies(self):
        """What was not given back is read again."""
        self.read_to = spsc.consumed_position(self.ring.address)
        self.seen = 0

    @invariant()
    def is_empty_says_whether_all_is_given_back(self):
        assert self.ring.is_empty == (not self.published)

    @invariant()
    def the_cursors_hold_no_more_than_the_ring(self):
        produced = spsc.produced_position(self.ring.address)
        assert 0 <= produced - spsc.consumed_position(self.ring.address) <= CAPACITY_BYTES


TestRing = RingMachine.TestCase
TestRing.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
