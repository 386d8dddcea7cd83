"""The dispatcher: follows the log up to `confirmed`, gives each record its place in its queue, wakes readers.

Its process also holds the indexer (`indexer.py`), a thread that follows it and puts keys into the key index.

A round takes a bounded part of the log; while nothing is odd a kernel does one after another (`shared/follow.py`). Where
queues have extensions (`store/extending.py`), Python writes these, and the kernel only waits. What both wrote is synced
by another thread of this process, which alone moves `queues_ms`: the store time up to which the checkpoint may vouch for
the queues. Killed, a successor begins at `dispatched`; whatever lies there already is written again, the same bytes in
the same place.
"""

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from shmq import logs
from shmq.config.settings import Config
from shmq.errors import StoreError
from shmq.memory.block import address_of
from shmq.memory.syscalls import set_timer_slack
from shmq.memory.words import load_word
from shmq.ring import doorbell, waiting
from shmq.shared import follow, gates, plan
from shmq.shared.broker_memory import BrokerMemory
from shmq.shared.listeners import Listeners
from shmq.store.dispatch import SCHEDULE_TOPIC, TIMER_TOPIC, Dispatch
from shmq.store.extending import Extending
from shmq.store.extension_files import ExtensionFiles, remove_extension
from shmq.store.log import LogReader
from shmq.store.queue_files import QueueFiles, Unsynced, sync_files
from shmq.store.store_files import StorePaths
from shmq.store.watermarks import DISPATCHED, QUEUES_MS
from shmq.workers.indexer import Indexer
from shmq.workers.runner import row_alive
from shmq.workers.shared_filters import SharedFilters
from shmq.workers.sync_pause import sync_pause_ns

TIMER_SLACK_NS: Final = 1000
"""So exact are its naps."""
RETRY_NS: Final = 1_000_000_000
"""So long after it could not dispatch, as on a full disk, it tries again."""
INDEX_STOP_NS: Final = 5_000_000_000
"""So long a stop waits for the key index, which after a loss may be far behind; the next start goes on with it."""


class Dispatcher:
    """The dispatcher's role (see `workers/role.py`)."""

    def __init__(self, config: Config, memory: BrokerMemory, paths: StorePaths) -> None:
        self._config = config
        self._memory = memory
        self._log = logs.get("dispatcher")
        self._readers = Listeners(memory)
        self._files = QueueFiles(paths.consumequeue, config.consume_queue_file_bytes, config.queue_slots_max)
        self._reader = LogReader(paths.commitlog, config.commit_log_file_bytes)
        self._dispatch = Dispatch(
            memory.topic_names,
            memory.queues,
            self._reader,
            self._files,
            config.delay_levels_ms,
        )
        self._paths = paths
        self._extending: Extending | None = None
        self._filters: SharedFilters | None = None
        if config.queue_extension_enable:
            self._keep_extensions()
        self._extension_problem = ""
        self._duty = np.zeros((), dtype=follow.LAYOUT)
        self._duty_at = int(self._duty.ctypes.data)
        self._schedule_topic = np.frombuffer(SCHEDULE_TOPIC, dtype=np.uint8)
        self._timer_topic = np.frombuffer(TIMER_TOPIC, dtype=np.uint8)
        self._store_ms = 0
        self._problem = ""
        self._sync_at_ns = 0
        self._sync_took_ns = 0
        self._sync_failure = ""
        self._indexer = (
            Indexer(config, memory, self._reader, self._keyed_end, self.wake) if config.key_index else None
        )
        self._dispatched_ns = 0
        self._cleanups_at = memory.place("gates") + gates.CLEANUPS
        self._cleanups = 0
        self._removed: dict[int, int] = {}  # slot -> max offset then, of queues that were given up
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._sync, name="sync", daemon=True)

    def start(self) -> None:
        """Begin at `dispatched`."""
        self._store_ms = self._memory.watermarks.queues_ms
        self._prepare_duty()
        set_timer_slack(TIMER_SLACK_NS)
        # A predecessor may have died before it rang for what it had done.
        doorbell.ring_bell(self._memory.bell(plan.BELL_CONDUCTOR))
        self._readers.wake(doorbell.DISPATCHED)
        self._thread.start()
        if self._indexer is not None:
            self._dispatch.begin_keyed(self._memory.watermarks.dispatched)
            self._indexer.start(self._work.put)

    @property
    def is_ready(self) -> bool:
        """Always, once started."""
        return True

    def do_work(self, now_ns: int) -> int:
        """Dispatch a part of the log."""
        if self._sync_failure:
            raise StoreError(self._sync_failure)
        assert self._indexer is None or self._indexer.is_running, "the indexer has died"
        if now_ns >= self._sync_at_ns and self._work.empty():
            self._sync_at_ns = now_ns + self._sync_pause_ns
            self._hand_over()
        marks = self._memory.watermarks
        cleanups = load_word(self._cleanups_at)
        if cleanups != self._cleanups:
            self._cleanups = cleanups
            self._reader.forget_below(marks.trimmed)
            self._remove_dropped()
        begin, confirmed = marks.dispatched, marks.confirmed
        if begin >= confirmed:
            return 0
        if self._filters is not None:
            self._filters.refresh()  # after confirmed was read, see `shared_filters.py`
        try:
            result = self._dispatch.step(begin, confirmed, follow.STEP_BYTES)
        except StoreError as error:  # a full disk: what is acknowledged is in the log, and waits
            self._complain(str(error))
            return 0
        if result.records:
            self._store_ms = result.store_ms
        if result.reached > begin:
            marks.move(DISPATCHED, result.reached)
            self._readers.wake(doorbell.DISPATCHED)
        if result.is_scheduled:
            doorbell.ring_bell(self._memory.bell(plan.BELL_CONDUCTOR))
        if result.blanks:
            self._log.warning("queue offsets without a message were left blank", count=result.blanks)
        if result.problem:
            raise StoreError(result.problem)
        self._problem = ""
        self._look_at_extensions()
        return result.records

    def rest(self, timeout_ns: int) -> None:
        """Sleep until the log grows; while nothing is odd, dispatch what has come and sleep again."""
        if self._problem:
            bell = self._memory.bell(plan.BELL_DISPATCHER)
            doorbell.will_sleep(bell)
            doorbell.sleep(bell, min(timeout_ns, RETRY_NS))
            return
        self._show_log()
        self._readers.refresh()
        self._duty["changes_seen"] = self._readers.changes
        self._duty["sync_at_ns"] = self._sync_at_ns
        if self._store_ms > self._memory.watermarks.queues_ms:
            timeout_ns = min(timeout_ns, max(0, self._sync_at_ns - time.monotonic_ns()))
        follow.follow(self._duty_at, timeout_ns)
        self._store_ms = int(self._duty["store_ms"]) or self._store_ms
        if self._duty["is_untold"]:
            self._duty["is_untold"] = 0
            self._readers.wake(doorbell.DISPATCHED)

    def wake(self) -> None:
        """Ring one's own bell."""
        doorbell.ring_bell(self._memory.bell(plan.BELL_DISPATCHER))

    def stop(self) -> None:
        """End once the writer is gone and everything of its is dispatched."""

    @property
    def is_done(self) -> bool:
        """Whether nothing more can come."""
        if row_alive(self._memory.roster[plan.WRITER]):  # first: what it does before its end is seen below
            return False
        marks = self._memory.watermarks
        if marks.dispatched < marks.confirmed and not self._problem:
            return False
        now_ns = time.monotonic_ns()
        self._dispatched_ns = self._dispatched_ns or now_ns
        is_indexed = self._indexer is None or self._indexer.is_done
        return is_indexed or now_ns - self._dispatched_ns > INDEX_STOP_NS

    def close(self) -> None:
        """Sync every file."""
        self._files.close()
        if self._extending is not None:
            self._extending.files.close()
        self._hand_over()
        if self._indexer is not None:
            self._indexer.stop()
        self._work.put(None)
        self._thread.join()

    def _keyed_end(self) -> int:
        return self._dispatch.keyed_end

    def _prepare_duty(self) -> None:
        memory, duty = self._memory, self._duty
        duty["watermarks"] = memory.place("watermarks")
        duty["confirmed"] = memory.watermarks.confirmed_address
        duty["listeners"] = self._readers.address
        duty["changes"] = memory.sessions.changes_address
        duty["bell"] = memory.bell(plan.BELL_DISPATCHER)
        duty["scheduler_bell"] = memory.bell(plan.BELL_CONDUCTOR)
        duty["strategy"] = waiting.STRATEGIES[self._config.dispatcher_wait_strategy]
        duty["spins"] = waiting.spins_before_sleep()
        duty["schedule_topic"] = address_of(self._schedule_topic)
        duty["schedule_bytes"] = len(self._schedule_topic)
        duty["timer_topic"] = address_of(self._timer_topic)
        duty["timer_bytes"] = len(self._timer_topic)

    def _show_log(self) -> None:
        """Let the kernel know the file in which the next record lies, if there is one."""
        dispatched = self._memory.watermarks.dispatched
        address, left_bytes = self._reader.address_of(dispatched)
        file_bytes = self._reader.file_bytes
        begin = dispatched + left_bytes - file_bytes
        duty = self._duty
        duty["places"] = self._dispatch.places()
        is_shown = left_bytes and self._extending is None  # it writes no units, and so only waits
        duty["begin"], duty["end"] = (begin, begin + file_bytes) if is_shown else (0, 0)
        duty["segment"] = address - (dispatched - begin)

    def _remove_dropped(self) -> None:
        """Remove the files of queues that were given up, unless something has come to them since."""
        queues, names = self._memory.queues, self._memory.topic_names
        for slot in map(int, np.flatnonzero(queues.dropped[: queues.count])):
            topic_id, queue_id = queues.topic_and_queue(slot)
            dropped_at = int(queues.dropped[slot])
            if dropped_at != queues.max[slot] or self._removed.get(slot) == dropped_at:
                continue
            try:
                self._files.remove(slot, (names.name(topic_id), queue_id))
                if self._extending is not None:
                    self._extending.forget(slot)
                remove_extension(self._paths.extensions, (names.name(topic_id), queue_id))
                self._removed[slot] = dropped_at
            except (OSError, StoreError) as error:
                self._log.error("files of a deleted topic stay", reason=str(error))

    def _keep_extensions(self) -> None:
        """Have units written, with bit maps if these are wanted."""
        config, paths = self._config, self._paths
        file_bytes = config.queue_extension_file_bytes
        self._extending = self._dispatch.keep_extensions(
            ExtensionFiles(paths.extensions, file_bytes, paths.consumequeue)
        )
        if config.filter_bit_maps_enable:
            self._filters = SharedFilters(config, self._memory, paths, self._log)
            self._extending.source = self._filters

    def _look_at_extensions(self) -> None:
        """Say once that units cannot be written: entries then hold what they hold without."""
        problem = self._extending.problem if self._extending is not None else ""
        if problem != self._extension_problem:
            self._extension_problem = problem
            if problem:
                self._log.error("queues go on without extensions", reason=problem)

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._log.error("cannot dispatch", reason=problem)

    @property
    def _sync_pause_ns(self) -> int:
        """How long after a sync the next one begins, by how long the last one took."""
        interval_ns = self._config.consume_queue_flush_interval_ms * 1_000_000
        return sync_pause_ns(interval_ns, self._sync_took_ns)

    def _hand_over(self) -> None:
        """Give the thread what was written, and how far in time that goes."""
        unsynced, store_ms = self._files.take_dirty(), self._store_ms
        if self._extending is not None:  # units first: an entry is not to lead to what is not there
            units = self._extending.files.take_dirty()
            unsynced = Unsynced(units.files + unsynced.files, units.directories + unsynced.directories)
        if unsynced.files or store_ms > self._memory.watermarks.queues_ms:
            self._work.put(lambda: self._sync_queues(unsynced, store_ms))

    def _sync(self) -> None:
        """The thread: do what it is given."""
        if self._memory.roster[plan.DISPATCHER]["epoch"] > 1:
            os.sync()  # a dead predecessor wrote to files that nobody remembers
        while (work := self._work.get()) is not None:
            try:
                work()
            except (OSError, StoreError) as error:
                # What was not written may be lost: checkpoint and mark stay, and recovery builds it again.
                self._sync_failure = f"files could not be synced: {error}"
                self.wake()
                return

    def _sync_queues(self, unsynced: Unsynced, store_ms: int) -> None:
        """Sync queue files, then let the checkpoint vouch for them."""
        begin_ns = time.monotonic_ns()
        sync_files(unsynced)
        self._sync_took_ns = time.monotonic_ns() - begin_ns
        if store_ms > self._memory.watermarks.queues_ms:
            self._memory.watermarks.move(QUEUES_MS, store_ms)
