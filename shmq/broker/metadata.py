"""Metadata: the conductor's authoritative state, which all control handlers work on.

One process owns it, so that nothing here needs a lock. Handlers leave what is to be done beside their answer in
`effects`; whoever runs them drains that list after each. After a crash of the conductor its successor makes it
anew from the documents and from the tables in shared memory; who is connected comes back from the workers.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from shmq.broker.clients import Clients
from shmq.broker.delays import Delays, Reader
from shmq.broker.effects import DocumentName, Effect
from shmq.broker.filter_servers import FilterServers
from shmq.broker.filter_table import FilterTable
from shmq.broker.groups import Groups
from shmq.broker.locks import QueueLocks
from shmq.broker.names import (
    CHECKED_TOO_OFTEN_TOPIC,
    HALF_OPERATION_TOPIC,
    HALF_TOPIC,
    SCHEDULE_TOPIC,
    topic_problem,
)
from shmq.broker.offsets import Offsets, Tables
from shmq.broker.outcome import Channel
from shmq.broker.pop.pops import Pops
from shmq.broker.request_modes import RequestModes
from shmq.broker.timers.report import TimerReport
from shmq.broker.topics import Topics
from shmq.broker.transactions.rounds import Rounds
from shmq.broker.transactions.table import Places, Transactions
from shmq.broker.updates import Update
from shmq.config.settings import Config
from shmq.errors import RequestError, StoreError
from shmq.store.position import NONE
from shmq.wire.bodies import DataVersion
from shmq.wire.topic_bodies import TopicConfig

_QUEUE_ID_MAX: Final = 0xFFFF


class _Saved(Protocol):
    """What a document is made of."""

    def to_json(self) -> dict[str, Any]:
        """Return the document's content."""


class Metadata:
    """What a control handler may use.

    Attributes:
        settings: the broker's.
        tables: in shared memory.
        reader: of the store.
        boot_ms: when this state was made.
        random: chooses a queue where the client leaves the choice.
        measure: gives what others know of the broker, as the names and values of runtime information.
        effects: what is still to be done.
        topics: the topics.
        groups: the consumer groups.
        offsets: the committed offsets.
        clients: who is online.
        filters: the SQL92 expressions of consumer groups.
        filter_servers: those that have registered.
        locks: of queues.
        delays: the messages that wait for a level.
        timer_report: what is known of those that wait for a moment of their own.
        log_end: tells a position that no record which is submitted from then on lies below.
        transactions: those that are open.
        rounds: look after transactions that are open for long.
        pops: the messages that were popped.
        modes: how groups ask for messages.
    """

    def __init__(
        self,
        settings: Config,
        tables: Tables,
        documents: Mapping[DocumentName, Any],
        reader: Reader,
        now_ms: int,
    ) -> None:
        """Make the state of what was saved: each document as parsed, or None where there is none.

        Raises:
            StoreError: a document is not what it must be, or the tables are too small for what it holds.
        """
        self.settings = settings
        self.tables = tables
        self.reader = reader
        self.boot_ms = now_ms
        self.random = random.Random(now_ms)  # noqa: S311 - it spreads load, it keeps no secret
        self.measure: Callable[[], Mapping[str, str]] = dict
        self.effects: list[Effect] = []
        self.topics = Topics(tables.topics, tables.queues, settings, self.effects, now_ms)
        self.groups = Groups(tables.groups, settings, self.effects, now_ms)
        self.offsets = Offsets(tables, now_ms)
        self.clients = Clients(self.effects)
        self.filters = FilterTable(settings, self.effects)
        self.filter_servers = FilterServers(self.effects)
        self.locks = QueueLocks(settings.queue_lock_life_ms)
        self.topics.load(documents.get(DocumentName.TOPICS))
        self.groups.load(documents.get(DocumentName.GROUPS))
        self.offsets.load(documents.get(DocumentName.CONSUMER_OFFSETS))
        self.filters.load(documents.get(DocumentName.FILTERS), now_ms)
        schedule = self.topics.slots(SCHEDULE_TOPIC)
        self.delays = Delays(settings, schedule, tables.queues, reader, self.find_slot)
        self.delays.load(documents.get(DocumentName.DELAY_OFFSETS))
        self.log_end: Callable[[], int] = int
        places = Places(self.topics.slots(HALF_TOPIC)[0], self.topics.slots(HALF_OPERATION_TOPIC)[0])
        self.transactions = Transactions(places, self.offsets, self.effects, self._log_end)
        self.transactions.load(documents.get(DocumentName.TRANSACTIONS))
        self.rounds = Rounds(self.transactions, tables.queues, self)
        self.timer_report = TimerReport()
        self.timer_report.load(documents.get(DocumentName.TIMER_METRICS))
        self.pops = Pops(settings, tables, self.offsets, self.effects)
        self.modes = RequestModes(settings, self.effects)
        self.modes.load(documents.get(DocumentName.REQUEST_MODES))

    def drain(self) -> list[Effect]:
        """Return the effects that are still to be done, in order, and forget them."""
        drained = list(self.effects)
        self.effects.clear()
        return drained

    def snapshot(self) -> list[Update]:
        """Return all that a new worker must know."""
        return [
            *self.topics.snapshot(),
            *self.groups.snapshot(),
            *self.filters.snapshot(),
            *self.clients.snapshot(),
        ]

    def document(self, name: DocumentName, now_ms: int) -> dict[str, Any]:
        """Return a document's content, to be written as JSON."""
        if name is DocumentName.CONSUMER_OFFSETS:
            self.pops.sync()  # after a loss of power no offset may be ahead of what was popped
            return self.offsets.to_json(now_ms)  # its version tells when offsets have moved
        owners: dict[DocumentName, _Saved] = {
            DocumentName.TOPICS: self.topics,
            DocumentName.GROUPS: self.groups,
            DocumentName.DELAY_OFFSETS: self.delays,
            DocumentName.TRANSACTIONS: self.transactions,
            DocumentName.FILTERS: self.filters,
            DocumentName.TIMER_METRICS: self.timer_report,
            DocumentName.REQUEST_MODES: self.modes,
        }
        return owners[name].to_json()

    def documents(self, now_ms: int) -> dict[DocumentName, dict[str, Any]]:
        """Return the content of every document."""
        return {name: self.document(name, now_ms) for name in DocumentName}

    def expire(self, now_ms: int) -> None:
        """Forget clients and locks that were not heard of for too long."""
        self.clients.expire(now_ms - self.settings.channel_expiry_ms)
        self.filters.expire(self.clients.consumers, now_ms)
        self.filter_servers.expire(now_ms)
        self.locks.expire(now_ms)

    def _log_end(self) -> int:
        return self.log_end()

    def make_expired_slot(self, now_ms: int) -> int:
        """Return the slot of TRANS_CHECK_MAX_TIME_TOPIC's queue, made where it is missing; NONE where it cannot be."""
        if CHECKED_TOO_OFTEN_TOPIC not in self.topics:
            try:
                self.topics.put(TopicConfig(CHECKED_TOO_OFTEN_TOPIC, 1, 1), now_ms)
            except RequestError:
                return NONE  # the tables are full
        return self.find_slot(CHECKED_TOO_OFTEN_TOPIC, 0)

    def close(self, channel: Channel) -> None:
        """Note that a connection is closed."""
        self.clients.close(channel)
        self.filter_servers.close(channel)

    def close_worker(self, worker: int, epoch: int) -> None:
        """Note that a network worker has begun a new life: the connections of its earlier ones are closed."""
        self.clients.close_worker(worker, epoch)
        self.filter_servers.close_worker(worker, epoch)

    def announce(self, names: Iterable[str] | None) -> tuple[list[TopicConfig], DataVersion, tuple[str, ...]]:
        """Return what name servers are told: topics, all where names is None; their version; the filter servers."""
        return *self.topics.select(names), self.filter_servers.addresses

    def find_slot(self, topic: str, queue_id: int) -> int:
        """Return the slot of a queue, made where the topic or the queue is gone; NONE where it cannot be.

        A message that was on its way when its topic went is stored all the same: what is acknowledged is kept.
        """
        slots = self.topics.slots(topic)
        if 0 <= queue_id < len(slots):
            return slots[queue_id]
        if topic_problem(topic) is not None or not 0 <= queue_id <= _QUEUE_ID_MAX:
            return NONE
        try:
            return self.tables.queues.add(self.tables.topics.add(topic.encode()), queue_id)
        except StoreError:
            return NONE  # the tables are full, and nobody could consume from the queue
