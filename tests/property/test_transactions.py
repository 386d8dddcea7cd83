"""Transactions against a plain model: every order of submitting, writing, hearing, and dying in between."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shmq.wire.codes import ResponseCode
from tests.support.transaction_bench import CHECKS_MAX, COMMIT, INTERVAL_MS, ROLLBACK, TIMEOUT_MS, Bench

HALVES_MAX = 5
decisions = st.sampled_from([COMMIT, ROLLBACK])


class Model:
    """What a producer knows of one transaction.

    Attributes:
        body: of its message.
        handles: all that it may be decided by.
        said: what producers have said of it so far, in whatever life of the broker.
    """

    def __init__(self, body, handle):
        self.body = body
        self.handles = [handle]
        self.said = []


class Transactions(RuleBasedStateMachine):
    """The broker beside the model."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name))
        self.bench.join()
        self.models = []
        self.saved = self.bench.offsets()

    def teardown(self):
        if hasattr(self, "folder"):
            self.settle()
            self.folder.cleanup()

    # Producers.

    @precondition(lambda self: len(self.models) < HALVES_MAX)
    @rule(immune=st.booleans())
    def send(self, immune):
        body = b"%d" % len(self.models)
        pairs = {"CHECK_IMMUNITY_TIME_IN_SECONDS": "40"} if immune else {}
        self.models.append(Model(body, self.bench.half(body, **pairs)))

    @precondition(lambda self: self.models)
    @rule(data=st.data(), decision=decisions)
    def decide(self, data, decision):
        model = data.draw(st.sampled_from(self.models))
        handle = data.draw(st.sampled_from(model.handles))
        self.bench.end(handle, decision, from_check=True)
        model.said.append(decision)

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def resume(self, data):
        model = data.draw(st.sampled_from(self.models))
        positions = [at for at, body in self.bench.expired if body == model.body]
        positions += [handle.position for handle in model.handles]
        self.bench.resume(data.draw(st.sampled_from(positions)))

    # Time, and the other processes.

    @rule(passed_ms=st.sampled_from([0, 1, 600, TIMEOUT_MS, INTERVAL_MS]))
    def look(self, passed_ms):
        self.bench.look(passed_ms)
        self.hear_checks()

    @rule(count=st.integers(1, 3))
    def write(self, count):
        self.bench.write(count)

    @rule(count=st.integers(1, 3))
    def refuse(self, count):
        self.bench.refuse(count)

    @rule(count=st.integers(1, 3))
    def collect(self, count):
        self.bench.collect(count)
        self.hear_checks()

    @rule()
    def save_offsets(self):
        self.saved = self.bench.offsets()

    @rule(is_flushed=st.booleans())
    def flush(self, is_flushed):
        self.bench.is_flushed = is_flushed

    @rule(is_full=st.booleans())
    def fill_disk(self, is_full):
        self.bench.is_disk_full = is_full

    @rule()
    def kill_conductor(self):
        self.bench.kill_conductor()
        self.bench.join()

    @rule()
    def kill_all(self):
        self.bench.kill_all(self.saved)
        self.bench.join()

    # What must hold.

    @invariant()
    def nothing_comes_early_or_twice(self):
        if not hasattr(self, "bench"):
            return
        delivered = self.bench.delivered
        assert len(set(delivered)) == len(delivered), "committed twice"
        for model in self.models:
            if model.body in delivered:
                assert COMMIT in model.said, "delivered before anybody said so"

    def hear_checks(self):
        for command in [command for _, command in self.bench.checks]:
            assert command.fields["topic"] == "RMQ_SYS_TRANS_HALF_TOPIC"
        for handle in self.bench.asked():
            body = bytes(self.bench.stored_half(handle.offset).message.body)
            self.models[int(body)].handles.append(handle)

    def settle(self):
        """Let everything go well from here on, and have every transaction decided that is not."""
        bench = self.bench
        bench.is_flushed = True
        bench.is_disk_full = False
        bench.run()
        self.hear_checks()
        before = set(bench.delivered)
        for model in self.models:
            answer = bench.end(model.handles[-1], COMMIT, from_check=True)
            bench.run()
            assert bench.answers[answer] == ResponseCode.SUCCESS
            if ROLLBACK not in model.said:
                assert model.body in bench.delivered, "lost"
            if model.body not in before and model.body in bench.delivered:
                model.said.append(COMMIT)
        self.hear_checks()  # of those that were still open then
        for _ in range(CHECKS_MAX + 2):
            bench.run(INTERVAL_MS)
            assert bench.asked() == [], "asked for what is decided"
        self.nothing_comes_early_or_twice()
        assert bench.table.copies == {}
        assert bench.table.is_settled
        assert not bench.rounds_left()


TestTransactions = Transactions.TestCase
TestTransactions.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
