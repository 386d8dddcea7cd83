"""Rounds: go over the half queue, and have producers asked how old transactions ended.

A round goes from where the last one has come to the first half message that is too young. What is closed is passed
over. For what is open a copy is stored at the queue's end, and then:

    old enough           one producer of its group is asked, on whatever connection; the copy counts how often
    immune for longer    nothing; the copy keeps its place in later rounds
    asked too often      no copy: it goes to TRANS_CHECK_MAX_TIME_TOPIC, and waits for an administrator, or for a
    or older than files  late decision

So the queue's beginning never waits for one transaction. Some half messages make a batch, stored whole or not at all;
there is one at a time, and the round goes on when it is stored. If the conductor dies before it has noted how far it
came, its successor finds the copies, and does not take their originals for open.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple, Protocol

from shmq.broker.clients import Clients
from shmq.broker.delays import Reader
from shmq.broker.effects import Effect, Push
from shmq.broker.limits import append_bytes_max
from shmq.broker.names import HALF_TOPIC
from shmq.broker.outcome import Appended, Channel
from shmq.broker.transactions.half_messages import HALF_QUEUE, Half, Stored, check_command, find_half
from shmq.broker.transactions.table import RETRY_MS, Transactions
from shmq.config.settings import Config
from shmq.memory.words import load_word
from shmq.store.position import NONE
from shmq.store.queue_table import QueueTable, max_address, min_address
from shmq.store.record import NewRecord, size_of

STEPS_MAX: Final = 4096  # of one call, so that the conductor comes to other things
BATCH_COUNT_MAX: Final = 256
BATCH_BYTES_MAX: Final = 1 << 20  # or less, where an append takes less
HOUR_MS: Final = 3_600_000


class Verdict(Enum):
    """What is to be done about a half message."""

    PASS = auto()
    STOP = auto()
    ASK = auto()
    KEEP = auto()
    GIVE_UP = auto()


class Step(NamedTuple):
    """An open half message in a batch."""

    verdict: Verdict
    root: int
    half: Half
    record: NewRecord


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Copies, or expired half messages, to be stored next to each other, all or none.

    Attributes:
        slot: of their queue.
        steps: at least one.
        reach: how far the round has come once they are stored.
    """

    slot: int
    steps: tuple[Step, ...]
    reach: int

    @property
    def records(self) -> tuple[NewRecord, ...]:
        """What is to be stored."""
        return tuple(step.record for step in self.steps)


class Surroundings(Protocol):
    """What rounds use of the conductor's state."""

    @property
    def settings(self) -> Config:
        """The broker's."""

    @property
    def reader(self) -> Reader:
        """Reads half messages."""

    @property
    def clients(self) -> Clients:
        """Who is online."""

    @property
    def effects(self) -> list[Effect]:
        """What is still to be done."""

    def make_expired_slot(self, now_ms: int) -> int:
        """Return the slot of TRANS_CHECK_MAX_TIME_TOPIC's queue, made where it is missing; NONE where it cannot be."""


class Rounds:
    """The rounds over the half queue.

    Attributes:
        is_over: whether the round has come to its end.
        is_resting: whether it waits after an append that failed.
        dropped: half messages that no copy of could be stored: RocketMQ had stored them, and they are too long here.
    """

    def __init__(self, table: Transactions, queues: QueueTable, around: Surroundings) -> None:
        """Rest."""
        self.is_over = True
        self.dropped = 0
        self._table = table
        self._queues = queues
        self._around = around
        self._began_ms = 0
        self._resume_ms = 0
        self.is_resting = False
        self._batch: Batch | None = None
        self._asked = 0
        self._append_bytes_max = append_bytes_max(around.settings)
        self._batch_bytes_max = min(BATCH_BYTES_MAX, self._append_bytes_max)

    @property
    def can_go_on(self) -> bool:
        """Whether a round is under way, and nothing of it on its way to the log."""
        return not self.is_over and self._batch is None and not self.is_resting

    @property
    def is_anything_open(self) -> bool:
        """Whether the half queue holds anything that a round would look at."""
        return self._table.half_offset != self._max_offset()

    def begin(self, now_ms: int) -> None:
        """Begin a round, where none is under way."""
        if self.is_over:
            self.is_over = False
            self._began_ms = now_ms

    def next_batch(self, now_ms: int) -> Batch | None:
        """Go on with the round; return what is to be stored next.

        None where there is nothing yet: a batch is on its way, the round is over, or it goes on with the next call.
        """
        if self.is_over or self._batch is not None or now_ms < self._resume_ms:
            return None
        self.is_resting = False
        least = load_word(min_address(self._queues.address, self._table.places.half_slot))
        at = max(self._table.half_offset, least)
        end = self._max_offset()
        steps: list[Step] = []
        size_bytes = 0
        for _ in range(STEPS_MAX):
            if at >= end:
                self.is_over = not steps
                break
            step = self._judge(at, now_ms)
            if step is Verdict.STOP:
                self.is_over = not steps
                break
            if isinstance(step, Step):
                size_bytes += size_of(step.record)
                is_other = bool(steps) and (step.verdict is Verdict.GIVE_UP) != (
                    steps[0].verdict is Verdict.GIVE_UP
                )
                if (
                    is_other
                    or len(steps) == BATCH_COUNT_MAX
                    or (steps and size_bytes > self._batch_bytes_max)
                ):
                    break
                steps.append(step)
            at += 1
        if not steps:
            if at > self._table.half_offset:
                self._table.move(at)
            return None
        return self._bundle(steps, at, now_ms)

    def settle(self, batch: Batch, appended: Appended, now_ms: int) -> None:
        """Note how the append of a batch ended."""
        assert batch is self._batch, "there is one at a time"
        self._batch = None
        if not appended.status.is_stored:
            self._rest(now_ms)
            for step in batch.steps:
                self._table.end(step.root)
            return
        for index, step in enumerate(batch.steps):
            stored = Stored(
                appended.queue_offset + index, appended.positions[index], appended.store_timestamp_ms
            )
            if step.verdict is Verdict.GIVE_UP:
                message = step.half.message
                self._table.close_expired(step.root, message.queue_offset, message.store_host)
                continue
            self._table.reopen(step.root, stored.queue_offset)
            if step.verdict is Verdict.ASK:
                self._ask(step, stored)
            self._table.end(step.root)
        self._table.move(batch.reach)

    def _judge(self, at: int, now_ms: int) -> Step | Verdict:
        """What is to be done about the half message at an offset."""
        half = self._open_half(at)
        if half is None:
            return Verdict.PASS
        root = half.root
        verdict = Verdict.STOP if self._table.is_under_way(root) else self._age(half, now_ms)
        if verdict is Verdict.STOP:
            return verdict
        record = half.expired(root) if verdict is Verdict.GIVE_UP else self._copy(half, root, verdict)
        if size_of(record) > self._append_bytes_max:
            self.dropped += 1
            return Verdict.PASS
        return Step(verdict, root, half, record)

    def _open_half(self, at: int) -> Half | None:
        """The half message at an offset, if it stands for an open transaction and its part of the log is there."""
        table = self._table
        if at in table.decided:
            return None
        half = find_half(self._around.reader.queued(table.places.half_slot, HALF_TOPIC, HALF_QUEUE, at))
        return half if half is not None and table.is_live(half.root, at) else None

    def _age(self, half: Half, now_ms: int) -> Verdict:
        settings = self._around.settings
        age_ms = now_ms - half.message.born_timestamp_ms
        if half.check_times >= settings.transaction_checks_max:
            return Verdict.GIVE_UP
        if age_ms > settings.file_reserved_hours * HOUR_MS:
            return Verdict.GIVE_UP
        if half.message.store_timestamp_ms >= self._began_ms:
            return Verdict.STOP
        immunity_ms = half.immunity_ms(settings.transaction_timeout_ms)
        if immunity_ms is not None:
            return Verdict.KEEP if age_ms <= immunity_ms else Verdict.ASK
        return Verdict.STOP if 0 <= age_ms <= settings.transaction_timeout_ms else Verdict.ASK

    def _copy(self, half: Half, root: int, verdict: Verdict) -> NewRecord:
        return half.copy(root, half.check_times + 1 if verdict is Verdict.ASK else None)

    def _bundle(self, steps: list[Step], reach: int, now_ms: int) -> Batch | None:
        slot = self._table.places.half_slot
        if steps[0].verdict is Verdict.GIVE_UP:
            slot = self._around.make_expired_slot(now_ms)
            if slot == NONE:
                self._rest(now_ms)
                return None
            for step in steps:
                self._table.give_up(step.root, step.half.message.position)
        for step in steps:
            self._table.begin(step.root)
        self._batch = Batch(slot, tuple(steps), reach)
        return self._batch

    def _rest(self, now_ms: int) -> None:
        self._resume_ms = now_ms + RETRY_MS
        self.is_resting = True

    def _ask(self, step: Step, stored: Stored) -> None:
        """Ask one producer of the group, another one each time; nobody where nobody is there."""
        channel = self._choose(step.half.group)
        if channel is not None:
            name = self._around.settings.broker_name
            command = check_command(step.half, step.record, stored, name)
            self._around.effects.append(Push(channel, command))

    def _choose(self, group: str) -> Channel | None:
        channels = tuple(self._around.clients.producers.get(group, ()))
        if not channels:
            return None
        self._asked += 1
        return channels[self._asked % len(channels)]

    def _max_offset(self) -> int:
        # Pairs with the dispatcher's release.
        return load_word(max_address(self._queues.address, self._table.places.half_slot))
