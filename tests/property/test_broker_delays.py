"""Delayed messages under failing appends, and under restarts."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.broker.effects import DocumentName
from shmq.broker.outcome import PutStatus
from shmq.store import properties
from shmq.store.host import Host
from shmq.store.record import NewRecord
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import NOW_MS, SmallMetadata

HOST = Host(b"\x7f\x00\x00\x01", 10911)
LEVELS, QUEUES = 2, 2

waits = st.lists(
    st.tuples(st.integers(1, LEVELS), st.integers(0, QUEUES - 1), st.integers(0, 3000)),
    min_size=1,
    max_size=12,
)
turns = st.lists(
    st.tuples(st.integers(0, 4000), st.sampled_from(list(PutStatus)), st.booleans()), min_size=1, max_size=20
)


class Broker:
    """A state that can be begun anew from what was saved last."""

    def __init__(self, root):
        self.small = SmallMetadata(root)
        self.small.state.topics.put(TopicConfig("T", QUEUES, QUEUES), NOW_MS)
        self.pending = []

    def wait(self, number, level, queue_id, store_ms):
        text = properties.join({"DELAY": str(level), "REAL_TOPIC": "T", "REAL_QID": str(queue_id)})
        body = b"%d" % number
        record = NewRecord(b"SCHEDULE_TOPIC_XXXX", level - 1, 0, 0, store_ms, HOST, HOST, 0, 0, body, text)
        self.small.put(record, store_ms)

    def deliver(self, now_ms, status):
        """Send what is due, then settle one delivery: the oldest on its way."""
        self.pending += self.small.state.delays.due(now_ms)
        if self.pending:
            delivery = self.pending.pop(0)
            if status in {PutStatus.PUT_OK, PutStatus.FLUSH_DISK_TIMEOUT}:
                for record in delivery.records:
                    self.small.put(record, now_ms)
            self.small.state.delays.settle(delivery, status, now_ms)

    def restart(self):
        """Lose what is on its way, and what was not saved."""
        document = self.small.state.document(DocumentName.DELAY_OFFSETS, NOW_MS)
        kept = self.small
        self.small = SmallMetadata(kept.root, {DocumentName.DELAY_OFFSETS: document}, kept.tables)
        self.small.store = kept.store
        self.small.state.topics.put(TopicConfig("T", QUEUES, QUEUES), NOW_MS)
        self.pending = []

    def stored(self, queue_id):
        if not self.small.tables.queues.max[self.small.state.topics.slots("T")[queue_id]]:
            return []
        return [int(bytes(message.body)) for message in self.small.stored("T", queue_id)]


def run(given_waits, given_turns, *, restarts):
    """Deliver everything, the given turns first; return the broker and what was to be delivered."""
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder))
        expected = {}
        ordered = sorted(given_waits, key=lambda each: each[2])
        for number, (level, queue_id, after_ms) in enumerate(ordered):
            broker.wait(number, level, queue_id, NOW_MS + after_ms)
            expected.setdefault((level, queue_id), []).append(number)
        now_ms = NOW_MS
        for passed_ms, status, restart in given_turns:
            now_ms += passed_ms
            if restarts and restart:
                broker.restart()
            broker.deliver(now_ms, status)
        now_ms += 1_000_000
        for _ in range(4 * len(given_waits) + 4):
            now_ms += 1000
            broker.deliver(now_ms, PutStatus.PUT_OK)
        return [broker.stored(queue_id) for queue_id in range(QUEUES)], expected


@given(waits, turns)
@settings(max_examples=40, deadline=None)
def test_every_message_is_delivered_once_and_each_level_in_order(given_waits, given_turns):
    stored, expected = run(given_waits, given_turns, restarts=False)
    for queue_id, numbers in enumerate(stored):
        assert sorted(numbers) == sorted(
            number for (_, each), group in expected.items() if each == queue_id for number in group
        )
        for level in range(1, LEVELS + 1):
            group = expected.get((level, queue_id), [])
            assert [number for number in numbers if number in group] == group


@given(waits, turns)
@settings(max_examples=40, deadline=None)
def test_no_message_is_lost_when_the_conductor_begins_anew(given_waits, given_turns):
    stored, expected = run(given_waits, given_turns, restarts=True)
    for (_, queue_id), numbers in expected.items():
        assert set(numbers) <= set(stored[queue_id])
