"""Pop consumption in one process: a conductor's state and a worker's replica over one small store, and a clock."""

import random

import numpy as np

from shmq.broker.answering import handle_question
from shmq.broker.effects import Publish
from shmq.broker.outcome import Answered, Ask, Park, PutStatus, Reply
from shmq.broker.pop.flights import FlightStoreError
from shmq.broker.pop.reviving import find_message, revive
from shmq.broker.replica import Replica, read_limits
from shmq.broker.requests import REQUESTS, Plane
from shmq.errors import RequestError
from shmq.memory.block import address_of
from shmq.memory.words import store_word
from shmq.store import watermarks
from shmq.store.key_query import KeyIndexReader
from shmq.store.read import QueueReader
from shmq.store.store_files import StoreSizes
from shmq.store.watermarks import Watermarks
from shmq.wire.command import Command
from shmq.wire.topic_bodies import SubscriptionGroupConfig, TopicConfig
from tests.support.small_metadata import CHANNEL, NOW_MS, PEER, SmallMetadata


class PopGround(SmallMetadata):
    """A broker with the topic T of two queues and the group G, whose parts the test moves.

    Attributes:
        now_ms: the clock.
        parked: the last request that waits.
        asked: the questions that the conductor was asked.
    """

    def __init__(self, root, documents=None, tables=None, **settings):
        super().__init__(root, documents, tables, **settings)
        self.now_ms = NOW_MS
        self.parked = None
        self.asked = []
        config = self.settings
        self.words = np.zeros(watermarks.SIZE, dtype=np.uint8)
        self.replica = Replica(
            config,
            self.tables.offsets,
            QueueReader(
                self.store.consumequeue,
                StoreSizes.of(config),
                self.tables.queues,
                self.store.log,
                read_limits(config),
            ),
            KeyIndexReader(root / "index", StoreSizes.of(config).key_index, self.store.log),
            Watermarks(address_of(self.words), is_sync_flush=False),
            random.Random(7),
        )
        self.state.topics.put(TopicConfig("T", 2, 2), NOW_MS)
        self.state.groups.alter(SubscriptionGroupConfig("G", retry_times_max=3), NOW_MS)
        for update in self.state.snapshot():
            self.replica.apply(update)
        self.publish()

    def dispatch(self):
        super().dispatch()
        store_word(self.replica.watermarks.address + watermarks.APPENDED, self.store.end)

    def publish(self):
        """Tell the worker what the conductor wants it to know."""
        for effect in self.state.drain():
            if isinstance(effect, Publish):
                self.replica.apply(effect.update)

    def handle(self, command):
        """What comes of a request, once the conductor has answered all questions: a command, or None if it waits."""
        row = REQUESTS[command.code]
        try:
            if row.plane is Plane.DATA:
                outcome = row.handler(self.replica, command, PEER, self.now_ms)
            else:
                outcome = row.handler(self.state, command, CHANNEL, PEER, self.now_ms)
            return self.finish(command, outcome)
        except RequestError as error:
            return command.reply(error.code, error.remark, error.fields)

    def finish(self, _command, outcome):
        while isinstance(outcome, Ask):
            outcome = outcome.then(self.answer(outcome.question))
        self.parked = outcome if isinstance(outcome, Park) else None
        if self.parked is not None:
            return None
        assert isinstance(outcome, Reply)
        self.state.pops.settle()
        self.publish()
        answer = outcome.command
        answer.body = b"".join(outcome.pieces) or answer.body
        return answer

    def answer(self, question):
        """Answer a question as the conductor does."""
        self.asked.append(question)
        answered = handle_question(self.state, question, self.now_ms)
        try:
            self.state.pops.settle()
        except FlightStoreError as error:
            answered = Answered(1, str(error))
        self.publish()
        return answered

    # As `tests.support.popping` wants a connection.

    def call(self, command, *given, **more):
        if given:
            return super().call(command, *given, **more)
        answer = self.handle(command)
        assert answer is not None, "the request waits"
        return answer

    def wake(self, command, *, is_last=False):
        """Look again at the request that waits."""
        return self.finish(command, self.parked.again(self.now_ms, is_last))

    def send(self, *bodies, topic="T", queue_id=0, tag=""):
        for body in bodies:
            self.append(topic, queue_id, body=body, tag=tag)

    def revive(self, status=PutStatus.PUT_OK):
        """Have tried again what is due; return how many flights that were."""
        due = self.state.pops.store.due(self.now_ms, 1000)
        for flight in due:
            message = find_message(self.state, flight)
            revival = None if message is None else revive(self.state, flight, message, self.now_ms)
            self.publish()
            if message is not None and status is not PutStatus.PUT_OK:
                self.state.pops.postpone(flight, self.now_ms + 1000)
                continue
            if revival is not None:
                self.put(revival.record)
            self.state.pops.remove(flight)
        self.state.pops.settle()
        return len(due)

    def restart(self):
        """A new conductor over the same tables; the store of flights is what the old one left."""
        store = self.state.pops.store
        documents = self.state.documents(self.now_ms)
        kept = self.state
        self.state = type(kept)(self.settings, self.tables, documents, kept.reader, self.now_ms)
        self.state.pops.use(store, is_table_new=False, was_closed=False)
        self.publish()

    @property
    def flights(self):
        return self.state.pops.store.due(1 << 62, 10_000)


def request(code, **fields):
    return Command(code, fields={name: str(value) for name, value in fields.items()})
