"""Popped messages against a plain model: whoever dies and whenever, each message is out, consumed, or to come.

The model is one queue and one group. What it knows of a message below the cursor is one word: it is out until a time, it
was acknowledged, it was revived (which is another message's story), or it was left out: nobody wanted it, or somebody
moved the cursor over it. What is done in a round counts only once the round is settled; a crash in between undoes it,
and nobody was told.
"""

import copy
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shmq.broker.offsets import Offsets
from shmq.broker.pop.flights import FlightStoreError, Key
from shmq.broker.pop.pops import Pops
from shmq.broker.pop.questions import MOVED, TAKEN, PopAckQuestion, PopChangeQuestion, PopQuestion, Take
from shmq.config.settings import Config
from shmq.errors import RequestError
from shmq.store.position import NONE
from shmq.workers.flight_store import SqliteFlightStore
from tests.support.small_metadata import new_tables

KEY = Key("G", "T", 0)
QUEUE_MAX = 200
POSITION_STEP = 1000


class Model:
    """What a queue's messages have come to.

    Attributes:
        cursor: of the queue; NONE before its first pop.
        table: what the table of offsets was told; if it holds something else, that was others.
        is_moved: whether the cursor was moved in this round.
        words: by offset: "acked", "revived", "left out", or (pop_ms, invisible_ms, visible_ms).
    """

    def __init__(self):
        self.cursor = self.table = NONE
        self.is_moved = False
        self.words = {}

    @property
    def out(self):
        return {offset: word for offset, word in self.words.items() if isinstance(word, tuple)}

    def hear(self, offset):
        """Go on from an offset that others committed."""
        self.words = {each: word for each, word in self.words.items() if each < offset}
        for passed in range(offset):
            self.words.setdefault(passed, "left out")
        self.cursor = self.table = offset
        self.is_moved = True

    def settle(self):
        if self.is_moved:
            self.table, self.is_moved = self.cursor, False


class Popping(RuleBasedStateMachine):
    """Everything that happens to a conductor's pops."""

    @initialize()
    def begin(self):
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "pop.db"
        self.tables = new_tables()
        self.now_ms = 1_000_000
        self.taker = 0
        self.settled = Model()
        self.model = Model()
        self.receipts = []  # of deliveries that a client knows: (offset, pop_ms, invisible_ms)
        self.told = []  # of deliveries in this round, which are known once it is settled
        self.saved = self.saved_model = None
        self.disk = Path(self.directory.name) / "disk.db"
        self.add_names()
        self.open(is_table_new=True)

    def add_names(self):
        topic, group = self.tables.topics.add(b"T"), self.tables.groups.add(b"G")
        assert (topic, group) == (0, 0)
        self.slot = self.tables.queues.add(topic, 0)

    def open(self, *, is_table_new):
        self.store = SqliteFlightStore(self.path)
        self.pops = Pops(Config(), self.tables, Offsets(self.tables, self.now_ms), [])
        self.pops.use(self.store, is_table_new=is_table_new, was_closed=self.store.was_closed)

    @property
    def committed(self):
        row = self.tables.offsets.row(0, self.slot)
        return NONE if row == NONE else self.tables.offsets.load(row)

    def commit_by_others(self, offset):
        self.tables.offsets.add(0, self.slot, offset)

    # What clients do.

    @rule(count=st.integers(1, 5))
    def send(self, count):
        end = self.tables.queues.max[self.slot]
        self.tables.queues.max[self.slot] = min(end + count, QUEUE_MAX)

    @rule(count=st.integers(0, 8), passed=st.integers(0, 3), invisible_ms=st.integers(1, 50))
    def pop(self, count, passed, invisible_ms):
        """Take some messages, and let the cursor pass some that nobody wants."""
        self.hear_others()
        expected = self.model.cursor
        begin = max(expected, 0)
        end = min(begin + count + passed, int(self.tables.queues.max[self.slot]))
        offsets = list(range(begin, end))[passed:]
        answer = self.ask_pop(expected, begin, end, offsets, invisible_ms)
        assert answer == [TAKEN]
        self.model.cursor, self.model.is_moved = end, True
        for offset in range(end):
            self.model.words.setdefault(offset, "left out")
        for offset in offsets:
            self.model.words[offset] = (self.now_ms, invisible_ms, self.now_ms + invisible_ms)
            self.told.append((offset, self.now_ms, invisible_ms))

    @rule(shift=st.sampled_from([-2, -1, 1, 2]))
    def pop_where_another_was_quicker(self, shift):
        is_heard = self.committed in (NONE, self.model.table)
        cursor = self.model.cursor if is_heard else self.committed
        expected = max(cursor, 0) + shift
        if expected not in (cursor, NONE):
            self.hear_others()
            assert self.ask_pop(expected, expected, expected + 1, [expected], 10) == [MOVED]

    def ask_pop(self, expected, begin, end, offsets, invisible_ms):
        self.taker += 1
        positions = [offset * POSITION_STEP for offset in offsets]
        take = Take("T", 0, expected, begin, end, offsets, positions)
        question = PopQuestion("G", self.taker, self.now_ms, invisible_ms, False, "", [take])
        (answer,) = orjson.loads(self.pops.answer(question, self.now_ms))
        return answer

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def ack(self, data):
        """Any receipt that a client ever had: a dead one changes nothing."""
        offset, pop_ms, invisible_ms = data.draw(st.sampled_from(self.receipts))
        question = PopAckQuestion("G", "T", 0, pop_ms, invisible_ms, False, [offset])
        self.pops.answer(question, self.now_ms)
        word = self.model.words.get(offset)
        if isinstance(word, tuple) and word[:2] == (pop_ms, invisible_ms):
            self.model.words[offset] = "acked"

    @precondition(lambda self: self.receipts)
    @rule(data=st.data(), invisible_ms=st.integers(51, 100))
    def change(self, data, invisible_ms):
        offset, pop_ms, old_ms = data.draw(st.sampled_from(self.receipts))
        question = PopChangeQuestion("G", "T", 0, offset, pop_ms, old_ms, False, self.now_ms, invisible_ms)
        word = self.model.words.get(offset)
        new = (self.now_ms, invisible_ms)
        alive = isinstance(word, tuple) and word[:2] in ((pop_ms, old_ms), new)
        if not alive:
            with pytest.raises(RequestError, match="acknowledged, or was tried again"):
                self.pops.answer(question, self.now_ms)
            return
        assert tuple(orjson.loads(self.pops.answer(question, self.now_ms))) == new
        self.model.words[offset] = (*new, sum(new))
        self.told.append((offset, *new))

    # What time does.

    @rule(passed_ms=st.integers(1, 60))
    def wait(self, passed_ms):
        self.now_ms += passed_ms

    @rule(count=st.integers(1, 4))
    def revive(self, count):
        """What is due is found, the longest hidden first, and forgotten once it is written anew."""
        due = self.store.due(self.now_ms, count)
        expected = sorted(word[2] for word in self.model.out.values() if word[2] <= self.now_ms)
        assert [flight.visible_ms for flight in due] == expected[:count]
        for flight in due:
            assert flight.position == flight.offset * POSITION_STEP
            self.pops.remove(flight)
            self.model.words[flight.offset] = "revived"

    # What others do.

    @rule(data=st.data())
    def move(self, data):
        """Somebody commits an offset: a consumer that pulls, or an administrator. They see what was settled."""
        self.settle()
        self.commit_by_others(data.draw(st.integers(0, int(self.tables.queues.max[self.slot]))))

    def hear_others(self):
        """Note what the next pop finds, where the table does not hold what it was told."""
        if self.committed not in (NONE, self.model.table):
            self.model.hear(self.committed)

    # What dies.

    @rule()
    def settle(self):
        self.pops.settle()
        self.note_settled()

    def note_settled(self):
        self.model.settle()
        self.settled = copy.deepcopy(self.model)
        self.receipts += self.told
        self.told = []

    @rule()
    def save(self):
        """The offsets' document is saved, and what it says is on disk; nothing that comes later is."""
        self.settle()
        self.hear_others()
        self.pops.sync()
        self.note_settled()
        self.saved = Offsets(self.tables, 0).to_json(0)
        self.saved_model = copy.deepcopy(self.model)
        shutil.copy(self.path, self.disk)

    @rule()
    def the_conductor_dies(self):
        """What was not settled never was; the table in shared memory stays."""
        self.forget_round()
        self.store.abandon()
        self.open(is_table_new=False)

    @rule()
    def the_conductor_dies_before_it_tells(self):
        self.store.commit()
        self.note_settled()
        self.store.abandon()
        self.open(is_table_new=False)

    @rule()
    def the_round_fails(self):
        """A full disk: all of the round is undone."""
        commit, self.store.commit = self.store.commit, _fail
        changed = self.pops.is_changed
        try:
            self.pops.settle()
        except FlightStoreError:
            assert changed
        self.store.commit = commit
        self.forget_round()

    @rule()
    def the_broker_stops(self):
        self.save()
        self.pops.close()
        self.start_anew()

    @precondition(lambda self: self.saved is not None)
    @rule()
    def the_host_loses_power(self):
        """All that is left is what was saved last; clients know receipts that the broker does not."""
        self.receipts += self.told
        self.told = []
        self.store.abandon()
        for left in self.path.parent.glob("pop.db*"):
            left.unlink()
        shutil.copy(self.disk, self.path)
        self.settled = copy.deepcopy(self.saved_model)
        self.forget_round()
        self.start_anew()

    def start_anew(self):
        end = int(self.tables.queues.max[self.slot])
        self.tables = new_tables()
        self.add_names()
        self.tables.queues.max[self.slot] = end
        Offsets(self.tables, 0).load(self.saved)
        self.open(is_table_new=True)

    def forget_round(self):
        self.model = copy.deepcopy(self.settled)
        self.told = []

    @invariant()
    def what_is_out_is_in_the_store(self):
        if not hasattr(self, "store"):
            return
        flights = {
            flight.offset: (flight.pop_ms, flight.invisible_ms, flight.visible_ms)
            for flight in self.store.due(1 << 62, QUEUE_MAX)
        }
        assert flights == self.model.out

    @invariant()
    def below_the_cursor_nothing_is_forgotten(self):
        if hasattr(self, "store") and self.store.cursor(KEY) is not None:
            assert self.store.cursor(KEY).offset == self.model.cursor
            assert set(self.model.words) == set(range(self.model.cursor))

    def teardown(self):
        if hasattr(self, "store"):
            self.store.abandon()
            self.directory.cleanup()


def _fail():
    raise FlightStoreError("the disk is full")


Popping.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPopping = Popping.TestCase
