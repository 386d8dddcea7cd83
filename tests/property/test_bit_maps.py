"""Whatever happens around bit maps, who pulls with an expression gets what he would get without them."""

import random
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shmq.broker.effects import Publish
from shmq.broker.sql.compiling import compile_sql
from shmq.broker.updates import FilterUpdate
from shmq.store.bit_marks import MarkedFilter
from shmq.store.position import NONE
from tests.support.extended_store import ExtendedStore

GROUPS = ("g", "h", "i")
EXPRESSIONS = ("a = 'x'", "a = 'y' OR b > 1", "a IS NULL", "b BETWEEN 0 AND 2", "TRUE")
WEIGHTS = {
    "append": 8,
    "dispatch": 5,
    "kill the dispatcher": 1,
    "kill the conductor": 1,
    "subscribe": 3,
    "forget a group": 1,
    "publish": 5,
    "tell the reader": 3,
    "pull": 5,
    "lose a file": 1,
    "change behind the back of the reader": 2,
    "turn extensions over": 1,
}
"""How often each step is taken, among all."""
STEPS = st.sampled_from([step for step, weight in WEIGHTS.items() for _ in range(weight)])


class Everybody:
    """Producer, dispatcher, conductor and a network worker, who each take their steps when they are told to."""

    def __init__(self, root, seed):
        self.random = random.Random(seed)
        self.store = ExtendedStore(root, extension_bytes=self.random.choice((120, 400, 4096)))
        self.store.add_queue(b"T", 0)
        self.dispatched = 0
        self.told = {}
        self.document = None
        self.generation = 0
        self.reader = self.store.new_reader()
        self.pulls = 0
        self.is_anything_lost = False

    def take(self, step):
        getattr(self, step.replace(" ", "_"))()

    def append(self):
        for _ in range(self.random.randint(1, 20)):
            text = self.random.choice(("", "a\x01x\x02", "a\x01y\x02"))
            text += self.random.choice(("", "TAGS\x01A\x02", "TAGS\x01B\x02"))
            text += self.random.choice(("", "b\x011\x02", "b\x013\x02", "b\x01no number\x02"))
            sys_flag = self.random.choice((0, 0, 0, 4, 8))
            self.store.append(
                self.random.choice((b"T", b"T", b"U")), properties=text.encode(), sys_flag=sys_flag
            )
            self.store.words.say_appended(self.store.end)

    def dispatch(self):
        if self.dispatched < self.store.end:
            result = self.store.run(self.dispatched, self.random.choice((1, 500, 3000)))
            assert not result.problem
            self.dispatched = result.reached

    def kill_the_dispatcher(self):
        self.store.files.close()
        self.store.start_dispatcher()
        positions = [record[0] for record in self.store.records if record[0] <= self.dispatched]
        self.dispatched = self.random.choice([self.dispatched, *positions[-5:]])

    def turn_extensions_over(self):
        self.store.has_extensions = not self.store.has_extensions
        self.kill_the_dispatcher()

    def kill_the_conductor(self):
        """Its successor may not know what came last; a worker that hears of it believes nothing that was told before."""
        now = self.store.table.to_json()
        document = self.random.choice([now, now, self.document, None])
        self.document = now
        self.store.start_conductor(document)
        self.store.effects.clear()
        self.publish()
        self.told = {group: replace(update, live_from=NONE) for group, update in self.told.items()}
        for update in self.store.table.snapshot():
            self.hear(update)

    def subscribe(self):
        self.store.subscribe(self.random.choice(GROUPS), self.random.choice(EXPRESSIONS))

    def change_behind_the_back_of_the_reader(self):
        for step in ("subscribe", "publish", "append", "dispatch", "dispatch", "pull"):
            self.take(step)

    def forget_a_group(self):
        self.store.subscribe(self.random.choice(GROUPS), "this is no expression")

    def publish(self):
        self.store.publish()

    def tell_the_reader(self):
        """As a worker is told: one update after the other, in their order."""
        for _ in range(self.random.randint(1, 3)):
            while self.store.effects:
                effect = self.store.effects.pop(0)
                if isinstance(effect, Publish) and isinstance(effect.update, FilterUpdate):
                    self.hear(effect.update)
                    break

    def hear(self, update):
        self.told[update.group] = update
        self.generation = update.generation

    def lose_a_file(self):
        files = sorted(self.store.paths.extensions.rglob("0" * 10 + "*"))
        if files:
            self.random.choice(files).unlink()
            self.is_anything_lost = True
            self.kill_the_dispatcher()  # one that has it open goes on writing to what has no name

    def pull_by_tag(self):
        """Clients compare tags again, so what cannot be told is given."""
        slot = self.store.slot(b"T")
        offset = self.random.randint(*self.reader.bounds(slot))
        answers = [
            self.reader.read(slot, (b"T", 0), offset, 32, self.store.end, wanted)
            for wanted in (frozenset([ord("A")]), compile_sql("TAGS = 'A'"))
        ]
        by_hash, by_property = ([bytes(piece) for piece in each.slices] for each in answers)
        if not self.is_anything_lost:
            assert b"".join(by_hash) == b"".join(by_property)
            assert answers[0].next_offset == answers[1].next_offset

    def pull(self):
        self.pull_by_tag()
        for update in self.told.values():
            if update.expression is None:
                continue
            wanted = compile_sql(update.expression)
            slot = self.store.slot(b"T")
            minimum, maximum = self.reader.bounds(slot)
            offset = self.random.randint(minimum, maximum)
            asked = [wanted]
            if update.live_from != NONE:
                bits = self.store.bloom.bits_of(update.group, "T")
                asked.append(
                    MarkedFilter(
                        wanted, bits.positions, bits.bit_count // 8, update.live_from, self.generation
                    )
                )
            count_max = self.random.choice((1, 5, 32))
            answers = [
                self.reader.read(slot, (b"T", 0), offset, count_max, self.store.end, each) for each in asked
            ]
            shown = [
                (each.status, each.next_offset, b"".join(bytes(piece) for piece in each.slices))
                for each in answers
            ]
            assert all(each == shown[0] for each in shown)
            self.pulls += len(shown) - 1


@given(st.lists(STEPS, min_size=10, max_size=120), st.integers(0, 1 << 32))
@settings(max_examples=150, deadline=None)
def test_bit_maps_change_nothing_but_the_work(steps, seed):
    with tempfile.TemporaryDirectory() as folder:
        everybody = Everybody(Path(folder), seed)
        for step in ("subscribe", "publish", "tell the reader", "append", *steps):
            everybody.take(step)
        while everybody.dispatched < everybody.store.end:
            everybody.dispatch()
        for _ in range(20):
            everybody.tell_the_reader()
        everybody.pull()
        everybody.store.files.close()
