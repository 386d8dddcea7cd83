"""Timing: the conductor's part in messages that wait for a moment of their own.

It gives units to what has come into the timer topic, and has what is due appended (`broker/timers/due.py` says what). A
look is bounded: some thousand messages at most are put into slots, and one batch is under way. Without any timer, no file
of theirs is made or mapped.
"""

from collections import Counter
from typing import Any, Final

import numpy as np

from shmq.broker import message_properties as names
from shmq.broker.effects import DocumentName, Persist
from shmq.broker.metadata import Metadata
from shmq.broker.names import TIMER_TOPIC
from shmq.broker.outcome import Appended
from shmq.broker.timers.due import QUIET_MS, Marks, TimedDelivery, Timers
from shmq.broker.timers.report import Progress
from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.store import properties as property_text
from shmq.store.position import NONE
from shmq.store.timer_check import TimerCheck
from shmq.store.timer_log import RECALLS
from shmq.store.timer_store import Enqueued, TimerSizes, TimerStore
from shmq.workers.appending import Appender
from shmq.workers.ground import Ground
from shmq.workers.predecessor import Predecessor
from shmq.workers.runner import wall_ms
from shmq.workers.timer_sync import TimerSync

ENQUEUE_COUNT_MAX: Final = 4096
COMING_MS: Final = 5
"""While messages come, so long they are gathered between two looks."""
DRAIN_MS: Final = 5
AGAIN_MS: Final = 1000
"""After what the disk refused."""
TRIM_MS: Final = 30_000
REPORT_MS: Final = 1000
SAVE_MS: Final = 10_000
READ_STEP_MS: Final = 10_000
"""How far delivery may be ahead of what is on disk: a successor looks at those slots again, and finds them delivered."""


class Timing:
    """The conductor's timers."""

    def __init__(
        self,
        state: Metadata,
        appender: Appender,
        ground: Ground,
        predecessor: Predecessor,
        log: Any,
    ) -> None:
        self._state = state
        self._config: Config = state.settings
        self._appender = appender
        self._memory = ground.memory
        self._paths = ground.paths
        self._queues = ground.queues
        self._predecessor = predecessor
        self._log = log
        self._slot = state.find_slot(TIMER_TOPIC, 0)
        self._store: TimerStore | None = None
        self._timers: Timers | None = None
        self._sync: TimerSync | None = None
        self._topics: dict[int, str] = {}
        self._is_quiet = False
        self._is_stopped = False
        self._next_sync_ms = self._next_trim_ms = self._next_report_ms = self._next_save_ms = 0
        self._enqueued = self._reported_enqueued = self._reported_delivered = 0
        self._reported_ms = 0
        self._problem = ""

    @property
    def is_roused(self) -> bool:
        """Whether messages have come since a look that found none."""
        return self._is_quiet and not self._is_stopped and self._behind > 0

    @property
    def is_waiting(self) -> bool:
        """Whether messages wait."""
        store = self._store
        return store is not None and store.next_ms(wall_ms()) != NONE

    @property
    def needed(self) -> int:
        """The position from which on messages that wait need the log; NONE where none do."""
        return NONE if self._store is None else self._store.needed()

    def look(self, now_ms: int) -> int:
        """Put into slots what has come, deliver what is due; return after how many ms to look again."""
        try:
            wait_ms = self._look(now_ms)
        except StoreError as error:  # a full disk: what is acknowledged is in the log, and waits
            if str(error) != self._problem:
                self._problem = str(error)
                self._log.error("timers cannot go on", reason=self._problem)
            self._is_quiet = False
            return AGAIN_MS
        self._problem = ""
        return wait_ms

    def _look(self, now_ms: int) -> int:
        self._is_quiet = True
        if not self._config.timer_wheel_enable or self._is_stopped or not self._open(now_ms):
            return QUIET_MS
        store, timers = self._store, self._timers
        assert store is not None
        assert timers is not None
        if not self._predecessor.is_settled:
            return DRAIN_MS  # what a predecessor has published: the writer may still store it
        self._deliver_due(now_ms)
        came = self._enqueue(store, now_ms)
        self._deliver_due(now_ms)
        self._is_quiet = came.entries == 0
        self._look_after(store, timers, now_ms)
        if not came.is_all:
            return 0
        wait_ms = timers.wait_ms(wall_ms())
        if came.entries:
            wait_ms = min(wait_ms, COMING_MS)
        elif not self._is_settled(store, timers):
            wait_ms = min(wait_ms, self._config.timer_flush_interval_ms)
        return max(1, wait_ms)

    def stop(self) -> None:
        """Begin no more deliveries."""
        self._is_stopped = True

    def close(self) -> None:
        """Say how far it came, and let go of all files."""
        if self._store is None or self._timers is None or self._sync is None:
            return
        self._sync.close(self._check(self._store, self._timers))
        self._store.close()

    @property
    def _behind(self) -> int:
        if self._store is not None:
            return self._store.behind
        return self._queues.bounds(self._slot)[1] if self._config.timer_wheel_enable else 0

    def _open(self, now_ms: int) -> bool:
        """Take up the files of timers, where there are any or must be; return whether they are at hand."""
        if self._store is not None:
            return True
        if not self._behind and not self._paths.timer_log.exists():
            return False
        config = self._config
        precision_ms = config.timer_precision_ms
        sizes = TimerSizes(
            precision_ms, config.timer_roll_window_slots * precision_ms, config.timer_log_file_bytes
        )
        store = TimerStore(self._paths, sizes, self._queues, self._slot, (TIMER_TOPIC.encode(), 0))
        store.recover(now_ms, self._memory.watermarks.trimmed)
        self._log.info(
            "timers", slot_ms=store.read_ms, queue_offset=store.queue_offset, units_end=store.log.end
        )
        self._timers = Timers(config, store, self._state.reader.message, self._state.find_slot)
        self._sync = TimerSync(store, self._paths, self._log)
        self._sync.start()
        self._store = store
        self._state.timer_report.check = store.check
        return True

    def _enqueue(self, store: TimerStore, now_ms: int) -> Enqueued:
        came = store.enqueue(wall_ms, ENQUEUE_COUNT_MAX)
        self._enqueued += came.units
        if came.units:
            self._count(store, came, now_ms)
        return came

    def _count(self, store: TimerStore, came: Enqueued, now_ms: int) -> None:
        """Note how many messages of each topic wait now; what takes one back counts as one less."""
        units = store.units(came.begin, came.units)
        hashes, indexes = np.unique(units["topic_hash"], return_inverse=True)
        changes = np.where(units["magic"] & RECALLS, -1, 1)
        sums = np.bincount(indexes, weights=changes)
        counted: Counter[str] = Counter()
        for number, each in enumerate(hashes.tolist()):
            topic = self._topics.get(each)
            if topic is None:
                position = int(units["position"][int(np.argmax(indexes == number))])
                topic = self._topic_of(position)
                self._topics[each] = topic
            counted[topic] += int(sums[number])
        self._state.timer_report.add(counted, now_ms)

    def _topic_of(self, position: int) -> str:
        message = self._state.reader.message(position)
        return "" if message is None else property_text.parse(message.properties).get(names.REAL_TOPIC, "")

    def _deliver_due(self, now_ms: int) -> None:
        if self._is_stopped or self._timers is None:
            return
        marks = self._memory.watermarks
        seen = Marks(marks.trimmed, marks.appended, marks.dispatched, marks.flushed)
        for delivery in self._timers.due(now_ms, seen):
            self._deliver(self._timers, delivery, now_ms)

    def _deliver(self, timers: Timers, delivery: TimedDelivery, now_ms: int) -> None:
        def settle(appended: Appended) -> None:
            settled_ms = wall_ms()
            timers.settle(delivery, appended.status, appended.positions, settled_ms)
            self._deliver_due(settled_ms)  # there may be more that is due

        self._appender.store(delivery.slot, delivery.records, settle, now_ms)

    def _look_after(self, store: TimerStore, timers: Timers, now_ms: int) -> None:
        """Do what is due now and then."""
        if now_ms >= self._next_sync_ms and self._sync is not None:
            self._next_sync_ms = now_ms + self._config.timer_flush_interval_ms
            self._state.timer_report.check = self._sync.written
            check = self._check(store, timers)
            written = self._sync.written
            if check[1:3] != written[1:3] or check.read_ms >= written.read_ms + READ_STEP_MS:
                self._sync.offer(check)
        if now_ms >= self._next_trim_ms:
            self._next_trim_ms = now_ms + TRIM_MS
            store.trim(self._memory.watermarks.trimmed)
        if now_ms >= self._next_report_ms:
            self._next_report_ms = now_ms + REPORT_MS
            self._report(store, timers, now_ms)

    def _check(self, store: TimerStore, timers: Timers) -> TimerCheck:
        """What may be said once everything up to now is on disk."""
        written = self._sync.written if self._sync is not None else store.check
        return TimerCheck(
            timers.durable_ms(self._memory.watermarks.flushed),
            store.log.end,
            store.queue_offset,
            store.queue_offset,
            written.state_version,
            wall_ms(),
            written.version_counter + 1,
        )

    def _is_settled(self, store: TimerStore, timers: Timers) -> bool:
        """Whether the check file says all there is to say."""
        return self._sync is not None and self._check(store, timers)[1:3] == self._sync.written[1:3]

    def _report(self, store: TimerStore, timers: Timers, now_ms: int) -> None:
        report = self._state.timer_report
        is_late = store.next_ms(now_ms) != NONE
        passed_s = max(1, now_ms - self._reported_ms) / 1000
        report.progress = Progress(
            read_behind_s=max(0, now_ms - store.read_ms) // 1000 if is_late else 0,
            offset_behind=store.behind,
            waiting=store.waiting if is_late else 0,
            enqueued_per_s=(self._enqueued - self._reported_enqueued) / passed_s,
            delivered_per_s=(timers.delivered - self._reported_delivered) / passed_s,
        )
        self._reported_enqueued, self._reported_delivered = self._enqueued, timers.delivered
        self._reported_ms = now_ms
        report.add({topic: -count for topic, count in timers.counts.items()}, now_ms)
        timers.counts.clear()
        if now_ms >= self._next_save_ms:
            self._next_save_ms = now_ms + SAVE_MS
            self._state.effects.append(Persist(DocumentName.TIMER_METRICS))
