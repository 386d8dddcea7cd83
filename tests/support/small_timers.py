"""Timers over a small store, with the parts of the commit writer and of the worker that drives them in hand."""

from shmq.broker import message_properties as names
from shmq.broker.names import TIMER_TOPIC
from shmq.broker.outcome import PutStatus
from shmq.broker.timers.due import Marks, Timers
from shmq.broker.timers.sending import recall_handle, recalled_key, to_timed
from shmq.store import properties
from shmq.store.host import Host
from shmq.store.record import NewRecord
from shmq.store.store_files import StorePaths
from shmq.store.timer_check import TimerCheck, write_timer_check
from shmq.store.timer_store import TimerSizes, TimerStore
from shmq.wire.topic_bodies import TopicConfig
from tests.support.small_metadata import NOW_MS, SmallMetadata

HOST = Host(b"\x7f\x00\x00\x01", 10911)
UNIT_FILE_BYTES = 4096


class SmallTimers:
    """What the conductor has of timers, over a store that it really reads and writes.

    Attributes:
        small: the metadata and the store.
        now_ms: the clock.
        pending: deliveries on their way, the oldest first.
        timers, store: of the present life.
    """

    def __init__(self, root, *, roll_slots=172_800, queues=2, **settings):
        self.small = SmallMetadata(root, timer_roll_window_slots=roll_slots, **settings)
        self.small.state.topics.put(TopicConfig("T", queues, queues), NOW_MS)
        self.paths = StorePaths(root)
        self.paths.config.mkdir(parents=True, exist_ok=True)
        self.now_ms = NOW_MS
        self.roll_slots = roll_slots
        self.made = 0
        self.open()

    def open(self):
        """Begin as a conductor does, after whatever end its predecessor had."""
        settings = self.small.settings
        precision_ms = settings.timer_precision_ms
        self.slot = self.small.state.find_slot(TIMER_TOPIC, 0)
        sizes = TimerSizes(precision_ms, self.roll_slots * precision_ms, UNIT_FILE_BYTES)
        self.store = TimerStore(
            self.paths, sizes, self.small.queues_reader, self.slot, (TIMER_TOPIC.encode(), 0)
        )
        self.store.recover(self.now_ms, 0)
        state = self.small.state
        self.timers = Timers(settings, self.store, state.reader.message, state.find_slot)
        self.pending = []

    def close(self):
        self.store.close()

    def crash(self, stored):
        """End without a word: of the deliveries on their way the first `stored` reach the log."""
        for delivery in self.pending[:stored]:
            for record in delivery.records:
                self.small.put(record, self.now_ms)
        self.close()
        self.open()

    def save(self):
        """What the sync thread does."""
        end, offset = self.store.log.end, self.store.queue_offset
        durable_ms = self.timers.durable_ms(self.small.store.end)
        write_timer_check(
            self.paths.timer_check, TimerCheck(durable_ms, end, offset, offset), is_durable=False
        )

    def send(self, queue_id=0, *, body=None, **asked):
        """Send a message with these properties; return its unique key and its handle, None where it did not wait."""
        key = f"K{self.made:06}"
        self.made += 1
        pairs = {names.UNIQUE_KEY: key} | {name: str(value) for name, value in asked.items()}
        is_timed = to_timed(self.small.settings, pairs, "T", queue_id, self.now_ms)
        self._put(TIMER_TOPIC if is_timed else "T", 0 if is_timed else queue_id, pairs, body or key.encode())
        return key, recall_handle("b", pairs)

    def recall(self, key, out_ms):
        """Store what takes a message back."""
        pairs = {
            names.TIMER_RECALLED_KEY: recalled_key("T", key),
            names.UNIQUE_KEY: key,
            names.TIMER_OUT_MS: str(out_ms),
            names.REAL_TOPIC: "T",
            names.REAL_QUEUE_ID: "0",
        }
        self._put(TIMER_TOPIC, 0, pairs, b"0")

    def marks(self):
        end = self.small.store.end
        return Marks(0, end, end, end)

    def look(self, count_max=4096):
        """What a look of the conductor does, its deliveries left on their way."""
        self.pending += self.timers.due(self.now_ms, self.marks())
        enqueued = self.store.enqueue(lambda: self.now_ms, count_max)
        self.pending += self.timers.due(self.now_ms, self.marks())
        return enqueued

    def settle(self, status=PutStatus.PUT_OK):
        """End the oldest delivery on its way, if there is one."""
        if not self.pending:
            return
        delivery = self.pending.pop(0)
        positions = ()
        if status in (PutStatus.PUT_OK, PutStatus.FLUSH_DISK_TIMEOUT):
            positions = tuple(self.small.put(record, self.now_ms) for record in delivery.records)
        self.timers.settle(delivery, status, positions, self.now_ms)

    def pass_ms(self, passed_ms):
        """Let time pass, with all that is due delivered at its beginning and at its end."""
        self.work()
        self.now_ms += passed_ms
        self.work()

    def work(self):
        """Look and settle until nothing more comes of it."""
        while True:
            enqueued = self.look()
            if not self.pending and enqueued.is_all and not enqueued.entries:
                break
            while self.pending:
                self.settle()
                self.pending += self.timers.due(self.now_ms, self.marks())

    def delivered(self, queue_id=0, topic="T"):
        """The messages of a queue."""
        slots = self.small.state.topics.slots(topic)
        if not self.small.tables.queues.max[slots[queue_id]]:
            return []
        return self.small.stored(topic, queue_id)

    def keys(self, queue_id=0):
        """The unique keys of a queue's messages, in order."""
        return [
            properties.parse(each.properties).get(names.UNIQUE_KEY, "") for each in self.delivered(queue_id)
        ]

    def _put(self, topic, queue_id, pairs, body):
        text = properties.join(pairs)
        record = NewRecord(topic.encode(), queue_id, 0, 0, self.now_ms, HOST, HOST, 0, 0, body, text)
        return self.small.put(record, self.now_ms)
