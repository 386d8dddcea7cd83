"""Timers against a plain model: each message comes once, at its moment, whoever dies; what is taken back never comes."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from shmq.broker.outcome import PutStatus
from shmq.broker.timers.due import GRACE_MS
from tests.support.small_timers import SmallTimers

QUEUES = 2
PRECISION_MS = 1000
ROLL_SLOTS = 8
DELAYS = st.integers(1, 30_000)
FAILURES = st.sampled_from([PutStatus.SYSTEM_BUSY, PutStatus.UNKNOWN_ERROR, PutStatus.SERVICE_NOT_AVAILABLE])


class TimersAgainstModel(RuleBasedStateMachine):
    """The model: of each message its queue, when it is due, and whether it was taken back in time."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.small = SmallTimers(self.root, roll_slots=ROLL_SLOTS, queues=QUEUES)
        self.due = {}
        self.recalled = set()
        self.seen = {}

    def teardown(self):
        self.small.pass_ms(1)
        for _ in range(40):
            self.small.pass_ms(PRECISION_MS + GRACE_MS)
            self.check()
        assert set(self.seen) == set(self.due) - self.recalled
        self.small.close()
        shutil.rmtree(self.root)

    @initialize(delays_ms=st.lists(DELAYS, min_size=2, max_size=4))
    def begin(self, delays_ms):
        for delay_ms in delays_ms:
            self.send(0, delay_ms, "at")

    @rule(queue_id=st.integers(0, QUEUES - 1), delay_ms=DELAYS, form=st.sampled_from(["ms", "at"]))
    def send_one(self, queue_id, delay_ms, form):
        self.send(queue_id, delay_ms, form)

    def send(self, queue_id, delay_ms, form):
        """Send a message that is due after a delay, which it asks for in one of two ways."""
        moment_ms = self.small.now_ms + delay_ms
        asked = {"TIMER_DELAY_MS": delay_ms} if form == "ms" else {"TIMER_DELIVER_MS": moment_ms}
        key, handle = self.small.send(queue_id, **asked)
        assert handle is not None
        self.due[key] = (queue_id, moment_ms)

    @rule(data=st.data())
    def recall(self, data):
        key = data.draw(st.sampled_from(sorted(self.due)))
        out_ms = (self.due[key][1] - 1) // PRECISION_MS * PRECISION_MS
        if self.small.now_ms <= out_ms:  # as RECALL_MESSAGE refuses what is later
            self.small.recall(key, out_ms)
            self.recalled.add(key)

    @rule(passed_ms=st.one_of(st.integers(0, 300), st.integers(0, 12_000)))
    def pass_time(self, passed_ms):
        self.small.now_ms += passed_ms

    @rule(data=st.data(), early_ms=st.integers(0, 3), stored=st.integers(0, 2), saved=st.booleans())
    def die_delivering(self, data, early_ms, stored, saved):
        """Come to a message's moment, or just before it, and end with its delivery on its way."""
        self.small.look()
        _, due_ms = self.due[data.draw(st.sampled_from(sorted(self.due)))]
        self.small.now_ms = max(self.small.now_ms, due_ms - early_ms)
        self.small.look()
        self.small.now_ms += data.draw(st.sampled_from([0, GRACE_MS]))
        self.small.look()
        self.crash(stored, saved)

    @rule(data=st.data())
    def recall_at_last(self, data):
        """Take a message back in the last moment in which that is accepted."""
        key = data.draw(st.sampled_from(sorted(self.due)))
        out_ms = (self.due[key][1] - 1) // PRECISION_MS * PRECISION_MS
        if self.small.now_ms <= out_ms:
            self.small.look()
            self.small.now_ms = out_ms
            self.small.look()
            self.small.recall(key, out_ms)
            self.recalled.add(key)

    @rule(count_max=st.sampled_from([1, 3, 4096]))
    def look(self, count_max):
        self.small.look(count_max)

    @rule()
    def work(self):
        self.small.work()
        self.check()

    @rule(stored=st.booleans(), failure=FAILURES)
    def settle(self, stored, failure):
        self.small.settle(PutStatus.PUT_OK if stored else failure)
        self.check()

    @rule(stored=st.integers(0, 2), saved=st.booleans())
    def die(self, stored, saved):
        self.crash(stored, saved)

    def crash(self, stored, saved):
        """Begin anew, with what the check file last said or with what it would say now."""
        if saved:
            self.small.save()
        self.small.crash(stored)
        self.check()

    def check(self):
        """What has come is what was to come, once, and not before its moment."""
        for queue_id in range(QUEUES):
            keys = self.small.keys(queue_id)
            assert len(keys) == len(set(keys))
            for key in keys:
                if key in self.seen:
                    continue
                expected_queue, due_ms = self.due[key]
                assert queue_id == expected_queue
                assert self.small.now_ms >= due_ms
                assert key not in self.recalled
                self.seen[key] = self.small.now_ms


TimersAgainstModel.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
TestTimersAgainstModel = TimersAgainstModel.TestCase
