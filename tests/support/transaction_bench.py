"""A conductor's transactions for tests: the real chore and handlers, with the writer's part and every crash in hand.

What is submitted lies in `ring` until `write` commits it or `refuse` refuses it; what the writer has answered lies in
`completions` until `collect`. A dead conductor leaves its ring to the writer, and nothing else but documents and tables.
"""

from collections import deque
from pathlib import Path
from typing import NamedTuple

from shmq.broker.effects import DocumentName, Persist, Push
from shmq.broker.message_ids import offset_id
from shmq.broker.metadata import Metadata
from shmq.broker.names import HALF_OPERATION_TOPIC, HALF_TOPIC
from shmq.broker.outcome import Append, Appended, Await, Channel, PutStatus, Reply
from shmq.broker.transactions.ending import handle_end_transaction, handle_resume_check
from shmq.broker.transactions.half_messages import Half, to_half
from shmq.errors import RequestError
from shmq.store import properties
from shmq.store.host import Host
from shmq.store.record import NewRecord
from shmq.wire.codes import RequestCode
from shmq.wire.command import Command
from shmq.wire.fields import write_header
from shmq.wire.flags import TRANSACTION_COMMIT, TRANSACTION_MASK, TRANSACTION_ROLLBACK
from shmq.wire.send_headers import EndTransactionHeader
from shmq.wire.topic_bodies import TopicConfig
from shmq.workers.transacting import Transacting
from tests.support.small_metadata import CHANNEL, NOW_MS, PEER, SmallMetadata

COMMIT, ROLLBACK, UNKNOWN = TRANSACTION_COMMIT, TRANSACTION_ROLLBACK, 0
GROUP, TOPIC = "PG", "T"
TIMEOUT_MS, INTERVAL_MS, CHECKS_MAX = 6000, 30_000, 3
HOST = Host(b"\x7f\x00\x00\x01", 10911)


class Handle(NamedTuple):
    """What a producer ends a transaction with: where a half message, or a copy, lies."""

    offset: int
    position: int


class Bench:
    """One broker's transactions.

    Attributes:
        small: the conductor's state, and the store.
        now_ms: the clock.
        answers: to every request of this life of the conductor, in order: a code, or None yet.
        checks: what producers were asked, as (channel, command).
        trimmed: where the log begins.
        is_disk_full: whether no document can be saved.
    """

    def __init__(self, root: Path, **settings):
        self._settings = {"transaction_checks_max": CHECKS_MAX} | settings
        self.small = SmallMetadata(root, **self._settings)
        self.small.state.topics.put(TopicConfig(TOPIC, 1, 1), NOW_MS)
        self.now_ms = NOW_MS
        self.ring = deque()
        self.completions = deque()
        self.answers = []
        self.checks = []
        self.saved = {}
        self.records = []
        self.is_flushed = True
        self.trimmed = 0
        self.is_disk_full = False
        self._unsaved = set()
        self._look_ms = 0
        self._start()

    # The producer's and the administrator's part.

    def half(self, body=b"b", group=GROUP, **pairs):
        """Store a half message, as a network worker does; return its handle."""
        text = {"UNIQ_KEY": "U", "TRAN_MSG": "true", "PGROUP": group} | pairs
        to_half(text, TOPIC, 0)
        record = NewRecord(
            HALF_TOPIC.encode(), 0, 5, 1, self.now_ms, HOST, HOST, 0, 0, body, properties.join(text)
        )
        return self._put(record)

    def end(self, handle, decision=COMMIT, *, from_check=False, **changes):
        """Have a producer decide; return the number of its answer."""
        fields = {"group": GROUP, "offset": handle.offset, "position": handle.position} | changes
        header = EndTransactionHeader(
            topic=TOPIC,
            producer_group=fields["group"],
            half_queue_offset=fields["offset"],
            position=fields["position"],
            commit_or_rollback=decision,
            from_check=from_check,
            message_id="U",
        )
        return self._ask(handle_end_transaction, RequestCode.END_TRANSACTION, write_header(header))

    def resume(self, position):
        """Have an administrator ask for a message again; return the number of the answer."""
        fields = {"msgId": offset_id(HOST, position)}
        return self._ask(handle_resume_check, RequestCode.RESUME_CHECK_HALF_MESSAGE, fields)

    def join(self, group=GROUP, connection=1):
        """Have a producer come online."""
        self.small.state.clients.producers.setdefault(group, {})[Channel(0, 1, connection)] = None

    def asked(self):
        """The handles that producers were asked for; they are forgotten."""
        asked = [
            Handle(int(command.fields["tranStateTableOffset"]), int(command.fields["commitLogOffset"]))
            for _, command in self.checks
        ]
        self.checks.clear()
        return asked

    # The other processes' part.

    def write(self, count=1 << 30):
        """Have the writer commit what was submitted, the oldest first."""
        for _ in range(min(count, len(self.ring))):
            append, settle = self.ring.popleft()
            handles = [self._put(record) for record in append.records]
            positions = tuple(handle.position for handle in handles)
            appended = Appended(PutStatus.PUT_OK, handles[0].offset, positions, self.now_ms)
            self.completions.append((settle, appended))

    def refuse(self, count=1 << 30):
        """Have the writer refuse what was submitted."""
        for _ in range(min(count, len(self.ring))):
            _, settle = self.ring.popleft()
            self.completions.append((settle, Appended(PutStatus.SERVICE_NOT_AVAILABLE, 0, (), 0)))

    def collect(self, count=1 << 30):
        """Have the conductor hear what the writer has answered."""
        for _ in range(min(count, len(self.completions))):
            settle, appended = self.completions.popleft()
            settle(appended)
        self._perform()

    def look(self, passed_ms=0):
        """Have the conductor do what is due."""
        self.now_ms += passed_ms
        self._look_ms = self.now_ms + self.chore.look(self.now_ms)
        self._perform()

    def run(self, passed_ms=0):
        """Let time pass, then everything happen until nothing is left to do."""
        self.now_ms += passed_ms
        self.look()
        for _ in range(1000):
            self.write()
            self.collect()
            if self.chore.is_roused or not self.table.is_ready:
                self.look()
            elif not self.ring and not self.completions:
                return
        raise AssertionError("it never comes to rest")

    # Crashes.

    def kill_conductor(self):
        """Begin a new life of the conductor; what it had submitted is still there."""
        kept = self.small
        self.small = SmallMetadata(kept.root, dict(self.saved), kept.tables, **self._settings)
        self.small.store = kept.store
        self.small.state.topics.put(TopicConfig(TOPIC, 1, 1), NOW_MS)
        self.ring = deque((append, _nobody) for append, _ in self.ring)
        self.completions.clear()
        self._unsaved.clear()
        self._start()

    def kill_all(self, offsets):
        """Begin a new life of the broker, with the committed offsets that were saved."""
        self.ring.clear()
        table = self.small.tables.offsets
        for group_id, slot, _ in list(table):
            table.store(table.row(group_id, slot), offsets.get((group_id, slot), -1))
        self.kill_conductor()

    def offsets(self):
        """The committed offsets, to be saved."""
        return {(group_id, slot): offset for group_id, slot, offset in self.small.tables.offsets}

    # What has come of it.

    @property
    def table(self):
        """The transactions."""
        return self.small.state.transactions

    @property
    def delivered(self):
        """The bodies of what consumers can see."""
        return [bytes(record.body) for _, record in self.records if record.topic == TOPIC.encode()]

    @property
    def expired(self):
        """What was given up, as (handle's position in the log, body)."""
        return [
            (at, bytes(each.body)) for at, each in self.records if each.topic == b"TRANS_CHECK_MAX_TIME_TOPIC"
        ]

    @property
    def operations(self):
        """The bodies of all operations."""
        return [
            bytes(each.body).decode()
            for _, each in self.records
            if each.topic == HALF_OPERATION_TOPIC.encode()
        ]

    def rounds_left(self):
        """Whether the half queue holds anything that is not passed over."""
        return self.small.state.rounds.is_anything_open

    def stored_half(self, offset):
        """The half message at a queue offset."""
        slot = self.table.places.half_slot
        return Half(self.small.state.reader.queued(slot, HALF_TOPIC, 0, offset))

    def _start(self):
        self.answers = []
        bench = self

        class Left:
            """As `workers.transacting.Predecessor`."""

            def __init__(self):
                self.submitted = [append for append, _ in bench.ring]
                self.end = None

            @property
            def is_settled(self):
                if self.end is None and not any(append in self.submitted for append, _ in bench.ring):
                    self.end = len(bench.records)
                return self.end is not None

            def finals(self, begin, _sizes):
                for at, record in list(bench.records[: self.end]):
                    if at >= begin and record.sys_flag & TRANSACTION_MASK == COMMIT:
                        yield [(at, record.prepared_position)]

        self.small.state.log_end = lambda: self.small.store.end
        self._perform()
        self.chore = Transacting(self.small.state, self, Left(), self, lambda: self.now_ms, None)

    def submit(self, append, settle, _now_ms):
        """As `workers.appending.Appender.submit`."""
        self.ring.append((append, settle))

    def store(self, slot, records, settle, now_ms):
        """As `workers.appending.Appender.store`."""
        self.submit(Append(slot, records, wait_flush=False, then=None), settle, now_ms)

    @property
    def flushed(self):
        """As `store.watermarks.Watermarks.flushed`."""
        return self.small.store.end if self.is_flushed else 0

    def _put(self, record):
        position = self.small.put(record, self.now_ms)
        self.records.append((position, record))
        return Handle(self.small.store.next[record.topic, record.queue_id] - 1, position)

    def _ask(self, handler, code, fields):
        number = len(self.answers)
        self.answers.append(None)
        answers = self.answers  # of this life
        request = Command(code=code, opaque=7, fields=fields)
        state: Metadata = self.small.state

        def go_on(step):
            try:
                outcome = step()
            except RequestError as error:
                answers[number] = error.code
                return
            self._perform()
            match outcome:
                case Reply(command):
                    answers[number] = command.code
                case Append():
                    self.submit(outcome, lambda appended: go_on(lambda: outcome.then(appended)), self.now_ms)
                case Await(subscribe, then):
                    subscribe(lambda: go_on(then))

        go_on(lambda: handler(state, request, CHANNEL, PEER, self.now_ms))
        return number

    def _perform(self):
        for effect in self.small.state.drain():
            match effect:
                case Persist(name):
                    self._unsaved.add(name)
                case Push(channel, command):
                    self.checks.append((channel, command))
        if self.is_disk_full:
            return
        unsaved, self._unsaved = self._unsaved, set()
        for name in unsaved:
            self.saved[name] = self.small.state.document(name, self.now_ms)
        if DocumentName.TRANSACTIONS in unsaved:
            self.table.note_saved()


def saved_transactions(bench):
    """What `transactions.json` holds."""
    return bench.saved.get(DocumentName.TRANSACTIONS)


def _nobody(_appended):
    """Who waited for it is dead."""
